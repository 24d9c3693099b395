"""Downloads in the server: one per model, however many requests ask for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from speaches.errors import SpeachesError, Unavailable

if TYPE_CHECKING:
    from speaches.models.hub import Progress

__all__ = ["Downloads"]

logger = logging.getLogger(__name__)

LOG_EVERY = 5.0  # seconds between two lines about the same download


class Downloads:
    """Runs downloads on threads of its own, `at_once` at a time. To be used on one event loop."""

    def __init__(
        self,
        fetch: Callable[[str, Progress], Path],
        *,
        at_once: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` blocks, as `Hub.download` does."""
        self._fetch = fetch
        self._clock = clock
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="download")
        self._running: dict[str, asyncio.Future[Path]] = {}
        self._progress: dict[str, tuple[int, int]] = {}
        """Bytes done and in all, by model, while it is asked for."""
        self._closing = False

    async def get(self, model_id: str) -> Path:
        """Wait for the model's folder, and start its download where nobody has.

        Who stops waiting leaves the download to the others; it goes on even when nobody waits. A failure is told to all
        who wait; the next call tries again.
        """
        if model_id not in self._running:
            self._start(model_id)
        # wait() rather than shield(): a failure that comes when nobody waits any more is logged below, once.
        task = self._running[model_id]
        await asyncio.wait([task])
        return task.result()

    def progress(self) -> dict[str, dict[str, int]]:
        """The downloads that are under way or waiting for their turn."""
        return {
            model_id: {"bytes_done": done, "bytes_total": total} for model_id, (done, total) in self._progress.items()
        }

    async def close(self, timeout: float = 5.0) -> None:
        """Stop. What has been fetched stays for the next time; who waits gets an `Unavailable`.

        A download that hears nothing from the hub notices only when the hub's own time-out ends it: it is left to that
        after `timeout` seconds.
        """
        self._closing = True
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=timeout)
        self._threads.shutdown(wait=False)

    def _start(self, model_id: str) -> None:
        self._check_open()
        self._progress[model_id] = (0, 0)
        task = asyncio.get_running_loop().run_in_executor(self._threads, self._download, model_id)
        task.add_done_callback(partial(self._end, model_id))
        self._running[model_id] = task

    def _end(self, model_id: str, task: asyncio.Future[Path]) -> None:
        del self._running[model_id], self._progress[model_id]
        error = task.exception()
        if isinstance(error, SpeachesError):
            logger.warning("%s", error)
        elif error is not None:
            logger.error("The download of %s failed.", model_id, exc_info=error)

    def _download(self, model_id: str) -> Path:
        self._check_open()  # it may have waited for its turn
        logger.info("Downloading %s.", model_id)
        began = said = self._clock()

        def progress(done: int, total: int) -> None:
            nonlocal said
            self._check_open()
            self._progress[model_id] = (done, total)
            if self._clock() - said >= LOG_EVERY:
                said = self._clock()
                logger.info("Downloading %s: %d of %d MB.", model_id, done // 10**6, total // 10**6)

        folder = self._fetch(model_id, progress)
        logger.info("Downloaded %s in %.0f s.", model_id, self._clock() - began)
        return folder

    def _check_open(self) -> None:
        if self._closing:
            raise Unavailable("The server is shutting down.")
