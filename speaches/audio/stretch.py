"""Faster and slower at the same pitch, by FFmpeg's `atempo`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from speaches.audio.pcm import from_pcm16, to_pcm16

if TYPE_CHECKING:
    from speaches.engines.base import Samples

# What one atempo does well; the rest is done in steps. Above, it leaves samples out, and even aborts the process on short input.
SLOWEST, FASTEST = 0.5, 2.0
TAIL = 0.25  # seconds of silence put at the end, because atempo swallows its last window; taken off again


def stretch(samples: Samples, rate: int, tempo: float) -> Samples:
    """Play `samples` at `tempo` times the speed.

    Args:
        samples: shape (n,), float32.
        rate: Hz.
        tempo: from 0.1 to 10; 2.0 takes half the time.

    Returns:
        shape (round(n / tempo),), float32.
    """
    if tempo == 1.0 or not len(samples):
        return samples
    graph = _graph(rate, tempo)
    padded = np.pad(samples, (0, round(TAIL * rate * max(1.0, tempo))))
    frame = av.AudioFrame.from_ndarray(
        np.frombuffer(to_pcm16(padded), "<i2").reshape(1, -1), format="s16", layout="mono"
    )
    frame.sample_rate = rate
    graph.push(frame)
    graph.push(None)
    stretched = from_pcm16(b"".join(out.to_ndarray().tobytes() for out in _pulled(graph)))
    return stretched[: round(len(samples) / tempo)]


def _graph(rate: int, tempo: float) -> Any:
    graph = av.filter.Graph()
    steps = []
    while tempo < SLOWEST:
        steps.append(SLOWEST)
        tempo /= SLOWEST
    while tempo > FASTEST:
        steps.append(FASTEST)
        tempo /= FASTEST
    chain = [
        graph.add_abuffer(sample_rate=rate, format="s16", layout="mono"),
        *(graph.add("atempo", str(step)) for step in [*steps, tempo]),
        graph.add("aformat", "sample_fmts=s16:channel_layouts=mono"),
        graph.add("abuffersink"),
    ]
    for left, right in itertools.pairwise(chain):
        left.link_to(right)
    graph.configure()
    return graph


def _pulled(graph: Any) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return
