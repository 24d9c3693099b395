"""How much work a text is."""

from __future__ import annotations

import time
from collections.abc import Callable


def grows_like_the_text(work: Callable[[str], object], unit: str, *, size: int = 20_000) -> bool:
    """Whether four times the text is far less than sixteen times the work. The best of several runs: the machine is busy with others."""
    short, long = (min(_seconds(work, unit * (length // len(unit))) for _ in range(3)) for length in (size, 4 * size))
    return long < 10 * short + 0.005


def _seconds(work: Callable[[str], object], text: str) -> float:
    start = time.thread_time()
    work(text)
    return time.thread_time() - start
