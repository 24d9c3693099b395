"""Who runs next on one loaded engine.

A request is admitted, or told that the server is too busy; while it is in, it may have any number of tasks (windows to hear, pieces to
speak). Workers, each a thread of the engine's own, take tasks from the requests in turn, so that a file of three hours never starves a
voice note. A worker may take several tasks at once where the engine can share a batch between requests.

All state belongs to the event loop; only `run` happens in the threads. So there are no locks, and cancelling is simple: what has not
started is forgotten, what runs comes to its end and its result is dropped.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from speaches.concurrency import step_back
from speaches.errors import TooBusy

T = TypeVar("T")
R = TypeVar("R")

RETRY_AFTER = 1.0  # seconds; a queue place is free about that soon, and clients add their own back-off


@dataclass(eq=False)  # each is itself; comparing the tasks of two would compare the samples in them
class Request(Generic[T, R]):
    """One admitted request. `submit` gives a future for each task."""

    _scheduler: Scheduler[T, R]
    waiting: deque[tuple[T, asyncio.Future[R]]] = field(default_factory=deque)
    """Tasks that no worker has taken yet, in order."""

    def submit(self, task: T) -> asyncio.Future[R]:
        """Queue a task. The future is cancelled when the request leaves before the task has started."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self.waiting.append((task, future))
        self._scheduler._wants_to_run(self)
        return future

    def _leave(self) -> None:
        while self.waiting:
            self.waiting.popleft()[1].cancel()


class Scheduler(Generic[T, R]):
    """Runs the tasks of many requests on one engine.

    Args:
        run: The engine's blocking call: tasks in, as many results out.
        workers: Calls at the same time.
        batch_size: Tasks in one call at most.
        batch_key: Tasks may share a call when this is equal for them.
        batch_delay: Seconds that an idle worker waits for a batch to fill. Where calls take much longer, it costs little and gains much.
        concurrency: Requests that are in at the same time.
        queue_size: Requests that may wait to be let in.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        workers: int = 1,
        batch_size: int = 1,
        batch_key: Callable[[T], object] = lambda task: None,
        batch_delay: float = 0.0,
        concurrency: int = 16,
        queue_size: int = 128,
        name: str = "engine",
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        self._batch_key = batch_key
        self._batch_delay = batch_delay if batch_size > 1 else 0.0
        self._delayed: asyncio.TimerHandle | None = None
        """Set while a batch is given time to fill."""
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=step_back)
        self._idle_workers = workers
        self._free_places = concurrency
        self._queue_size = queue_size
        self._queue: deque[asyncio.Future[None]] = deque()
        self._turns: deque[Request[T, R]] = deque()
        """Requests with waiting tasks, the next one first. Each stands here at most once."""
        self._running: set[asyncio.Future[Sequence[R]]] = set()

    @property
    def queued(self) -> int:
        """Requests that wait to be let in."""
        return len(self._queue)

    @property
    def waiting(self) -> int:
        """Tasks of the requests that are in, which no worker has taken yet."""
        return sum(len(request.waiting) for request in self._turns)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[Request[T, R]]:
        """Wait for a place among the requests and hold it.

        Raises:
            TooBusy: At once, if the queue is full.
        """
        await self._enter()
        request: Request[T, R] = Request(self)
        try:
            yield request
        finally:
            request._leave()
            self._exit()

    async def close(self) -> None:
        """Wait for running calls and end the threads. No request may be in."""
        if self._delayed is not None:
            self._delayed.cancel()
        if self._running:
            await asyncio.wait(self._running)
        self._threads.shutdown(wait=False)

    async def _enter(self) -> None:
        if self._free_places > 0:
            self._free_places -= 1
            return
        if len(self._queue) >= self._queue_size:
            raise TooBusy(
                f"The server is busy: {len(self._queue)} requests for this model are waiting already. Try again in a moment.",
                retry_after=RETRY_AFTER,
            )
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._exit()  # the place was given in the moment of leaving: pass it on
            elif place in self._queue:
                self._queue.remove(place)
            raise

    def _exit(self) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)  # the place changes hands
                return
        self._free_places += 1

    def _wants_to_run(self, request: Request[T, R]) -> None:
        if request not in self._turns:
            self._turns.append(request)
        if not self._batch_delay or self.waiting >= self._batch_size:
            self._dispatch()
        elif self._delayed is None:
            self._delayed = asyncio.get_running_loop().call_later(self._batch_delay, self._dispatch)

    def _dispatch(self) -> None:
        if self._delayed is not None:
            self._delayed.cancel()
            self._delayed = None
        while self._idle_workers and (batch := self._next_batch()):
            self._idle_workers -= 1
            call = asyncio.get_running_loop().run_in_executor(self._threads, self._run, [task for task, _ in batch])
            self._running.add(call)
            call.add_done_callback(functools.partial(self._finished, batch))

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        """Take tasks, one from each request in turn, that may share a call."""
        batch: list[tuple[T, asyncio.Future[R]]] = []
        key: object = None
        passed_over: list[Request[T, R]] = []
        while self._turns and len(batch) < self._batch_size:
            request = self._turns.popleft()
            while request.waiting and request.waiting[0][1].done():  # cancelled by whoever waited for it
                request.waiting.popleft()
            if not request.waiting:
                continue
            task = request.waiting[0][0]
            if not batch:
                key = self._batch_key(task)
            elif self._batch_key(task) != key:
                passed_over.append(request)
                continue
            batch.append(request.waiting.popleft())
            if request.waiting:
                self._turns.append(request)
        # They keep their turns, else requests that share batches with each other could go on for ever before them.
        self._turns.extendleft(reversed(passed_over))
        return batch

    def _finished(self, batch: Sequence[tuple[T, asyncio.Future[R]]], call: asyncio.Future[Sequence[R]]) -> None:
        self._running.discard(call)
        self._idle_workers += 1
        error = None if call.cancelled() else call.exception()
        results: Sequence[R] = () if error or call.cancelled() else call.result()
        if not error and not call.cancelled() and len(results) != len(batch):
            error = RuntimeError(f"the engine gave {len(results)} results for {len(batch)} tasks")
        for index, (_, future) in enumerate(batch):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            elif call.cancelled():
                future.cancel()
            else:
                future.set_result(results[index])
        self._dispatch()


def _seen(future: asyncio.Future[R]) -> None:
    """Keep the event loop from complaining of a failure that came after its request had left."""
    if not future.cancelled():
        future.exception()
