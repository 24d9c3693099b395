"""Audio on the wire -> 16 kHz samples, and samples -> audio on the wire: s16le at 24 kHz, or G.711 at 8 kHz."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from speaches.audio.pcm import to_pcm16
from speaches.audio.resample import Resampler
from speaches.engines.base import SAMPLE_RATE

if TYPE_CHECKING:
    from speaches.engines.base import Samples

WIRE_RATE = 24_000  # Hz of `audio/pcm`
PHONE_RATE = 8_000  # Hz of G.711
MOST_AT_ONCE = 64 * 1024  # bytes
CODECS = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}


def rate_of(format_type: str) -> int:
    """Hz."""
    return PHONE_RATE if format_type in CODECS else WIRE_RATE


class WireDecoder:
    """One stream of audio from a client. Bytes may be cut anywhere."""

    def __init__(self, format_type: str) -> None:
        import av

        self._codec = _codec(format_type, "r")
        self._rate = rate_of(format_type)
        # ffmpeg's resampler holds 2 ms back; soxr's up to 60, which a conversation would wait for and a commit would miss.
        self._resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        self._odd = b""
        """The first half of a sample whose other half has not come yet."""

    def push(self, data: bytes) -> Samples:
        """Shape (n,), float32, 16 kHz."""
        import av

        if self._codec is not None:
            return self._resampled(frame for part in _cut(data) for frame in self._codec.decode(av.Packet(part)))
        data = self._odd + data
        whole = len(data) // 2 * 2
        data, self._odd = data[:whole], data[whole:]
        return self._resampled(_frame(part, self._rate) for part in _cut(data))

    def finish(self) -> Samples:
        """What the filter still holds."""
        return self._resampled([None])

    def _resampled(self, frames: Iterable[Any]) -> Samples:
        parts = [np.zeros(0, np.float32)]
        for frame in frames:
            parts += [np.frombuffer(one.planes[0], np.float32, one.samples) for one in self._resampler.resample(frame)]
        return np.concatenate(parts)


class WireEncoder:
    """One stream of audio to a client."""

    def __init__(self, format_type: str) -> None:
        self._codec = _codec(format_type, "w")
        self._resampler = Resampler(WIRE_RATE, rate_of(format_type))
        self.bytes_per_second = PHONE_RATE if self._codec is not None else 2 * WIRE_RATE

    def push(self, samples: Samples) -> bytes:
        """Encode samples at 24 kHz."""
        return self._encoded(self._resampler.push(samples))

    def finish(self) -> bytes:
        return self._encoded(self._resampler.finish())

    def _encoded(self, samples: Samples) -> bytes:
        pcm = to_pcm16(samples)
        return pcm if self._codec is None or not pcm else _companded(self._codec, pcm)


def _codec(format_type: str, mode: str) -> Any:
    if format_type not in CODECS:
        return None
    import av

    codec = av.CodecContext.create(CODECS[format_type], mode)
    codec.sample_rate, codec.layout = PHONE_RATE, "mono"
    if mode == "w":
        codec.format = "s16"
    return codec


def _cut(data: bytes) -> Iterable[bytes]:
    """In parts that take a millisecond each: whoever works on them has Python's lock."""
    return (data[start : start + MOST_AT_ONCE] for start in range(0, len(data), MOST_AT_ONCE))


def _companded(codec: Any, pcm: bytes) -> bytes:
    return b"".join(bytes(packet) for packet in codec.encode(_frame(pcm, PHONE_RATE)))


def _frame(pcm: bytes, rate: int) -> Any:
    import av

    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.planes[0].update(pcm)
    frame.sample_rate = rate
    return frame
