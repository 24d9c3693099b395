"""Where the audio of a container is on the container's clock: silence for what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from speaches.engines.base import SAMPLE_RATE

TIMED = ("matroska", "webm", "mov", "mp4", "flv", "mpegts", "asf")
"""Formats whose times are more than a count of what came before."""
MOST_SILENCE = 600.0  # seconds that are put in for one gap; a clock that jumps further was set anew
JITTER = 0.1  # seconds by which times may differ from the count of samples: containers round them
SECOND = bytes(2 * SAMPLE_RATE)
MICROSECONDS = 1_000_000  # FFmpeg's AV_TIME_BASE


class Timeline:
    """The clock of one recording. A track that begins after the video, or pauses, does so in what is decoded too."""

    def __init__(self, container: Any) -> None:
        self._timed = any(name in TIMED for name in container.format.name.split(","))
        # Recordings of browsers start anywhere: only what lies behind the earliest track counts.
        self._origin = (container.start_time or 0) / MICROSECONDS
        self._clock = 0.0
        """Seconds that were given so far."""

    def silence_before(self, frame: Any) -> Iterator[memoryview]:
        """PCM at 16 kHz to put before a frame, mostly none."""
        if self._timed and frame.pts is not None and frame.time_base:
            gap = frame.pts * float(frame.time_base) - self._origin - self._clock
            if JITTER < gap <= MOST_SILENCE:
                self._clock += gap
                yield from _silence(round(gap * SAMPLE_RATE))
            elif abs(gap) > JITTER:
                self._origin += gap  # the clock was set anew; nothing that was recorded is cut off
        self._clock += frame.samples / frame.sample_rate


def _silence(samples: int) -> Iterator[memoryview]:
    while samples > 0:
        yield memoryview(SECOND)[: 2 * min(samples, SAMPLE_RATE)]
        samples -= SAMPLE_RATE
