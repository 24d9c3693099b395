"""A recording -> windows of speech, a block at a time and in bounded memory: at most two windows of it are held."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from speaches.audio.buffer import SampleBuffer
from speaches.engines.base import SAMPLE_RATE, WINDOW_SAMPLES
from speaches.transcription.activity import FRAME_SIZE, ActivityOptions, Region, SpeechRegions
from speaches.transcription.windows import TimeMap, WindowPacker, quietest_cut

if TYPE_CHECKING:
    from speaches.audio.decode import AudioFile
    from speaches.engines.base import Samples, SpeechFrames


@dataclass(frozen=True)
class HeardWindow:
    """A window of a recording."""

    samples: Samples
    """shape (n,), float32, 16 kHz, at most 30 s."""
    times: TimeMap
    activity: float = 1.0
    """The chance of speech in its clearest quarter: somebody who speaks is clear at times, however long the pauses around."""


@dataclass
class Recording:
    """What is known of a recording when all of its windows were given."""

    duration: float = 0.0
    """Seconds."""
    speech_seconds: float = 0.0
    """Seconds of it that were in a window."""


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
            spoken = [chances.take(region.start // FRAME_SIZE, region.end // FRAME_SIZE + 1) for region in regions]
            recording.speech_seconds += len(samples) / SAMPLE_RATE
            yield HeardWindow(samples, TimeMap(regions), _clearest(np.concatenate(spoken)))

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
    buffer, chances, start = SampleBuffer(), np.empty(0, np.float32), 0

    def window(end: int) -> HeardWindow:
        samples = buffer.take(start, end)
        recording.speech_seconds += len(samples) / SAMPLE_RATE
        spoken = chances[: -(-(end - start) // FRAME_SIZE)]
        return HeardWindow(samples, TimeMap((Region(start, end),)), _clearest(spoken))

    for probabilities in _activity(audio, frames, buffer):
        chances = np.concatenate((chances, probabilities))
        while len(chances) * FRAME_SIZE > WINDOW_SAMPLES:
            cut = quietest_cut(chances[: WINDOW_SAMPLES // FRAME_SIZE].tolist())
            yield window(start + cut * FRAME_SIZE)
            start, chances = start + cut * FRAME_SIZE, chances[cut:]
            buffer.drop(start)
    while start < buffer.end:  # the last frame may stick out by less than its length
        end = min(buffer.end, start + WINDOW_SAMPLES)
        yield window(end)
        start, chances = end, chances[(end - start) // FRAME_SIZE :]
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


def _clearest(chances: Samples) -> float:
    """The mean of the highest quarter."""
    return float(np.sort(chances)[-(-3 * len(chances) // 4) :].mean()) if len(chances) > 1 else float(chances.mean())


def _activity(audio: AudioFile, frames: SpeechFrames, buffer: SampleBuffer) -> Iterator[Samples]:
    """Fill `buffer` and yield the chance of speech in its frames, about a second at a time."""
    heard = 0
    for block in audio.blocks():
        buffer.add(block)
        whole = (buffer.end - heard) // FRAME_SIZE * FRAME_SIZE
        if whole:
            yield frames.probabilities(buffer.take(heard, heard + whole))
            heard += whole
    # As Silero does: silence fills the last frame, so no speech is lost.
    rest = buffer.take(heard, buffer.end)
    yield frames.probabilities(np.pad(rest, (0, FRAME_SIZE - len(rest))))
