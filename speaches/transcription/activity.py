"""Where somebody speaks, from the chance of speech in each frame. Rules only: no model, no audio.

The rules and their names are Silero's (https://github.com/snakers4/silero-vad), made to work on a stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from speaches.engines.base import SAMPLE_RATE

FRAME_SIZE = 512  # samples in one Silero frame at 16 kHz
SHORTEST_PAUSE_MS = 98  # a pause this long is a place to cut speech that goes on for too long


@dataclass(frozen=True)
class ActivityOptions:
    threshold: float = 0.5
    """A frame is speech from this chance on."""
    neg_threshold: float | None = None
    """Speech goes on down to this chance; by default 0.15 under the threshold."""
    min_speech_duration_ms: float = 0
    """Shorter speech is left out."""
    max_speech_duration_s: float = math.inf
    """Longer speech is cut, at its last pause if there is one."""
    min_silence_duration_ms: float = 160
    """A shorter pause does not end speech."""
    speech_pad_ms: float = 400
    """What is added at both ends, up to the middle of the pause."""


@dataclass(frozen=True)
class Region:
    """A stretch of speech, in samples at 16 kHz."""

    start: int
    end: int


def _samples(ms: float) -> float:
    return ms * SAMPLE_RATE / 1000


class SpeechRegions:
    """Finds speech in a stream. `push` frames as they come; each region is given out once, when its end is sure."""

    def __init__(self, options: ActivityOptions) -> None:
        self._threshold = options.threshold
        self._negative = max(options.threshold - 0.15, 0.01) if options.neg_threshold is None else options.neg_threshold
        self._pad = _samples(options.speech_pad_ms)
        self._min_speech = _samples(options.min_speech_duration_ms)
        self._max_speech = SAMPLE_RATE * options.max_speech_duration_s - FRAME_SIZE - 2 * self._pad
        self._min_silence = _samples(options.min_silence_duration_ms)
        self._position = 0
        """Samples heard so far."""
        self._start: int | None = None
        """Where the speech that goes on began; None in silence."""
        self._pause = 0
        """Where the pause that may end it began; 0 for none."""
        self._cut_end = self._cut_start = 0
        """The last pause long enough to cut at, and where speech went on after it."""
        self._held: Region | None = None
        """The last region, with its start padded; its end waits to hear how long the pause is."""

    @property
    def needed_from(self) -> int:
        """The first sample that a region to come may still contain."""
        if self._held is not None:
            return self._held.start
        begin = self._position if self._start is None else self._start
        return max(0, int(begin - self._pad))

    def push(self, probabilities: Iterable[float]) -> list[Region]:
        """Hear frames. Returns the regions that have become sure, in order."""
        regions: list[Region] = []
        for probability in probabilities:
            for found in self._hear(float(probability)):
                regions += self._hold(found)
            self._position += FRAME_SIZE
            # Looked at in each frame: within a block of frames a pause may begin and end.
            if self._held is not None and self._start is None and self._position - self._held.end >= 2 * self._pad:
                regions.append(self._padded(self._held))
                self._held = None
        return regions

    def finish(self, total: int) -> list[Region]:
        """The rest, once the stream has ended after `total` samples."""
        regions: list[Region] = []
        if self._start is not None and total - self._start > self._min_speech:
            regions += self._hold(Region(self._start, total))
        if self._held is not None:
            end = int(min(total, self._held.end + self._pad))
            regions.append(Region(self._held.start, end))
        self._start = self._held = None
        return regions

    def _hear(self, probability: float) -> Iterable[Region]:
        """One frame. Yields a region when speech ends."""
        now = self._position
        if probability >= self._threshold and self._pause:
            self._pause = 0
            if self._cut_start < self._cut_end:
                self._cut_start = now
        if self._start is None:
            if probability >= self._threshold:
                self._start = now
            return
        if now - self._start > self._max_speech:
            yield from self._cut(now)
            if self._start is None:
                return
        if probability < self._negative:
            yield from self._quiet(now)

    def _cut(self, now: int) -> Iterable[Region]:
        """Speech goes on for too long: end it at its last pause, or here."""
        assert self._start is not None
        if not self._cut_end:
            yield Region(self._start, now)
            self._silence()
            return
        yield Region(self._start, self._cut_end)
        begin = None if self._cut_start < self._cut_end else self._cut_start
        self._silence()
        self._start = begin

    def _quiet(self, now: int) -> Iterable[Region]:
        """A quiet frame within speech: perhaps its end."""
        assert self._start is not None
        self._pause = self._pause or now
        if now - self._pause > _samples(SHORTEST_PAUSE_MS):
            self._cut_end = self._pause
        if now - self._pause < self._min_silence:
            return
        if self._pause - self._start > self._min_speech:
            yield Region(self._start, self._pause)
        self._silence()

    def _silence(self) -> None:
        self._start = None
        self._pause = self._cut_end = self._cut_start = 0

    def _hold(self, region: Region) -> list[Region]:
        """Keep the newest region; give the one before, both padded into the pause between them."""
        held = self._held
        if held is None:
            self._held = Region(int(max(0, region.start - self._pad)), region.end)
            return []
        gap = region.start - held.end
        if gap < 2 * self._pad:
            self._held = Region(int(max(0, region.start - gap // 2)), region.end)
            return [Region(held.start, held.end + int(gap // 2))]
        self._held = Region(int(max(0, region.start - self._pad)), region.end)
        return [self._padded(held)]

    def _padded(self, region: Region) -> Region:
        return Region(region.start, int(region.end + self._pad))
