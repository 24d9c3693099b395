"""From regions of speech to windows that a recogniser hears at once. Rules only: positions, no audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from speaches.engines.base import SAMPLE_RATE, WINDOW_SAMPLES, Segment
from speaches.transcription.activity import Region

LONG_WINDOW = 29 * SAMPLE_RATE  # speech in a window: Whisper's 30 s, less a little silence at its end
SHORT_WINDOW = 20 * SAMPLE_RATE  # where the encoder need not see 30 s: loses fewer words, and is faster
FIRST_WINDOW = 10 * SAMPLE_RATE  # so that the first text need not wait for more
LONGEST_SPAN = (
    120 * SAMPLE_RATE
)  # of a recording in one window, pauses too: what lies between two words is held in memory
TELLING_SAMPLES = 8 * SAMPLE_RATE  # speech that is enough to tell its language by
LONG_PAUSE = 4 * SAMPLE_RATE  # after which somebody else may speak, in another language
CUT_SHARE = 3  # where no speech is left out, a window ends within its last third


class WindowPacker:
    """Puts regions of speech together, in order, until a window is full.

    What lies between the regions is left out, so that a window holds speech rather than pauses.

    Args:
        one_language: Whether the whole recording is in one language. Otherwise a window that is long enough to tell its language ends at
            a long pause, after which there may be another.
    """

    def __init__(self, *, one_language: bool = True) -> None:
        self.size = FIRST_WINDOW
        """The most samples of the open window. Whoever has the windows heard sets it after each."""
        self._one_language = one_language
        self._regions: list[Region] = []
        self._length = 0

    @property
    def needed_from(self) -> int | None:
        """The first sample that the open window contains; None while it is empty."""
        return self._regions[0].start if self._regions else None

    def add(self, region: Region) -> list[tuple[Region, ...]]:
        """Add a region. Returns the windows that are full by it."""
        full: list[tuple[Region, ...]] = []
        while region.end - region.start > WINDOW_SAMPLES:  # where the detector was told to cut later
            full += self.finish()
            full.append((Region(region.start, region.start + WINDOW_SAMPLES),))
            region = Region(region.start + WINDOW_SAMPLES, region.end)
        if self._regions and self._ends_before(region):
            full += self.finish()
        self._regions.append(region)
        self._length += region.end - region.start
        return full

    def _ends_before(self, region: Region) -> bool:
        """Whether the open window has no place for a region."""
        too_full = self._length + region.end - region.start > self.size
        too_long = region.end - self._regions[0].start > LONGEST_SPAN
        return too_full or too_long or self._may_change_language(region)

    def _may_change_language(self, region: Region) -> bool:
        if self._one_language or self._length < TELLING_SAMPLES:
            return False
        return region.start - self._regions[-1].end > LONG_PAUSE

    def finish(self) -> list[tuple[Region, ...]]:
        """The open window, if there is anything in it."""
        window, self._regions, self._length = tuple(self._regions), [], 0
        return [window] if window else []


def quietest_cut(probabilities: Sequence[float]) -> int:
    """Where to cut a full window that leaves nothing out: the frame with the least chance of speech in its last part.

    Takes the chance of speech in each frame of the window; returns an index into them, at least 1.
    """
    last = probabilities[-(len(probabilities) // CUT_SHARE or 1) :]
    quietest = min(range(len(last)), key=lambda i: last[i])
    return max(1, len(probabilities) - len(last) + quietest)


@dataclass(frozen=True)
class TimeMap:
    """From seconds in a window to seconds in the recording it was put together from."""

    regions: tuple[Region, ...]

    def segment(self, segment: Segment) -> Segment:
        words = tuple(replace(w, start=self.time(w.start), end=self.time(w.end, is_end=True)) for w in segment.words)
        return replace(segment, start=self.time(segment.start), end=self.time(segment.end, is_end=True), words=words)

    def part(self, start: int, end: int) -> TimeMap:
        """The same for the part of the window from sample `start` to `end`."""
        kept: list[Region] = []
        for region in self.regions:
            length = region.end - region.start
            if start < length and end > 0:
                kept.append(Region(region.start + max(0, start), region.start + min(length, end)))
            start, end = start - length, end - length
        return TimeMap(tuple(kept))

    def time(self, seconds: float, *, is_end: bool = False) -> float:
        """At the join of two regions, an end belongs to the earlier and a start to the later one."""
        left = seconds * SAMPLE_RATE
        for region in self.regions[:-1]:
            length = region.end - region.start
            if left < length or (is_end and left <= length):
                break
            left -= length
        else:
            region = self.regions[-1]
        return round((region.start + min(left, region.end - region.start)) / SAMPLE_RATE, 3)
