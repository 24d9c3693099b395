"""Which SDP offers are taken, and which of a client's addresses are tried."""

from __future__ import annotations

import pytest

from speaches.errors import InvalidRequest
from speaches.realtime.offers import LONGEST, MOST_CANDIDATES, has_data_channel, usable, wants_audio

HEAD = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"


def candidate(address: str, protocol: str = "udp", port: int = 5000) -> str:
    return f"a=candidate:1 1 {protocol} 2113937151 {address} {port} typ host\r\n"


@pytest.mark.parametrize("sections", [AUDIO, AUDIO + DATA, DATA + AUDIO])
def test_an_offer_of_audio_and_perhaps_a_data_channel_is_taken_as_it_is(sections: str) -> None:
    assert usable(HEAD + sections) == HEAD + sections


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ("", "it has none"),
        (DATA, "it has application"),
        (AUDIO + AUDIO, "it has audio, audio"),
        (AUDIO + VIDEO, "it has audio, video"),
        (AUDIO + DATA + DATA, "it has audio, application, application"),
        (AUDIO * 5000, "at most"),
    ],
)
def test_any_other_is_refused_with_what_it_has(sections: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        usable(HEAD + sections)


def test_what_is_no_sdp_or_much_too_long_is_refused() -> None:
    for offer in ("", "{}", "x" * 100, HEAD + AUDIO + "a=x\r\n" * LONGEST):
        with pytest.raises(InvalidRequest):
            usable(offer)


def test_lines_may_end_without_a_carriage_return() -> None:
    assert usable((HEAD + AUDIO).replace("\r", "")) == HEAD + AUDIO


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "10.0.0.1"])
def test_addresses_are_tried(address: str) -> None:
    assert candidate(address) in usable(HEAD + AUDIO + candidate(address))


@pytest.mark.parametrize(
    "line",
    [
        candidate("6f1e9d8a-3c1b-4f6e-9a62-0c7e3a8d1b11.local"),
        candidate("attacker.example.com"),
        candidate("224.0.0.251"),
        candidate("0.0.0.0"),
        candidate("192.0.2.7", "tcp"),
        "a=candidate:\r\n",
        "a=candidate:1 1 udp\r\n",
    ],
)
def test_names_and_what_is_no_address_of_one_client_are_not_tried(line: str) -> None:
    assert "a=candidate" not in usable(HEAD + AUDIO + line + candidate("192.0.2.7")).replace(candidate("192.0.2.7"), "")


def test_only_so_many_addresses_are_tried() -> None:
    offer = HEAD + AUDIO + "".join(candidate("192.0.2.7", port=port) for port in range(5000, 5400))
    assert usable(offer).count("a=candidate:") == MOST_CANDIDATES


def test_it_is_seen_what_a_client_wants() -> None:
    assert wants_audio(HEAD + AUDIO + DATA)
    assert not wants_audio(HEAD + AUDIO.replace("sendrecv", "sendonly") + DATA)
    assert wants_audio(HEAD + AUDIO + VIDEO + "a=inactive\r\n")
    assert has_data_channel(HEAD + AUDIO + DATA)
    assert not has_data_channel(HEAD + AUDIO)
