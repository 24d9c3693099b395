"""Audio without a header: what it is, its content type says.

`audio/pcm;rate=8000`, `audio/L16;rate=24000;channels=2`, `audio/basic`, `audio/x-raw,format=S16LE,rate=16000` (GStreamer's way).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from speaches.engines.base import SAMPLE_RATE
from speaches.errors import InvalidRequest

TELEPHONE_RATE = 8000  # Hz of G.711
RATES = (1000, 384_000)  # Hz, the least and the most
MOST_CHANNELS = 8

PCM_TYPES = ("pcm", "x-pcm", "raw", "x-raw", "l16", "l24", "l8")
"""Of `audio/`: linear samples, 16 bits little-endian unless they say otherwise."""
ULAW_TYPES = ("basic", "pcmu", "mulaw", "x-mulaw", "ulaw", "x-ulaw", "g711-ulaw", "g711-mulaw", "x-g711-ulaw")
ALAW_TYPES = ("pcma", "alaw", "x-alaw", "x-alaw-basic", "g711-alaw", "x-g711-alaw")

SAMPLES = {
    "s16le": "s16le", "s16be": "s16be", "s16": "s16le", "s8": "s8", "u8": "u8", "s24le": "s24le", "s24be": "s24be", "s32le": "s32le",
    "s32be": "s32be", "f32le": "f32le", "f32be": "f32be", "f64le": "f64le", "f64be": "f64be",
}  # fmt: skip
"""Names of samples in a content type (`format=`), in lower case -> FFmpeg's."""
DEFAULT_SAMPLES = {"l8": "u8", "l24": "s24be"}  # RFC 3551 and 3190; L16 see _samples
RATE_NAMES = ("rate", "sample_rate", "samplerate", "sample-rate")
CHANNEL_NAMES = ("channels",)
ENDS = {"little-endian": "le", "little": "le", "big-endian": "be", "big": "be"}

MAGICS = re.compile(rb"RIFF....WAVE|RF64....WAVE|\.snd\0\0|OggS\0|fLaC\0|ID3[\2-\4]|....ftyp|\x1aE\xdf\xa3", re.DOTALL)
"""How files begin that say themselves what they are. `audio/basic` is also the type of .au files, and names of types are often wrong."""

DEMUXERS = ("mulaw", "alaw", "g722", *dict.fromkeys(SAMPLES.values()))


@dataclass(frozen=True)
class RawAudio:
    demuxer: str
    """FFmpeg's name."""
    options: dict[str, str] = field(default_factory=dict)
    """Of the demuxer."""


def raw_audio(content_type: str, head: bytes) -> RawAudio | None:
    """What is in a file without a header; None if it has one.

    Args:
        head: The first bytes of the file, the more the better.

    Raises:
        InvalidRequest: If the content type says what can't be, such as `rate=0`.
    """
    kind, parameters = parse_content_type(content_type)
    group, _, name = kind.partition("/")
    if group != "audio" or MAGICS.match(head):
        return None
    if name == "g722":
        return RawAudio("g722")  # 16 kHz, mono, whatever its RFC has to say of the clock
    if name in PCM_TYPES:
        return RawAudio(_samples(name, parameters, head), _options(parameters, SAMPLE_RATE))
    if name in ULAW_TYPES or name in ALAW_TYPES:
        return RawAudio("mulaw" if name in ULAW_TYPES else "alaw", _options(parameters, TELEPHONE_RATE))
    return None


def parse_content_type(text: str) -> tuple[str, dict[str, str]]:
    """The type in lower case, and its parameters. Commas and `(int)`, as GStreamer writes them, are understood."""
    kind, *rest = re.split(r"[;,]", text)
    parameters: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if equals:
            value = re.sub(r"^\(\w+\)", "", value.strip())
            parameters.setdefault(name.strip().lower(), value.strip().strip('"').strip())
    return kind.strip().lower(), parameters


def _options(parameters: dict[str, str], rate: int) -> dict[str, str]:
    rate = _number(parameters, RATE_NAMES, rate, *RATES)
    channels = _number(parameters, CHANNEL_NAMES, 1, 1, MOST_CHANNELS)
    return {"sample_rate": str(rate), "ch_layout": f"{channels}c"}


def _number(parameters: dict[str, str], names: tuple[str, ...], default: int, least: int, most: int) -> int:
    given = next((parameters[name] for name in names if name in parameters), None)
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", given) or not least <= int(given) <= most:
        raise _refusal(f"{names[0]}={given:.40}", f"{names[0]} must be a whole number from {least} to {most}")
    return int(given)


def _samples(name: str, parameters: dict[str, str], head: bytes) -> str:
    """FFmpeg's name for the samples."""
    samples = DEFAULT_SAMPLES.get(name, "s16le")
    if "format" in parameters:
        given = parameters["format"].lower()
        if given not in SAMPLES:
            raise _refusal(f"format={given:.40}", f"format must be one of {', '.join(SAMPLES)}")
        samples = SAMPLES[given]
    if "endianness" in parameters:
        given = parameters["endianness"].lower()
        if given not in ENDS:
            raise _refusal(f"endianness={given:.40}", "endianness must be little-endian or big-endian")
        return samples if samples.endswith("8") else samples[:-2] + ENDS[given]
    if name == "l16" and "format" not in parameters and _is_big_endian(head):
        return "s16be"
    return samples


def _is_big_endian(head: bytes) -> bool:
    """Whether 16-bit samples are smoother when read with the high byte first.

    RFC 2586 and 3551 send L16 so, speech services call little-endian samples L16; in the wrong order speech is loud noise.
    """
    import numpy as np

    usable = head[: len(head) // 2 * 2]
    little, big = (np.abs(np.diff(np.frombuffer(usable, kind).astype(np.int32))).sum() for kind in ("<i2", ">i2"))
    return bool(2 * big < little)


def _refusal(given: str, allowed: str) -> InvalidRequest:
    return InvalidRequest(
        f"The audio's content type says {given}, but {allowed}.", param="file", code="invalid_content_type"
    )
