"""Samples -> wav, mp3, flac, opus, aac or pcm, by PyAV, a block at a time.

One encoder serves a whole answer: an encoder for each block would put a click at every join.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from speaches.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from speaches.engines.base import Samples

SPEECH_RATE = 24_000  # Hz, what OpenAI's clients take `pcm` to be
FINE_RATE = 48_000  # Hz, at which a frame of mp3 or aac is short enough for lengths to be right
RATES = (8_000, 48_000)  # Hz, the slowest and fastest that may be asked for
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
WAV_HEADER = 44  # bytes of the one that we write
FLAC_FACTS = 18  # where a FLAC file tells its rate, channels, bits and samples
LARGEST_WHOLE = 256 * 1024 * 1024  # bytes of an answer that is held until it is complete
UNKNOWN_SIZE = 0xFFFFFFFF  # a WAV header of a stream: players read to the end
FLAC_BLOCK = 0.04  # seconds in a block of a stream; FFmpeg's own choice of 0.1 would be waited for
SURPLUS = 0.0298  # seconds by which a stream may be longer than its speech: it is promised to be less than 30 ms
FADE = 0.02  # seconds at the start of the speech that a decoder may fade in


@dataclass(frozen=True)
class AudioFormat:
    content_type: str
    muxer: str = ""
    codec: str = ""
    muxer_options: tuple[tuple[str, str], ...] = ()
    codec_options: tuple[tuple[str, str], ...] = ()
    bit_rate: int = 0
    """Bits a second; 0 leaves it to the codec."""
    rates: tuple[int, ...] = ()
    """Hz that the codec takes; empty for any."""
    rate: int = SPEECH_RATE
    """Hz where a request names none."""
    delay: int = 0
    """Samples by which a decoder is late, where a stream has no place to tell; 0 where it has."""
    settling: int = 0
    """Samples after which a decoder that begins with any frame is at half its power."""


FORMATS = {
    # No ID3 tag: it confuses the clock of iOS. No bit reservoir: each frame must stand alone where the first are left out, and mpg123
    # fails over LAME's at low rates. Quality 7 takes half the time of LAME's usual 5, and is nearer to the original at this bit rate.
    "mp3": AudioFormat(
        "audio/mpeg",
        "mp3",
        "libmp3lame",
        (("id3v2_version", "0"),),
        (("reservoir", "0"), ("compression_level", "7")),
        96_000,
        MP3_RATES,
        FINE_RATE,
        delay=576 + 529,  # of the encoder, and of any decoder
        settling=529,
    ),
    # A page each 20 ms; by default the first audio would come after a second.
    "opus": AudioFormat("audio/ogg", "ogg", "libopus", (("page_duration", "20000"),), rates=OPUS_RATES),
    # The fast coder takes a quarter of the time of FFmpeg's usual one, and is nearer to the original at this bit rate.
    "aac": AudioFormat(
        "audio/aac",
        "adts",
        "aac",
        (),
        (("aac_coder", "fast"),),
        96_000,
        AAC_RATES,
        FINE_RATE,
        delay=1024,
        settling=512,
    ),
    # Without 8 KB of padding for tags to come.
    "flac": AudioFormat("audio/flac", "flac", "flac", (("metadata_header_padding", "0"),)),
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


def lead(name: str, rate: int, *, streamed: bool) -> float:
    """Seconds of silence that a decoder gives before the speech, for want of a place to tell of the codec's delay."""
    kind = FORMATS[name]
    if not kind.delay or (name == "mp3" and not streamed):
        return 0.0
    left_out, zeros = alignment(kind, rate)
    return (zeros + kind.delay - left_out * _frame_size(kind, rate)) / rate


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
        return (self._position + self._kind.delay) / _frame_size(self._kind, self._rate)

    def _mux(self, packets: Iterable[Any], end: float = math.inf) -> None:
        for packet in packets:
            if self._left_out <= self._frames < end:
                self._container.mux(packet)
            self._frames += 1

    def _take(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Sink) else b""


def alignment(kind: AudioFormat, rate: int) -> tuple[int, int]:
    """How a stream that can't tell its decoder's delay hides it.

    The first frames are left out. As the first that is sent then lacks the one that it overlaps with, a decoder fades it in; so a
    little silence goes before the speech: as much as `SURPLUS` leaves beside the last frame's padding. Where a frame alone is longer
    than that, enough to fade in no more than about `FADE` of the speech; then an answer may be longer than its speech by

        Hz    8000   11025   12000   16000   22050   24000   32000
        mp3    118      80      72      49                      36   ms
        aac    172     119     108      76      50      44      32   ms

    Returns:
        The number of frames to leave out, and of zeros to put before the samples.
    """
    frame_size = _frame_size(kind, rate)
    silence = int(SURPLUS * rate) - frame_size
    if silence < 0:
        silence = max(0, kind.settling - int(FADE * rate))
    left_out = math.ceil((kind.delay - silence) / frame_size)
    if kind.muxer == "mp3" and rate % 11_025 == 0:
        # Here frames differ by a byte. libsndfile guesses a file's length by the first and reads no further: LAME's first is a short one,
        # the next a long one, the next a short one.
        left_out += left_out % 2
    return left_out, left_out * frame_size - kind.delay + silence


def _frame_size(kind: AudioFormat, rate: int) -> int:
    """Samples in a frame of mp3 or aac."""
    if kind.codec == "aac":
        return 1024
    return 576 if rate < 32_000 else 1152
