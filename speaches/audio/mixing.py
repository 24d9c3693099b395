"""Several channels -> one, so that whoever speaks in any of them is heard.

The mix is FFmpeg's: left and right in halves, of surround sound the centre most and the rear least. Two things are done beyond it. Where
only some channels have sound, they are as loud as if there were no others. And where channels are each other's opposite, as after a
wrongly soldered plug, and would be silence together, they are turned to the phase of the loudest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speaches.engines.base import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

WEIGHTS = {"FC": 1.0, "FL": 0.707, "FR": 0.707, "BC": 0.707, "LFE": 0.0, "LFE2": 0.0}
"""By the channel's place, as FFmpeg's default; the others have OTHER."""
OTHER = 0.5
WINDOW = SAMPLE_RATE // 5  # samples for which the channels' levels are compared, 200 ms
RAMP = SAMPLE_RATE // 100  # samples in which one mix turns into the next, 10 ms: else there would be clicks
STRIDE = 4  # every so many samples tell the level
QUIET = 1e-3  # of the loudest channel's power, -30 dB: a channel with less has no part in how loud the others are
FALL = (
    0.9  # what is left of a channel's level after a window in which it is silent: pauses are no reason for another mix
)
CANCELLED = 0.1  # of the power that the channels would have together if they had nothing in common: with less, they cancel each other


def mix(parts: Iterator[memoryview], layout: str) -> Iterator[memoryview]:
    """Mix s16le with the channels side by side, 16 kHz, to one channel, about a second at a time.

    Args:
        layout: The channels and their places, as FFmpeg calls them: `stereo`, `5.1`, `3 channels`, ...
    """
    import av

    places = [channel.name for channel in av.AudioLayout(layout).channels]
    mixer = Mixer(places)
    pending: list[memoryview] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= 2 * len(places) * SAMPLE_RATE:
            yield mixer.mix(b"".join(pending))
            pending, size = [], 0
    if size:
        yield mixer.mix(b"".join(pending))


class Mixer:
    """The mix of one recording. It goes on from block to block."""

    def __init__(self, places: Sequence[str]) -> None:
        weights = np.array([WEIGHTS.get(place, OTHER) for place in places], np.float32)
        self._weights = weights if weights.any() else np.ones_like(weights)
        self._levels = np.zeros(len(places), np.float32)
        """Power of each channel, falling slowly."""
        self._last: Floats | None = None
        """What each channel was multiplied by at last."""

    def mix(self, pcm: bytes) -> memoryview:
        """s16le of one channel for s16le of all channels."""
        samples = np.frombuffer(pcm, "<i2").reshape(-1, len(self._weights)).astype(np.float32)
        windows = [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]
        factors = [self._factors(window[::STRIDE]) for window in windows]
        last = factors[0] if self._last is None else self._last
        self._last = factors[-1]
        if all(np.array_equal(each, last) for each in factors):
            mono = samples @ last
        else:
            pairs = zip(windows, [last, *factors], factors, strict=False)
            mono = np.concatenate([_turn(window, before, after) for window, before, after in pairs])
        return memoryview(np.rint(mono).clip(-32768, 32767).astype("<i2")).cast("B")

    def _factors(self, window: Floats) -> Floats:
        """What to multiply each channel by in a window of shape (n, channels); shape (channels,)."""
        power = np.einsum("nc,nc->c", window, window) / np.float32(len(window))
        self._levels = np.maximum(power, self._levels * FALL)
        heard = self._levels >= QUIET * self._levels.max()
        total = self._weights[heard].sum()
        # Nothing but the bass channel has sound: then it is not only bass.
        factors: Floats = self._weights / total if total else heard.astype(np.float32) / heard.sum()
        together = window @ factors
        if np.dot(together, together) < CANCELLED * len(window) * np.dot(power, np.square(factors)):
            likeness = window.T @ window[:, int((power * factors).argmax())]
            factors = np.where(likeness < 0, -factors, factors)
        return factors


def _turn(window: Floats, before: Floats, after: Floats) -> Floats:
    """The mix of a window that begins with other factors than it goes on with."""
    mono: Floats = window @ after
    if not np.array_equal(before, after):
        count = min(RAMP, len(window))
        share = np.linspace(0, 1, count, dtype=np.float32)
        mono[:count] = (1 - share) * (window[:count] @ before) + share * mono[:count]
    return mono
