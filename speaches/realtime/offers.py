"""SDP offers: which calls a client may propose. Rules only."""

from __future__ import annotations

import ipaddress

from speaches.errors import InvalidRequest

LONGEST = 64 * 1024  # characters; a browser's are 3,000 to 10,000
MEDIA = {"audio", "application"}
CANDIDATE = "a=candidate:"
MOST_CANDIDATES = 32  # addresses of the client that are tried


def usable(offer: str) -> str:
    """The offer without the addresses that are not to be tried.

    Raises:
        InvalidRequest: If it is no offer of one audio track and at most one data channel.
    """
    if not offer.lstrip().startswith("v=0"):
        raise InvalidRequest("The body is no SDP offer: it must start with 'v=0'.", param="sdp", code="invalid_sdp")
    if len(offer) > LONGEST:
        raise InvalidRequest(
            f"The SDP offer has {len(offer)} characters; at most {LONGEST} are read.", param="sdp", code="invalid_sdp"
        )
    lines = offer.strip().splitlines()
    kinds = [line[2:].split(" ", 1)[0] for line in lines if line.startswith("m=")]
    if kinds.count("audio") != 1 or kinds.count("application") > 1 or len(kinds) > 2 or set(kinds) - MEDIA:
        raise InvalidRequest(
            f"The SDP offer must have one audio section and at most one data channel; it has {_listed(kinds)}.",
            param="sdp",
            code="invalid_sdp",
        )
    if "\na=fingerprint:" not in offer:
        raise InvalidRequest(
            "The SDP offer has no certificate's fingerprint (a=fingerprint:); media and events are always encrypted.",
            param="sdp",
            code="invalid_sdp",
        )
    candidates = [line for line in lines if line.startswith(CANDIDATE)]
    tried = [line for line in candidates if _can_be_reached(line)][:MOST_CANDIDATES]
    return "".join(f"{line}\r\n" for line in lines if not line.startswith(CANDIDATE) or line in tried)


def wants_audio(offer: str) -> bool:
    """Whether the client wants to hear something."""
    section = offer[offer.find("m=audio") :].partition("\nm=")[0]
    return not any(line.strip() in ("a=sendonly", "a=inactive") for line in section.splitlines())


def has_data_channel(offer: str) -> bool:
    return "\nm=application" in offer


def _can_be_reached(candidate: str) -> bool:
    """Browsers hide their addresses behind names (`.local`) which only multicast could resolve. They aren't needed: the client finds us."""
    parts = candidate.split()
    if len(parts) < 8 or parts[2].lower() != "udp":
        return False
    try:
        address = ipaddress.ip_address(parts[4])
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _listed(kinds: list[str]) -> str:
    return ", ".join(kind[:20] for kind in kinds[:8]) or "none"
