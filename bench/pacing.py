"""A voice that takes 0.3 s for a second of speech, like Kokoro on a few cores, served in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from speaches.app import create_app
from speaches.engines import espeak
from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.settings import Settings
from speaches.text.sentences import pieces

if TYPE_CHECKING:
    pass

REAL_TIME_FACTOR = 0.3
ROUNDS = 3


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
    BUILTIN = ("bench/paced",)
    PATTERNS: tuple[str, ...] = ()

    def recognises(self, folder: Path) -> bool:
        return False

    def describe(self, folder: Path | None) -> Description:
        return espeak.describe(None)

    def load(self, folder: Path | None, settings: Settings) -> PacedVoice:
        return PacedVoice()


async def compare(text: str, response_format: str) -> tuple[float, float, float]:
    """Seconds of speech, and the median time of the bare voice and of the server for the same pieces."""
    voice = PacedVoice()
    bare, served, seconds = [], [], 0.0
    app = create_app(Settings(), [PacedKind()])
    body = {"model": "bench/paced", "voice": "en-us", "input": text, "response_format": response_format}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client,
    ):
        (await client.post("/v1/audio/speech", json=body)).raise_for_status()
        for _ in range(ROUNDS):
            started = time.perf_counter()
            spoken = [
                voice.synthesize(Piece(piece, "en-us")).samples for piece in pieces(text) if isinstance(piece, str)
            ]
            bare.append(time.perf_counter() - started)
            seconds = sum(map(len, spoken)) / voice.sample_rate
            started = time.perf_counter()
            (await client.post("/v1/audio/speech", json=body)).raise_for_status()
            served.append(time.perf_counter() - started)
    return seconds, statistics.median(bare), statistics.median(served)
