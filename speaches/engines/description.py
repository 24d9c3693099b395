"""What can be said of a model without loading it."""

from __future__ import annotations

from dataclasses import dataclass

from speaches.engines.base import Voice


@dataclass(frozen=True)
class Description:
    languages: tuple[str, ...] = ()
    """BCP 47; empty where the files do not tell."""
    voices: tuple[Voice, ...] = ()
    sample_rate: int | None = None
    """Hz of its speech."""
