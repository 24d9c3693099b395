"""Quiet recordings made louder for a detector that learnt from louder ones."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speaches.engines.base import Samples

QUIET_PEAK = 0.05
"""A recording that stays below this for some time is quiet."""
PEAK = 0.25
"""What its loudest sample is to become."""
MOST_GAIN = 100.0
"""40 dB: more would make speech of the noise of a microphone."""
REMEMBERED_BLOCKS = 30
"""A loud noise holds the level down for so many blocks, of about a second each."""


class Loudness:
    """The level of one recording, block by block."""

    def __init__(self) -> None:
        self._peaks: deque[float] = deque(maxlen=REMEMBERED_BLOCKS)

    def even(self, samples: Samples) -> Samples:
        """The samples of the next block, louder where all of the last blocks are quiet; else themselves."""
        self._peaks.append(float(np.abs(samples).max(initial=0.0)))
        peak = max(self._peaks)
        if peak >= QUIET_PEAK or not peak:
            return samples
        return samples * np.float32(min(MOST_GAIN, PEAK / peak))
