"""A recording -> windows of speech, a block at a time and in bounded memory: what one window spans is held."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speaches.audio.buffer import SampleBuffer
from speaches.audio.loudness import Loudness
from speaches.engines.base import SAMPLE_RATE, SHORT_WINDOW_LANGUAGES
from speaches.transcription.activity import FRAME_SIZE, ActivityOptions, Region, SpeechRegions
from speaches.transcription.gaps import speech_between
from speaches.transcription.windows import (
    FIRST_WINDOW,
    LONG_WINDOW,
    SHORT_WINDOW,
    TimeMap,
    WindowPacker,
    quietest_cut,
)

if TYPE_CHECKING:
    from speaches.audio.decode import AudioFile
    from speaches.engines.base import Samples, Segment, SpeechFrames


@dataclass(frozen=True)
class HeardWindow:
    """A window of a recording."""

    samples: Samples
    """shape (n,), float32, 16 kHz, at most 30 s."""
    times: TimeMap
    chances: Samples
    """shape (n // 512,) or more: the chance of speech in each 32 ms."""

    @property
    def activity(self) -> float:
        """The chance of speech in its clearest quarter: somebody who speaks is clear at times, however long the pauses around."""
        chances = self.chances
        return float(np.sort(chances)[3 * len(chances) // 4 :].mean()) if len(chances) else 0.0

    @property
    def middle(self) -> float:
        """Seconds: where it can be cut in about the middle with the least harm."""
        count = len(self.chances)
        places = np.arange(count // 3, max(count // 3 + 1, 2 * count // 3))
        chance = np.convolve(np.pad(self.chances, 2, mode="edge"), np.ones(5), "valid")[places]
        return float(places[np.argmin(chance + np.abs(places - count / 2) / count)] * FRAME_SIZE / SAMPLE_RATE)

    def speech_under(self, segment: Segment) -> float:
        """Seconds of speech under the words of a segment; without words nobody knows."""
        frames = sum(len(speech_between(self.chances, word.start, word.end)) for word in segment.words)
        return frames * FRAME_SIZE / SAMPLE_RATE

    def part(self, start: float, end: float) -> HeardWindow:
        """From `start` to `end` seconds of it."""
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        chances = self.chances[first // FRAME_SIZE : -(-last // FRAME_SIZE)]
        return HeardWindow(self.samples[first:last], self.times.part(first, last), chances)


@dataclass
class Recording:
    """What is known of a recording: its language as soon as it is, all else when all of its windows were given."""

    language: str | None = None
    """ISO 639-1."""
    short_window: bool = False
    """Whether the encoder may see less than 30 s where that is safe."""
    duration: float = 0.0
    """Seconds."""
    speech_seconds: float = 0.0
    """Seconds of it that were in a window."""

    @property
    def window_samples(self) -> int:
        """The most samples of the next window."""
        return SHORT_WINDOW if self.short_window and self.language in SHORT_WINDOW_LANGUAGES else LONG_WINDOW


def speech_windows(
    audio: AudioFile, frames: SpeechFrames, options: ActivityOptions, recording: Recording, *, one_language: bool = True
) -> Generator[HeardWindow, None, None]:
    """Windows of the speech alone."""
    buffer, chances, found, packer = (
        SampleBuffer(),
        SampleBuffer(),
        SpeechRegions(options),
        WindowPacker(one_language=one_language),
    )

    def windows(packed: list[tuple[Region, ...]]) -> Iterator[HeardWindow]:
        for regions in packed:
            samples = np.concatenate([buffer.take(region.start, region.end) for region in regions])
            recording.speech_seconds += len(samples) / SAMPLE_RATE
            yield HeardWindow(samples, TimeMap(regions), _by_frame(chances, regions))
            packer.size = recording.window_samples

    for probabilities in _activity(audio, frames, buffer):
        chances.add(probabilities)
        for region in found.push(probabilities):
            yield from windows(packer.add(region))
        oldest = packer.needed_from
        needed = found.needed_from if oldest is None else min(oldest, found.needed_from)
        buffer.drop(needed)
        chances.drop(needed // FRAME_SIZE)
    for region in found.finish(buffer.end):
        yield from windows(packer.add(region))
    yield from windows(packer.finish())
    recording.duration = audio.duration


def all_windows(audio: AudioFile, frames: SpeechFrames, recording: Recording) -> Generator[HeardWindow, None, None]:
    """Windows of the whole recording, silence too, cut where a word is least likely to be hit."""
    buffer, chances, start, size = SampleBuffer(), np.empty(0, np.float32), 0, FIRST_WINDOW

    def window(end: int) -> HeardWindow:
        samples = buffer.take(start, end)
        recording.speech_seconds += len(samples) / SAMPLE_RATE
        return HeardWindow(samples, TimeMap((Region(start, end),)), chances[: -(-(end - start) // FRAME_SIZE)])

    for probabilities in _activity(audio, frames, buffer):
        chances = np.concatenate((chances, probabilities))
        while len(chances) * FRAME_SIZE > size:
            cut = quietest_cut(chances[: size // FRAME_SIZE].tolist())
            yield window(start + cut * FRAME_SIZE)
            start, chances, size = start + cut * FRAME_SIZE, chances[cut:], recording.window_samples
            buffer.drop(start)
    if start < buffer.end:
        yield window(buffer.end)
    recording.duration = audio.duration


def speech_regions(
    audio: AudioFile, frames: SpeechFrames, options: ActivityOptions
) -> Generator[list[Region], None, None]:
    """Where somebody speaks in a recording. Yields what has become sure after each second, mostly nothing."""
    buffer, found = SampleBuffer(), SpeechRegions(options)
    for probabilities in _activity(audio, frames, buffer):
        yield found.push(probabilities)
        buffer.drop(buffer.end - FRAME_SIZE)
    yield found.finish(buffer.end)


def _by_frame(chances: SampleBuffer, regions: Sequence[Region]) -> Samples:
    """The chance of speech in each frame of a window, whose regions begin anywhere in a frame of the recording."""
    parts = []
    for region in regions:
        first = region.start // FRAME_SIZE
        samples = np.repeat(chances.take(first, -(-region.end // FRAME_SIZE)), FRAME_SIZE)
        parts.append(samples[region.start - first * FRAME_SIZE :][: region.end - region.start])
    return np.concatenate(parts)[FRAME_SIZE // 2 :: FRAME_SIZE]


def _activity(audio: AudioFile, frames: SpeechFrames, buffer: SampleBuffer) -> Iterator[Samples]:
    """Fill `buffer` and yield the chance of speech in its frames, about a second at a time."""
    heard, loudness = 0, Loudness()
    for block in audio.blocks():
        buffer.add(block)
        whole = (buffer.end - heard) // FRAME_SIZE * FRAME_SIZE
        if whole:
            yield frames.probabilities(loudness.even(buffer.take(heard, heard + whole)))
            heard += whole
    # As Silero does: silence fills the last frame, so no speech is lost.
    rest = loudness.even(buffer.take(heard, buffer.end))
    yield frames.probabilities(np.pad(rest, (0, FRAME_SIZE - len(rest))))
