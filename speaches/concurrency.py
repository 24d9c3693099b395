"""Where blocking code meets the event loop. Engines have threads of their own (`scheduling.py`); this is for files and codecs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


class Threads:
    """A bounded pool of threads."""

    def __init__(self, size: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a blocking function.

        A caller that is cancelled still waits for the call to end, so that nothing it uses (a file, a generator) is closed under it.
        """
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
