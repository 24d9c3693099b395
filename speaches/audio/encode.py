"""Samples -> wav, mp3, flac, opus, aac or pcm, by PyAV, a block at a time.

One encoder serves a whole answer: an encoder for each block would put a click at every join.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from speaches.errors import InvalidRequest

if TYPE_CHECKING:
    from speaches.engines.base import Samples

SPEECH_RATE = 24_000  # Hz, what OpenAI's clients take `pcm` to be
RATES = (8_000, 48_000)  # Hz, the slowest and fastest that may be asked for
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
UNKNOWN_SIZE = 0xFFFFFFFF  # a WAV header of a stream: players read to the end


@dataclass(frozen=True)
class AudioFormat:
    content_type: str
    muxer: str = ""
    codec: str = ""
    options: tuple[tuple[str, str], ...] = ()
    rates: tuple[int, ...] = ()
    """Hz that the codec takes; empty for any."""


FORMATS = {
    # No ID3 tag: it confuses the clock of iOS.
    "mp3": AudioFormat("audio/mpeg", "mp3", "libmp3lame", (("id3v2_version", "0"),), MP3_RATES),
    # A page each 20 ms; by default the first audio would come after a second.
    "opus": AudioFormat("audio/ogg", "ogg", "libopus", (("page_duration", "20000"),), OPUS_RATES),
    "aac": AudioFormat("audio/aac", "adts", "aac", (), AAC_RATES),
    "flac": AudioFormat("audio/flac", "flac", "flac"),
    "wav": AudioFormat("audio/wav"),
    "pcm": AudioFormat("audio/pcm"),
}


class Encoder(Protocol):
    def push(self, samples: Samples) -> bytes:
        """Encode a block. What comes out may belong to earlier blocks."""
        ...

    def finish(self) -> bytes:
        """The rest, once nothing more will be pushed."""
        ...

    def close(self) -> None:
        """Free the codec, finished or not."""
        ...


def check_rate(name: str, rate: int) -> None:
    """Raise InvalidRequest where a format can't have a sample rate."""
    allowed = FORMATS[name].rates
    if not RATES[0] <= rate <= RATES[1]:
        raise InvalidRequest(
            f"sample_rate must be from {RATES[0]} to {RATES[1]} Hz, got {rate}.",
            param="sample_rate",
            code="invalid_value",
        )
    if allowed and rate not in allowed:
        raise InvalidRequest(
            f"{name} can't have a sample_rate of {rate} Hz; it takes {', '.join(map(str, allowed))}.",
            param="sample_rate",
            code="invalid_value",
        )


def streaming_encoder(name: str, rate: int) -> Encoder:
    """An encoder whose bytes can be sent as they come: lengths in headers are unknown."""
    if name in ("wav", "pcm"):
        return _PlainEncoder(_wav_header(rate, UNKNOWN_SIZE) if name == "wav" else b"")
    return _CodecEncoder(FORMATS[name], rate, _Sink())


def encode(name: str, rate: int, samples: Samples) -> bytes:
    """Encode a whole recording, with true lengths in its headers."""
    from speaches.audio.pcm import to_pcm16

    if name in ("wav", "pcm"):
        pcm = to_pcm16(samples)
        return (_wav_header(rate, len(pcm)) if name == "wav" else b"") + pcm
    whole = io.BytesIO()
    encoder = _CodecEncoder(FORMATS[name], rate, whole)
    encoder.push(samples)
    encoder.finish()
    return whole.getvalue()


def _wav_header(rate: int, size: int) -> bytes:
    """RIFF header of 16-bit mono PCM, `data` right after `fmt `: some clients read no other chunk."""
    riff = UNKNOWN_SIZE if size == UNKNOWN_SIZE else size + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", size
    )


class _PlainEncoder:
    def __init__(self, header: bytes) -> None:
        self._header = header

    def push(self, samples: Samples) -> bytes:
        from speaches.audio.pcm import to_pcm16

        header, self._header = self._header, b""
        return header + to_pcm16(samples)

    def finish(self) -> bytes:
        header, self._header = self._header, b""
        return header

    def close(self) -> None: ...


class _Sink:
    """A file that can only be written to, so that the muxer never goes back to mend a header."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _CodecEncoder:
    def __init__(self, kind: AudioFormat, rate: int, sink: Any) -> None:
        import av

        self._sink = sink
        options = dict(kind.options)
        if kind.muxer == "mp3" and isinstance(sink, _Sink):
            options["write_xing"] = "0"  # the frame that tells the length can only be written after the end
        self._container: Any = av.open(sink, "w", format=kind.muxer, options=options)
        self._stream: Any = self._container.add_stream(kind.codec, rate=rate, layout="mono")
        self._rate = rate
        self._position = 0
        self._closed = False

    def push(self, samples: Samples) -> bytes:
        import av
        import numpy as np

        from speaches.audio.pcm import to_pcm16

        if len(samples):
            frame = av.AudioFrame.from_ndarray(
                np.frombuffer(to_pcm16(samples), "<i2").reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = self._rate, self._position
            self._position += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._take()

    def finish(self) -> bytes:
        if not self._closed:
            if self._position:
                self._container.mux(self._stream.encode(None))
            self.close()
        return self._take()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._container.close()

    def _take(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Sink) else b""
