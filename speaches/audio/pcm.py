"""Between samples (float32 in [-1, 1]) and PCM (16-bit little-endian bytes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speaches.engines.base import Samples

FULL_SCALE = 32767


def to_pcm16(samples: Samples) -> bytes:
    """s16le bytes."""
    # Clip first: int16 conversion wraps, and one loud sample would become a click. NaN and infinity, of a broken model, are silence.
    return (np.nan_to_num(samples, posinf=0.0, neginf=0.0).clip(-1.0, 1.0) * FULL_SCALE).astype("<i2").tobytes()


def from_pcm16(pcm: bytes) -> Samples:
    """Shape (len(pcm) // 2,), float32."""
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)
