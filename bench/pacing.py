"""A voice that takes 0.3 s for a second of speech, like Kokoro on a few cores.

python -m bench.pacing      # a server that has it as bench/paced, beside all other engines
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from speaches.engines import espeak
from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.engines.registry import KINDS
from speaches.serve import serve
from speaches.settings import Settings

REAL_TIME_FACTOR = 0.3
MODEL = "bench/paced"


class PacedVoice:
    """espeak-ng, made to wait as long as a slower engine would work. It leaves the CPU alone, as a GPU does."""

    pause = 0.0
    workers = 1
    speeds = (0.5, 2.0)

    def __init__(self) -> None:
        self._engine = espeak.load(None, Settings())
        self.sample_rate = self._engine.sample_rate
        self.languages = self._engine.languages

    def voices(self) -> Sequence[Voice]:
        return self._engine.voices()

    def voice(self, name: str) -> Voice | None:
        return self._engine.voice(name)

    def synthesize(self, piece: Piece) -> Utterance:
        started = time.perf_counter()
        said = self._engine.synthesize(piece)
        wanted = len(said.samples) / self.sample_rate * REAL_TIME_FACTOR
        time.sleep(max(0.0, wanted - (time.perf_counter() - started)))
        return said

    def close(self) -> None: ...


class PacedKind:
    NAME = "paced"
    TASK = Task.TTS
    BUILTIN = (MODEL,)
    PATTERNS: tuple[str, ...] = ()

    def recognises(self, folder: Path) -> bool:
        return False

    def describe(self, folder: Path | None) -> Description:
        return espeak.describe(None)

    def load(self, folder: Path | None, settings: Settings) -> PacedVoice:
        return PacedVoice()


if __name__ == "__main__":
    serve(Settings(), kinds=(PacedKind(), *KINDS))
