"""Sample rates, by soxr: no aliasing, and state that is kept from block to block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from speaches.engines.base import Samples


class Resampler:
    """Converts one stream. Blocks of any length go in; blocks of other lengths come out.

    Args:
        from_rate, to_rate: Hz.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        # ResampleStream with equal rates would still delay the stream by its filter.
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32") if from_rate != to_rate else None

    def push(self, samples: Samples) -> Samples:
        return samples if self._stream is None else self._stream.resample_chunk(np.asarray(samples, np.float32))

    def finish(self) -> Samples:
        """What the filter still holds. Nothing may be pushed after."""
        empty = np.empty(0, np.float32)
        return empty if self._stream is None else self._stream.resample_chunk(empty, last=True)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Convert a whole recording.

    Args:
        samples: shape (n,), float32.

    Returns:
        shape (about n * to_rate / from_rate,), float32.
    """
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate((resampler.push(samples), resampler.finish()))
