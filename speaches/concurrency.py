"""Where blocking code meets the event loop. Engines have threads of their own (`scheduling.py`); this is for files and codecs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()
NICENESS = 10  # of threads that compute: a tenth of the event loop's share of a core that both want


def step_back() -> None:
    """Let the event loop go first where there are more threads than cores. For threads that compute; those they start inherit it.

    A frame of a conversation is judged and passed on in less than a millisecond, and comes late when it waits behind a recogniser.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        with contextlib.suppress(OSError):  # forbidden, in a sandbox: then they take turns
            os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS))


class Threads:
    """A bounded pool of threads."""

    def __init__(self, size: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name, initializer=step_back)
        self._is_closed = False

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a blocking function.

        A caller that is cancelled still waits for the call to end, so that nothing it uses (a file, a generator) is closed under it.
        """
        if self._is_closed:  # the server ends: what a request that was cancelled has to put away
            return function(*arguments)
        call = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        return await wait_even_if_cancelled(call)

    async def iterate(self, items: Generator[T, None, None]) -> AsyncGenerator[T, None]:
        """Yield from a blocking generator.

        One item is computed per step, so a slow reader slows it down. Leaving early closes the generator, which frees what it holds.
        """
        try:
            while (item := await self.run(next, items, _END)) is not _END:
                yield item
        finally:
            await self.run(items.close)

    def close(self) -> None:
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)


async def wait_even_if_cancelled(call: asyncio.Future[T]) -> T:
    """Wait for `call` to its end, then raise the cancellation that came meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not call.cancelled():
            call.exception()  # seen, so that the loop does not complain of it
        raise cancelled
    return call.result()


def tripped_over(error: BaseException) -> Exception:
    """What is told to those who wait for the task that runs, of an error in it. A cancellation of the task itself goes on.

    One that nobody asked for has leaked out of what the task waits for, such as a future that others have cancelled. It would end the task
    without a word.
    """
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling():
        raise error
    told = RuntimeError(f"What {task.get_name()} waited for was cancelled, and not by its reader.")
    told.__cause__ = error
    return told


async def race(work: Awaitable[T], other: Awaitable[object]) -> T | None:
    """The result of `work`, or None when `other` is done first; then `work` is cancelled, and has ended when this returns."""
    task, rival = asyncio.ensure_future(work), asyncio.ensure_future(other)
    try:
        await asyncio.wait({task, rival}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for one in (task, rival):
            one.cancel()
        # Their errors are not ours any more; a cancellation of our own that comes now is.
        await wait_even_if_cancelled(asyncio.gather(task, rival, return_exceptions=True))


async def together(works: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, in order. When one fails the others are cancelled, and have ended when this raises."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        # Not gather: when it is cancelled it is done with the first of them, and the others would be cancelled twice.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()  # raises where it failed
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await wait_even_if_cancelled(asyncio.gather(*tasks, return_exceptions=True))
