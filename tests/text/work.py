"""How much work a text is."""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_like_the_text(work: Callable[[str], object], unit: str, *, size: int = 20_000) -> bool:
    """Whether four times the text is far less than sixteen times the work. The best of many runs: the machine is busy with others."""
    short, long = (unit * (length // len(unit)) for length in (size, 4 * size))
    shortest = min(_seconds(work, short) for _ in range(3))
    return any(_seconds(work, long) < 10 * shortest + 0.005 for _ in range(20))


def _seconds(work: Callable[[str], object], text: str) -> float:
    start = time.thread_time()
    work(text)
    return time.thread_time() - start
