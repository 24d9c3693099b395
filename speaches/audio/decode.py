"""Any audio file -> blocks of 16 kHz mono samples, by PyAV (FFmpeg's libraries, in this process).

The file comes from a stranger. FFmpeg is given a file object, never a name; it may open nothing else (no protocols), and only the
formats in FORMATS, so that a playlist can't make it fetch other files. Seconds and channels are capped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any, BinaryIO

from speaches.audio.timeline import Timeline
from speaches.engines.base import SAMPLE_RATE
from speaches.errors import InvalidRequest, TooLarge, UnsupportedAudio

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,g722,gsm,loas,matroska,mlp,mov,mp3,mpeg,mpegts,ogg,rm,sox,truehd,tta,voc,"
    "w64,wav,webm,wv,s16le,s16be,mulaw,alaw"
)
"""Demuxers that read one file and nothing else. hls, dash, concat, and the like are not among them."""

SUPPORTED = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
"""What OpenAI's API takes, in the words of its message; FORMATS has more."""

RAW_TYPES = {
    "audio/pcm": ("s16le", SAMPLE_RATE),
    "audio/raw": ("s16le", SAMPLE_RATE),
    "audio/x-raw": ("s16le", SAMPLE_RATE),
    "audio/l16": ("s16le", SAMPLE_RATE),  # big-endian to RFC 2586, little-endian to all who send it to speech servers
    "audio/pcmu": ("mulaw", 8000),
    "audio/basic": ("mulaw", 8000),
    "audio/x-mulaw": ("mulaw", 8000),
    "audio/pcma": ("alaw", 8000),
    "audio/x-alaw": ("alaw", 8000),
}
"""Content types of headerless audio: FFmpeg's name, and Hz where `;rate=` says nothing. Mono unless `;channels=` says otherwise."""
FASTEST_RATE = 384_000  # Hz
MOST_RAW_CHANNELS = 8

BLOCK_SAMPLES = SAMPLE_RATE  # what `blocks` gives at once, at least
SLOWEST_RATE = 1000  # Hz; a frame of 300 bytes at 1 Hz would become 18 hours, gigabytes of memory
SHORTEST_SECONDS = 0.1  # OpenAI refuses shorter files in the same way
WAV_HEAD = 16_384  # bytes of a WAV file in which FFmpeg looks for DTS disguised as PCM; it would take 3 ms to look as far as it likes to


@dataclass(frozen=True)
class AudioLimits:
    seconds: float = 6 * 3600.0
    channels: int = 8

    @staticmethod
    def of(settings: Settings) -> AudioLimits:
        return AudioLimits(settings.max_audio_seconds, settings.max_audio_channels)


class AudioFile:
    """An open recording. Use it in a `with`, and in a thread: all of this blocks.

    Args:
        file: Readable and seekable; stays open.
        content_type: Only tells raw PCM from a container; what is in the file decides else.
        track: Which of its audio tracks, from 0; None is the one that a player plays.

    Raises:
        InvalidRequest: If the file is empty, or has no such track.
        UnsupportedAudio: If it is no audio that FFmpeg knows.
        TooLarge: If it has more channels than allowed.
    """

    def __init__(self, file: BinaryIO, limits: AudioLimits, content_type: str = "", track: int | None = None) -> None:
        self._limits = limits
        self._track = track
        self.duration = 0.0
        """Seconds given by `blocks` so far; of the whole recording when it has ended."""
        self._container = _open(file, content_type)
        try:
            self._stream = self._find_stream()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def blocks(self) -> Iterator[Samples]:
        """Yield about a second at a time, each of shape (n,), float32, 16 kHz.

        Raises:
            InvalidRequest: If the recording is shorter than 0.1 s.
            UnsupportedAudio: If nothing in it can be decoded.
            TooLarge: If it goes on beyond the limit.
        """
        from speaches.audio.pcm import from_pcm16

        pending: list[memoryview] = []
        count = total = 0
        for pcm in self._resampled():
            pending.append(pcm)
            count += len(pcm) // 2
            total += len(pcm) // 2
            self.duration = total / SAMPLE_RATE
            if self.duration > self._limits.seconds:
                raise TooLarge(
                    f"The audio is longer than {self._limits.seconds:g} seconds, the most this server takes.",
                    param="file",
                )
            if count >= BLOCK_SAMPLES:
                yield from_pcm16(b"".join(pending))
                pending, count = [], 0
        if total < SHORTEST_SECONDS * SAMPLE_RATE:
            raise InvalidRequest(
                f"Audio file is too short. Minimum audio length is {SHORTEST_SECONDS} seconds.",
                param="file",
                code="audio_too_short",
            )
        if pending:
            yield from_pcm16(b"".join(pending))

    def _find_stream(self) -> Any:
        tracks = self._container.streams.audio
        if self._track is not None and tracks:
            if self._track >= len(tracks):
                raise InvalidRequest(
                    f"audio_track is {self._track}, and the file has {len(tracks)} audio tracks, counted from 0.",
                    param="audio_track",
                    code="invalid_value",
                )
            tracks = tracks[self._track : self._track + 1]
        # What a player plays: the track that the file calls the default one, else the first.
        stream = next(
            (track for track in tracks if track.disposition & track.disposition.default), next(iter(tracks), None)
        )
        if stream is None:
            raise UnsupportedAudio("The file has no audio in it.", param="file")
        if stream.codec_context is None:
            raise UnsupportedAudio("The audio is in a codec that this server can't decode.", param="file")
        self._check(stream.codec_context.channels, stream.codec_context.sample_rate)
        return stream

    def _check(self, channels: int, rate: int) -> None:
        if channels > self._limits.channels:
            raise TooLarge(
                f"The audio has {channels} channels; this server takes at most {self._limits.channels}.", param="file"
            )
        if 0 < rate < SLOWEST_RATE:
            raise UnsupportedAudio(f"The audio has a sample rate of {rate} Hz, which is no recording.", param="file")

    def _resampled(self) -> Iterator[memoryview]:
        """PCM at 16 kHz, mono. A frame is a few milliseconds: whatever is done for each of them is done often."""
        import av

        from speaches.audio.mixing import mix

        timeline = Timeline(self._container)
        # What is put together from several files, or was recorded from the air, may change in the middle.
        for (channels, rate, *_), frames in itertools.groupby(self._frames(), key=_shape):
            self._check(channels, rate)
            # s16, because swr scales a mix of channels down to full scale only for integers.
            stereo = channels == 2
            resampler = av.AudioResampler(format="s16", layout="stereo" if stereo else "mono", rate=SAMPLE_RATE)
            for frame in itertools.chain(frames, (None,)):
                if frame is not None:
                    yield from timeline.silence_before(frame)
                    frame.pts = None  # else the resampler would see to gaps in its own way
                for part in resampler.resample(frame):
                    if part is not None:  # what it gives at the end if there was nothing to convert
                        pcm = memoryview(part.planes[0])[
                            : part.samples * 2 * (2 if stereo else 1)
                        ]  # the rest is padding
                        yield mix(pcm) if stereo else pcm

    def _frames(self) -> Iterator[Any]:
        """The frames that can be decoded; broken ones are left out, as players do, unless all are."""
        import av

        decoded = broken = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                for frame in next(packets).decode():
                    decoded += 1
                    yield frame
            except (StopIteration, av.error.EOFError):
                break
            except av.error.FFmpegError:
                broken += 1
                if broken > 1000 + decoded:
                    break
        if broken and not decoded:
            raise UnsupportedAudio("The audio could not be decoded; the file is damaged.", param="file")


def _shape(frame: Any) -> tuple[Any, ...]:
    """What a resampler needs to be the same in all frames."""
    return frame.layout.nb_channels, frame.sample_rate, frame.layout.name, frame.format.name


def _open(file: BinaryIO, content_type: str) -> Any:
    import av

    file.seek(0)
    head = file.read(12)
    file.seek(0)
    if not head:
        raise InvalidRequest("The audio file is empty.", param="file", code="empty_file")
    raw = _raw_format(content_type)
    try:
        return av.open(
            file,
            "r",  # else PyAV goes by the mode the file was opened with
            format=raw[0] if raw else None,
            options=_options(head, raw),
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            metadata_errors="ignore",
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise UnsupportedAudio(
            f"Invalid file format. Supported formats: {list(SUPPORTED)} and most others; this file could not be read as audio.",
            param="file",
        ) from error


def _raw_format(content_type: str) -> tuple[str, dict[str, str]] | None:
    """FFmpeg's name for headerless audio and its options; None for a file that says itself what it is.

    Raises:
        InvalidRequest: If the rate or the channels that it names can't be.
    """
    message = Message()
    message["content-type"] = content_type or "application/octet-stream"
    found = RAW_TYPES.get(message.get_content_type())
    if found is None:
        return None
    name, usual = found
    rate = _parameter(message, "rate", usual, SLOWEST_RATE, FASTEST_RATE)
    channels = _parameter(message, "channels", 1, 1, MOST_RAW_CHANNELS)
    return name, {
        "sample_rate": str(rate),
        "ch_layout": f"{channels}c" if channels > 2 else ("mono", "stereo")[channels - 1],
    }


def _parameter(message: Message, name: str, usual: int, least: int, most: int) -> int:
    given = message.get_param(name)
    if given is None:
        return usual
    text = str(given).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and least <= int(text) <= most):
        raise InvalidRequest(
            f"The content type names a {name} of {text[:20]!r}; it must be a whole number from {least} to {most}.",
            param="file",
            code="invalid_value",
        )
    return int(text)


def _options(head: bytes, raw: tuple[str, dict[str, str]] | None) -> dict[str, str]:
    """Of the demuxer, for a file that begins like this."""
    if raw:
        return raw[1]
    is_wav = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    return {"probesize": str(WAV_HEAD)} if is_wav else {}
