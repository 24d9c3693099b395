"""A session's audio in frames, and the chance of speech in each."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from speaches.engines.base import Task
from speaches.transcription.activity import FRAME_SIZE

if TYPE_CHECKING:
    from speaches.api.state import Server
    from speaches.engines.base import Samples, VoiceActivity

logger = logging.getLogger(__name__)

INLINE = 8  # frames that are judged on the event loop, in less time than handing them to a thread takes


class Frames:
    """Regroups chunks into frames of 512 samples, counted from the session's first, and has them judged while that is wanted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._held = AsyncExitStack()
        """The models, once they were wanted."""
        self._engines: dict[Task, Any] = {}
        """The detector, and the denoiser where there is one; None where it was looked for in vain."""
        self._stream: Any = None
        """What the detector remembers; None while nobody wants to know."""
        self._cleaned: Any = None
        """What the denoiser remembers; None while nobody wants it."""
        self._rest: Samples | None = None
        """The start of a frame whose end has not come yet."""

    async def push(self, samples: Samples, *, wanted: bool, denoised: bool = False) -> list[float]:
        """The chance of speech in each frame that these samples complete; empty where it is not wanted.

        Args:
            denoised: Whether to take noise out first, where there is a model for it. Only the detector gets to hear the result: a
                recogniser does better with the noise.
        """
        import numpy as np

        joined = samples if self._rest is None else np.concatenate((self._rest, samples))
        whole = len(joined) // FRAME_SIZE * FRAME_SIZE
        self._rest = joined[whole:].copy()
        if not wanted:
            self._stream = self._cleaned = None
            return []
        if self._stream is None:
            detector: VoiceActivity = await self._engine(Task.VAD)
            self._stream = detector.stream()
        if not denoised:
            self._cleaned = None
        elif self._cleaned is None and (denoiser := await self._engine(Task.DENOISING)):
            self._cleaned = denoiser.stream()
        if whole <= INLINE * FRAME_SIZE and self._cleaned is None:
            return self._judged(joined[:whole])
        return await self._server.threads.run(self._judged, joined[:whole])

    async def close(self) -> None:
        await self._held.aclose()

    def _judged(self, frames: Samples) -> list[float]:
        clean = frames if self._cleaned is None or not len(frames) else self._cleaned.denoise(frames)
        chances: list[float] = self._stream.probabilities(clean).tolist()
        return chances

    async def _engine(self, task: Task) -> Any:
        """The engine for a task, held until the session ends."""
        if task not in self._engines:
            models = self._server.models
            if task is Task.VAD:
                loaded = await self._held.enter_async_context(models.use(None, task))
                self._engines[task] = loaded.engine
            elif model := await models.first(task):
                self._engines[task] = (await self._held.enter_async_context(models.pool.use(model))).engine
            else:
                logger.info("noise_reduction has no effect: no denoiser is on disk (see docs/realtime.md).")
                self._engines[task] = None
        return self._engines[task]
