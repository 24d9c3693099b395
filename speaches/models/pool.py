"""What is in memory: models by id, who uses them, and when the idle ones go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from speaches.concurrency import step_back
from speaches.engines.base import Engine, Task
from speaches.errors import Conflict, IncompleteModel, NotFound, SpeachesError, TimedOut
from speaches.scheduling import Scheduler

if TYPE_CHECKING:
    from speaches.models.catalogue import Model

logger = logging.getLogger(__name__)

LOADERS = 2  # models that may load at the same time
GRACE = 1.0  # seconds that a new model stays even with a TTL of 0, so that those who waited for it have their turn


@dataclass
class Loaded:
    """A model in memory."""

    model: Model
    engine: Any
    """The engine, of the protocol that the model's task calls for."""
    scheduler: Scheduler[Any, Any] | None
    """Who runs next on it; voice activity needs none, its calls take microseconds."""
    users: int = 0
    last_used: float = field(default_factory=monotonic)
    expiry: asyncio.TimerHandle | None = None
    """When it goes, while nobody uses it."""


class Pool:
    """Loads models when they are asked for, once however many ask, and unloads them when nobody has for a while.

    Everything happens on the event loop, except for loading and closing, which have threads of their own.

    Args:
        load: Blocking: builds the engine of a model.
        schedule: Puts a scheduler before an engine.
        ttl: Seconds that an idle model of a task stays; 0 unloads at once, -1 keeps it.
        load_timeout: Seconds that a request waits for a load.
        memory_bytes: What the models may weigh together by their files; 0 is no limit.
    """

    def __init__(
        self,
        load: Callable[[Model], Engine],
        schedule: Callable[[Model, Engine], Scheduler[Any, Any] | None],
        *,
        ttl: Callable[[Task], float],
        load_timeout: float,
        memory_bytes: int = 0,
    ) -> None:
        self._load = load
        self._schedule = schedule
        self._ttl = ttl
        self._load_timeout = load_timeout
        self._memory_bytes = memory_bytes
        self._loaded: dict[str, Loaded] = {}
        self._loading: dict[str, asyncio.Task[Loaded]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(LOADERS, thread_name_prefix="load", initializer=step_back)

    def loaded(self) -> list[Loaded]:
        return list(self._loaded.values())

    def is_loading(self, model_id: str) -> bool:
        return model_id in self._loading

    def is_loaded(self, model_id: str) -> bool:
        return model_id in self._loaded

    @asynccontextmanager
    async def use(self, model: Model) -> AsyncIterator[Loaded]:
        """Hold a model, loading it if need be.

        Raises:
            TimedOut: If loading takes longer than a request may wait. The load goes on and the next request finds the model.
        """
        while (entry := self._loaded.get(model.id)) is None:
            await self._wait_for(model)
        if entry.expiry is not None:
            entry.expiry.cancel()
            entry.expiry = None
        entry.users += 1
        try:
            yield entry
        finally:
            entry.users -= 1
            entry.last_used = monotonic()
            if not entry.users:
                self._expire_later(entry)

    def unload(self, model_id: str) -> None:
        """Take a model out of memory.

        Raises:
            NotFound: If it is not in memory.
            Conflict: If it is in use; nothing changes then.
        """
        entry = self._loaded.get(model_id)
        if entry is None:
            raise NotFound(f"Model {model_id!r} is not loaded.", param="model")
        if entry.users:
            raise Conflict(
                f"Model {model_id!r} is in use by {entry.users} requests; try again when they are done.", param="model"
            )
        self._drop(entry)

    async def close(self) -> None:
        """Let loads end, unload everything and end the threads. No request may use a model any more."""
        if self._loading:
            await asyncio.wait(self._loading.values())
        for entry in self.loaded():
            self._drop(entry)
        if self._closing:
            await asyncio.wait(self._closing)
        self._threads.shutdown(wait=True)

    async def _wait_for(self, model: Model) -> None:
        task = self._loading.get(model.id)
        if task is None:
            task = asyncio.create_task(self._load_entry(model), name=f"load {model.id}")
            self._loading[model.id] = task
            task.add_done_callback(lambda done: self._load_ended(model.id, done))
        # Not wait_for: the load is everybody's, one who stops waiting does not end it. And unlike it, `wait` lets `_load_ended` run first
        # even if the load has ended just now.
        await asyncio.wait([task], timeout=self._load_timeout)
        if not task.done():
            raise TimedOut(
                f"Loading {model.id!r} takes longer than {self._load_timeout:g} seconds (MODEL_LOAD_TIMEOUT). It goes on; try again later.",
                param="model",
                code="model_loading",
            )
        task.result()  # raises where the load failed

    async def _load_entry(self, model: Model) -> Loaded:
        if self._make_room(model):
            await asyncio.wait(self._closing)  # their memory is free only then
        started = perf_counter()
        try:
            engine = await asyncio.get_running_loop().run_in_executor(self._threads, self._load, model)
        except IncompleteModel as error:
            message = f"Model {model.id!r} could not be loaded: {error.message}"
            raise IncompleteModel(message, param=error.param) from error
        except Exception as error:
            logger.exception("Model %s could not be loaded.", model.id)
            raise SpeachesError(
                f"Model {model.id!r} could not be loaded; are its files whole? ({error})",
                param="model",
                code="model_load_failed",
            ) from error
        logger.info("Loaded %s in %.2f s.", model.id, perf_counter() - started)
        return Loaded(model, engine, self._schedule(model, engine))

    def _load_ended(self, model_id: str, task: asyncio.Task[Loaded]) -> None:
        """Enter a loaded model before anybody who waits for it runs; a failed load leaves nothing."""
        del self._loading[model_id]
        if task.cancelled() or task.exception():
            return
        entry = self._loaded[model_id] = task.result()
        self._expire_later(entry, at_least=GRACE)

    def _expire_later(self, entry: Loaded, at_least: float = 0.0) -> None:
        ttl = self._ttl(entry.model.task)
        if ttl >= 0:
            entry.expiry = asyncio.get_running_loop().call_later(max(ttl, at_least), self._expire, entry)

    def _expire(self, entry: Loaded) -> None:
        if not entry.users and self._loaded.get(entry.model.id) is entry:
            self._drop(entry)

    def _make_room(self, model: Model) -> bool:
        """Unload idle models, the longest unused first, until the new one fits the budget. Says whether any had to go."""
        if not self._memory_bytes:
            return False
        before = len(self._loaded)
        idle = sorted((entry for entry in self.loaded() if not entry.users), key=lambda entry: entry.last_used)
        for entry in idle:
            if sum(other.model.size_bytes for other in self.loaded()) + model.size_bytes <= self._memory_bytes:
                break
            self._drop(entry)
        return len(self._loaded) < before

    def _drop(self, entry: Loaded) -> None:
        """Forget a model now and free it soon."""
        del self._loaded[entry.model.id]
        if entry.expiry is not None:
            entry.expiry.cancel()
        task = asyncio.create_task(self._free(entry), name=f"unload {entry.model.id}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _free(self, entry: Loaded) -> None:
        if entry.scheduler is not None:
            await entry.scheduler.close()  # a call whose client left may still run
        await asyncio.get_running_loop().run_in_executor(self._threads, entry.engine.close)
        logger.info("Unloaded %s.", entry.model.id)
