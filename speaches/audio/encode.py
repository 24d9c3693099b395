"""Samples -> wav, mp3, flac, opus, aac, pcm or G.711, by PyAV, a block at a time.

One encoder serves a whole answer: an encoder for each block would put a click at every join.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from speaches.audio.formats import FORMATS, AudioFormat, alignment, frame_size
from speaches.errors import TooLarge

if TYPE_CHECKING:
    from speaches.engines.base import Samples

WAV_HEADER = 44  # bytes of the one that we write
FLAC_FACTS = 18  # where a FLAC file tells its rate, channels, bits and samples
LARGEST_WHOLE = 256 * 1024 * 1024  # bytes of an answer that is held until it is complete
UNKNOWN_SIZE = 0xFFFFFFFF  # a WAV header of a stream: players read to the end
FLAC_BLOCK = 0.04  # seconds in a block of a stream; FFmpeg's own choice of 0.1 would be waited for


class Encoder(Protocol):
    def push(self, samples: Samples) -> bytes:
        """Encode a block. What comes out may belong to earlier blocks."""
        ...

    def finish(self) -> bytes:
        """The rest, once nothing more will be pushed. Frees the codec."""
        ...

    def close(self) -> None:
        """Free the codec, finished or not."""
        ...


def streaming_encoder(name: str, rate: int) -> Encoder:
    """An encoder whose bytes can be sent as they come: lengths in headers are unknown."""
    if name in ("wav", "pcm"):
        return _PlainEncoder(_wav_header(rate, UNKNOWN_SIZE) if name == "wav" else b"")
    return _CodecEncoder(FORMATS[name], rate, _Sink())


def whole_encoder(name: str, rate: int) -> Encoder:
    """An encoder that keeps what it makes until `finish`, and then has true lengths in its headers.

    Its `push` raises TooLarge when that would be more than LARGEST_WHOLE.
    """
    return _WholePlain(name, rate) if name in ("wav", "pcm") else _CodecEncoder(FORMATS[name], rate, io.BytesIO())


def encode(name: str, rate: int, samples: Samples) -> bytes:
    """Encode a whole recording, with true lengths in its headers."""
    encoder = whole_encoder(name, rate)
    encoder.push(samples)
    return encoder.finish()


def with_length(name: str, data: bytes, seconds: float, rate: int) -> bytes:
    """A stream that has come to its end, with its length in its header as if it had been known: for wav and flac."""
    if name == "wav":
        header = _wav_header(rate, len(data) - WAV_HEADER)
        return header + data[WAV_HEADER:]
    if name == "flac":
        # The last 36 of 64 bits in STREAMINFO: https://www.rfc-editor.org/rfc/rfc9639#section-8.2
        (facts,) = struct.unpack_from(">Q", data, FLAC_FACTS)
        facts = facts >> 36 << 36 | round(seconds * rate)
        return data[:FLAC_FACTS] + struct.pack(">Q", facts) + data[FLAC_FACTS + 8 :]
    return data


def _check_whole(size: int) -> None:
    if size > LARGEST_WHOLE:
        raise TooLarge(
            f"The speech is larger than {LARGEST_WHOLE >> 20} MiB, the most that is held until it is complete. Have it streamed, or send a"
            " shorter text.",
            param="stream",
            code="speech_too_large",
        )


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


class _WholePlain:
    def __init__(self, name: str, rate: int) -> None:
        self._name = name
        self._rate = rate
        self._pcm = bytearray()

    def push(self, samples: Samples) -> bytes:
        from speaches.audio.pcm import to_pcm16

        self._pcm += to_pcm16(samples)
        _check_whole(len(self._pcm))
        return b""

    def finish(self) -> bytes:
        return (_wav_header(self._rate, len(self._pcm)) if self._name == "wav" else b"") + self._pcm

    def close(self) -> None:
        self._pcm.clear()  # who was refused may leave it to the garbage collector


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
    """A codec and its container. `sink` is a file; a _Sink makes it a stream."""

    def __init__(self, kind: AudioFormat, rate: int, sink: Any) -> None:
        import av
        import numpy as np

        self._kind = kind
        self._rate = rate
        self._sink = sink
        streaming = isinstance(sink, _Sink)
        muxer_options, codec_options = dict(kind.muxer_options), dict(kind.codec_options)
        if kind.muxer == "mp3" and streaming:
            muxer_options["write_xing"] = "0"  # the frame that tells the length can only be written after the end
        if kind.codec == "flac" and streaming:
            codec_options["frame_size"] = str(round(FLAC_BLOCK * rate))
        self._container: Any = av.open(sink, "w", format=kind.muxer, options=muxer_options)
        self._stream: Any = self._container.add_stream(kind.codec, rate=rate, layout="mono", options=codec_options)
        if kind.bit_rate:
            self._stream.bit_rate = kind.bit_rate
        self._stream.codec_context.open()  # now, while nobody waits: FLAC's takes 4 ms
        self._left_out, self._zeros = 0, 0
        """Frames not sent, and samples of silence put before the speech."""
        if kind.delay and (streaming or kind.muxer != "mp3"):  # a whole mp3 has a tag that tells its delay
            self._left_out, self._zeros = alignment(kind, rate)
        self._position = 0
        """Samples encoded, silence before them included."""
        self._frames = 0
        """Frames made of them, left out or not."""
        self._closed = False
        # At once: the first call takes a millisecond more than others, while nobody waits yet.
        self._encode(np.zeros(self._zeros, np.float32))

    def push(self, samples: Samples) -> bytes:
        self._encode(samples)
        if isinstance(self._sink, io.BytesIO):
            _check_whole(self._sink.tell())
        return self._take()

    def _encode(self, samples: Samples) -> None:
        import av
        import numpy as np

        from speaches.audio.pcm import to_pcm16

        if len(samples):
            frame = av.AudioFrame.from_ndarray(
                np.frombuffer(to_pcm16(samples), "<i2").reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = self._rate, self._position
            self._position += len(samples)
            self._mux(self._stream.encode(frame))

    def finish(self) -> bytes:
        if not self._closed:
            if self._position > self._zeros:
                self._mux(self._stream.encode(None), self._frames_needed())
            self.close()
        return self._sink.getvalue() if isinstance(self._sink, io.BytesIO) else self._take()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._container.close()
            # Their threads end with them, and an exception may keep the encoder for a while.
            self._container = self._stream = None

    def _frames_needed(self) -> float:
        """To hear the last sample. LAME makes another at times, of nothing."""
        if not self._kind.delay:
            return math.inf
        return (self._position + self._kind.delay) / frame_size(self._kind, self._rate)

    def _mux(self, packets: Iterable[Any], end: float = math.inf) -> None:
        for packet in packets:
            if self._left_out <= self._frames < end:
                self._container.mux(packet)
            self._frames += 1

    def _take(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Sink) else b""
