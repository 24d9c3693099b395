"""What a text to speak may hold besides words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Pause:
    """Silence that the text asks for, as in `[pause:0.5s]`."""

    seconds: float


Part: TypeAlias = str | Pause
"""A piece of text to speak in one go, or a silence."""
