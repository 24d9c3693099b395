"""The engines there are. Adding one is a module and a line here.

An engine's module costs nothing to import: the libraries behind it are imported when its first model loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from speaches.engines import denoise, espeak, kokoro, piper, pocketsphinx, silero, smart_turn, whisper
from speaches.engines.base import Engine, Task
from speaches.engines.description import Description

if TYPE_CHECKING:
    from speaches.settings import Settings


class EngineKind(Protocol):
    """What the module of an engine offers."""

    @property
    def NAME(self) -> str: ...
    @property
    def TASK(self) -> Task: ...
    @property
    def BUILTIN(self) -> tuple[str, ...]:
        """Ids of the models that come with the libraries. They have no folder."""
        ...

    @property
    def PATTERNS(self) -> tuple[str, ...]:
        """The files of a hub repository that the engine needs, as `fnmatch` patterns."""
        ...

    def recognises(self, folder: Path) -> bool:
        """Whether the files in the folder are a model of this engine.

        The files decide, not a card's tags, so that any fine-tuned model works.
        """
        ...

    def describe(self, folder: Path | None) -> Description: ...

    def load(self, folder: Path | None, settings: Settings) -> Engine: ...


KINDS: Sequence[EngineKind] = (whisper, kokoro, piper, espeak, pocketsphinx, silero, smart_turn, denoise)
