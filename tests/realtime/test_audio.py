from __future__ import annotations

import numpy as np
import pytest

from speaches.audio.pcm import to_pcm16
from speaches.realtime.audio import CODECS, WireDecoder, WireEncoder, rate_of
from tests.recordings import level, pitch, tone

FORMATS = ["audio/pcm", *CODECS]


@pytest.mark.parametrize("format_type", FORMATS)
def test_audio_comes_back_as_it_went_out_however_it_is_cut(format_type: str) -> None:
    encoder, decoder = WireEncoder(format_type), WireDecoder(format_type)
    said = tone(440, 1.0, 24_000)
    wire = b"".join(encoder.push(said[i : i + 479]) for i in range(0, len(said), 479)) + encoder.finish()
    assert len(wire) == encoder.bytes_per_second
    heard = np.concatenate([decoder.push(wire[i : i + 333]) for i in range(0, len(wire), 333)] + [decoder.finish()])
    assert len(heard) == pytest.approx(16_000, abs=2)
    assert pitch(heard, 16_000) == pytest.approx(440, abs=2)
    assert level(heard) == pytest.approx(level(said), rel=0.05)


@pytest.mark.parametrize("format_type", FORMATS)
def test_no_audio_is_no_audio(format_type: str) -> None:
    assert len(WireDecoder(format_type).push(b"")) == 0
    assert WireEncoder(format_type).push(np.empty(0, np.float32)) == b""


def test_a_sample_may_be_cut_in_the_middle() -> None:
    pcm = to_pcm16(tone(440, 0.5, 24_000))
    whole, halves = WireDecoder("audio/pcm"), WireDecoder("audio/pcm")
    expected = np.concatenate((whole.push(pcm), whole.finish()))
    got = np.concatenate([halves.push(pcm[:1]), halves.push(pcm[1:4001]), halves.push(pcm[4001:]), halves.finish()])
    assert np.array_equal(expected, got)


def test_what_is_said_reaches_the_detector_with_little_delay() -> None:
    """Everything that the filter holds back is time that an answer is late."""
    decoder = WireDecoder("audio/pcm")
    got = len(decoder.push(to_pcm16(tone(440, 1.0, 24_000))))
    assert 16_000 - got <= 0.010 * 16_000


def test_telephones_have_8_khz() -> None:
    assert [rate_of(name) for name in FORMATS] == [24_000, 8_000, 8_000]
