"""A moving stretch of a recording."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speaches.engines.base import Samples


class SampleBuffer:
    """Samples of a recording from some position on, addressed by their place in the recording. Old ones are dropped."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, Samples]] = deque()
        """(place of its first sample, samples), in order, without gaps."""
        self.end = 0
        """Samples that have been added in all."""

    def add(self, samples: Samples) -> None:
        if len(samples):
            self._blocks.append((self.end, samples))
            self.end += len(samples)

    def take(self, start: int, end: int) -> Samples:
        """A copy of the samples from `start` to `end`, as far as they are there. Shape (end - start,)."""
        parts = [
            samples[max(0, start - place) : max(0, end - place)]
            for place, samples in self._blocks
            if place < end and place + len(samples) > start
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def drop(self, before: int) -> None:
        """Forget the blocks that end before a place."""
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= before:
            self._blocks.popleft()
