"""Where the samples of a recording are on the clock of its file.

A container stamps its packets. Audio that begins after the video, or pauses, has later stamps than a count of samples would give it, and
silence takes the place of what is missing. Samples are never cut: a clock that goes back leaves them where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from speaches.engines.base import SAMPLE_RATE

STAMPED = ("matroska", "mov", "flv", "mpegts", "mpeg", "asf", "ogg", "nut", "mxf", "wtv")
"""Formats with stamps of their own; of the others FFmpeg counts what came before, by the rate that the first frame has."""
GUESSED = ("matroska", "flv")
"""Formats where only the whole file has a length; if a track seems to have one, then both are guessed."""
JITTER = 0.1  # seconds; containers round their stamps, and encoders have a delay: what differs by less is no gap
RESTART = (
    1.0  # seconds; a clock that goes back so far at once counts from there on, as where two recordings were joined
)
LONGEST_GAP = 3600.0  # seconds, where the file doesn't say how long it is
MICROSECOND = 1e-6  # FFmpeg's AV_TIME_BASE
SECOND_OF_SILENCE = bytes(2 * SAMPLE_RATE)


class Timeline:
    """The clock of one track.

    Args:
        longest: Seconds of audio that are taken; no gap reaches beyond.
    """

    def __init__(self, container: Any, track: Any, longest: float) -> None:
        self.missing = 0
        """Samples at 16 kHz that were not recorded, before the last frame that was placed."""
        # Recordings of browsers and of live streams begin at any time: the earliest track begins at 0.
        self._origin = None if container.start_time is None else container.start_time * MICROSECOND
        self._end = _declared_end(container, track)
        self._longest = longest
        self._unit = float(track.time_base or 0)
        self._stamped = not set(STAMPED).isdisjoint(container.format.name.split(","))
        self._given = 0.0
        """Seconds that were recorded or were missing, before the next frame."""
        self._expected: float | None = None
        """Stamp in seconds that the next frame has if nothing is missing."""

    def place(self, frame: Any) -> int:
        """Say how many samples are missing in all before this frame, the next one of the track."""
        length = frame.samples / frame.sample_rate
        if self._stamped and frame.pts is not None:
            stamp = frame.pts * self._unit
            if self._origin is None:
                self._origin = stamp
            late = stamp - self._origin - self._given
            if not -JITTER < late < JITTER:
                self._differ(stamp, late)
            self._expected = stamp + length
        self._given += length
        return self.missing

    def _differ(self, stamp: float, late: float) -> None:
        assert self._origin is not None
        if late > 0 and self._is_gap(late):
            self._given += late
            self.missing += round(late * SAMPLE_RATE)
        # A little overlap is made up for by the next gap. What else goes back, or ahead beyond belief, is a clock that was set.
        elif late > 0 or self._expected is None or stamp < self._expected - RESTART:
            self._origin += late

    def _is_gap(self, seconds: float) -> bool:
        """Whether so much can be missing, as the file says how long it is."""
        after = self._given + seconds
        if self._end is not None and self._given < self._end:
            return after <= min(self._end, self._longest)
        return seconds <= LONGEST_GAP and after <= self._longest


def _declared_end(container: Any, track: Any) -> float | None:
    """Seconds that the file says it is long; None if it doesn't, as of a live stream.

    FFmpeg guesses then, by the bit rates of the tracks. In formats whose tracks have no lengths of their own it gives them some.
    """
    guesses = not set(GUESSED).isdisjoint(container.format.name.split(",")) and track.duration is not None
    return None if guesses or not container.duration else container.duration * MICROSECOND + JITTER


def silence(samples: int) -> Iterator[memoryview]:
    """PCM at 16 kHz, a second at a time."""
    while samples > 0:
        yield memoryview(SECOND_OF_SILENCE)[: 2 * min(samples, SAMPLE_RATE)]
        samples -= SAMPLE_RATE
