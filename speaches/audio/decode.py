"""Any audio file -> blocks of 16 kHz mono samples, by PyAV (FFmpeg's libraries, in this process).

The file comes from a stranger. FFmpeg is given a file object, never a name; it may open nothing else (no protocols), and only the
formats in FORMATS, so that a playlist can't make it fetch other files. Seconds and channels are capped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from speaches.audio.raw import DEMUXERS, RawAudio, raw_audio
from speaches.audio.timeline import Timeline, silence
from speaches.audio.tracks import choose_tracks
from speaches.engines.base import SAMPLE_RATE
from speaches.errors import InvalidRequest, TooLarge, UnsupportedAudio

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

FORMATS = ",".join(
    (
        "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,dtshd,dv,eac3,flac,flv,g722,gsm,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8",
        "mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,rm,shn,sox,tak,truehd,tta,voc,w64,wav,webm,wtv,wv,xwma",
        *DEMUXERS,
    )
)
"""Demuxers that read one file and nothing else. hls, dash, concat, and the like are not among them."""

SUPPORTED = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
"""What OpenAI's API takes, in the words of its message; FORMATS has more."""

BLOCK_SAMPLES = SAMPLE_RATE  # what `blocks` gives at once, at least
SLOWEST_RATE = 1000  # Hz; a frame of 300 bytes at 1 Hz would become 18 hours, gigabytes of memory
SHORTEST_SECONDS = 0.1  # OpenAI refuses shorter files in the same way
RAW_HEAD = 1 << 18  # bytes of a file without a header that show what its samples are
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
        content_type: Only tells what audio without a header is; what is in the file decides else.
        track: From 0, of the audio tracks; None for the one that players play.

    Raises:
        InvalidRequest: If the file is empty, has no such track, or its content type says what can't be.
        UnsupportedAudio: If it is no audio that FFmpeg knows.
        TooLarge: If it has more channels than allowed.
    """

    def __init__(self, file: BinaryIO, limits: AudioLimits, content_type: str = "", track: int | None = None) -> None:
        self._limits = limits
        self.duration = 0.0
        """Seconds given by `blocks` so far; of the whole recording when it has ended."""
        self._container = _open(file, content_type)
        try:
            self._tracks = choose_tracks(self._container, track)
            first = self._tracks[0].codec_context
            self._check(first.channels, first.sample_rate)
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

    def _check(self, channels: int, rate: int) -> None:
        if channels > self._limits.channels:
            raise TooLarge(
                f"The audio has {channels} channels; this server takes at most {self._limits.channels}.", param="file"
            )
        if 0 < rate < SLOWEST_RATE:
            raise UnsupportedAudio(f"The audio has a sample rate of {rate} Hz, which is no recording.", param="file")

    def _resampled(self) -> Iterator[memoryview]:
        """PCM at 16 kHz, mono, of the first track that has any."""
        import av

        for track, others in zip(self._tracks, reversed(range(len(self._tracks))), strict=True):
            pcm = self._decoded(track)
            try:
                first = next(pcm, None)
            except (av.error.FFmpegError, UnsupportedAudio):
                if not others:
                    raise
                first = None
            if first is not None:
                yield first
                yield from pcm
                return
            if others:
                self._container.seek(0)

    def _decoded(self, track: Any) -> Iterator[memoryview]:
        """PCM at 16 kHz, mono, of a track."""
        from speaches.audio.mixing import mix

        timeline = Timeline(self._container, track, self._limits.seconds)
        filled = 0

        # What is put together from several files, or was recorded from the air, may change in the middle.
        def run_of(frame: Any) -> tuple[Any, ...]:
            return *_shape(frame), timeline.place(frame)

        for (channels, rate, layout, _, missing), frames in itertools.groupby(self._frames(track), key=run_of):
            self._check(channels, rate)
            yield from silence(missing - filled)
            filled = missing
            if channels == 1:
                yield from _resample(frames)
            else:
                yield from mix(_resample(frames), layout)

    def _frames(self, track: Any) -> Iterator[Any]:
        """The frames that can be decoded; broken ones are left out, as players do, unless all are."""
        import av

        decoded = broken = 0
        packets = self._container.demux(track)
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


def _resample(frames: Iterator[Any]) -> Iterator[memoryview]:
    """s16le at 16 kHz, with the frames' channels. A frame is a few milliseconds: whatever is done for each of them is done often."""
    import av

    resampler = av.AudioResampler(format="s16", rate=SAMPLE_RATE)
    for frame in itertools.chain(frames, (None,)):
        if frame is not None:
            frame.pts = None  # else the resampler has a look at it, too
        for part in resampler.resample(frame):
            if part is not None:  # what it gives at the end if there was nothing to convert
                yield memoryview(part.planes[0])[: part.samples * part.layout.nb_channels * 2]  # the rest is padding


def _shape(frame: Any) -> tuple[Any, ...]:
    """What a resampler needs to be the same in all frames."""
    return frame.layout.nb_channels, frame.sample_rate, frame.layout.name, frame.format.name


def _open(file: BinaryIO, content_type: str) -> Any:
    import av

    file.seek(0)
    head = file.read(RAW_HEAD if content_type else 12)
    file.seek(0)
    if not head:
        raise InvalidRequest("The audio file is empty.", param="file", code="empty_file")
    raw = raw_audio(content_type, head)
    try:
        return av.open(
            file,
            "r",  # else PyAV goes by the mode the file was opened with
            format=raw.demuxer if raw else None,
            options=_options(head, raw),
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            metadata_errors="ignore",
        )
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise UnsupportedAudio(
            f"Invalid file format. Supported formats: {list(SUPPORTED)} and most others; this file could not be read as audio.",
            param="file",
        ) from error


def _options(head: bytes, raw: RawAudio | None) -> dict[str, str]:
    """Of the demuxer, for a file that begins like this."""
    if raw:
        return raw.options
    is_wav = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    return {"probesize": str(WAV_HEAD)} if is_wav else {}
