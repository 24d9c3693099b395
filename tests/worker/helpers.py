"""What the worker's tests share: a server in process, and waiting without sleeping for luck."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from speaches.settings import Settings
from speaches.worker.handler import Worker

from . import fake_server

T = TypeVar("T")
DEADLINE = 120.0  # seconds until a test that waits gives up; on a good day it waits for milliseconds, and a second for a process to start
_KEEPERS: list[socket.socket] = []
"""Of the ports that were given to tests."""


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def settings(**changes: Any) -> Settings:
    """Settings as they are with an empty environment."""
    return Settings.model_validate(changes)


def eventually(state: Callable[[], Any], what: str = "") -> Any:
    """Wait until `state()` is true, and return it."""
    deadline = time.monotonic() + DEADLINE
    while not (value := state()):
        assert time.monotonic() < deadline, f"waited {DEADLINE} s in vain: {what or state}"
        time.sleep(0.005)
    return value


async def eventually_async(state: Callable[[], Any], what: str = "") -> Any:
    """The same on an event loop; `state` may be a coroutine function."""
    deadline = time.monotonic() + DEADLINE
    while not (value := await found if isinstance(found := state(), Awaitable) else found):
        assert time.monotonic() < deadline, f"waited {DEADLINE} s in vain: {what or state}"
        await asyncio.sleep(0.005)
    return value


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback. Yields its address."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{port_of(runner)}"
    finally:
        await runner.cleanup()


def port_of(runner: web.AppRunner) -> int:
    port: int = runner.addresses[0][1]
    return port


@asynccontextmanager
async def worker_on_fake_server(**changes: Any) -> AsyncIterator[tuple[Worker, web.Application]]:
    """A worker whose server is a fake in the same process."""
    fetcher = changes.pop("fetcher", None)
    application = fake_server.app()
    async with serving(application) as base_url:
        worker = Worker(settings(**changes), base_url, fetcher=fetcher)
        try:
            yield worker, application
        finally:
            await worker.aclose()


async def work_on(job_input: Any, *, job: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The output of one job on a fake server."""
    async with worker_on_fake_server(**changes) as (worker, _):
        return await worker.handle({"id": "job-1", "input": job_input} | (job or {}))


def free_port() -> int:
    """A port for one server of the test, which nobody else is given while this process lives: it stays bound, but nobody listens.

    A server that sets SO_REUSEADDR, as all do that restart at once, can bind it all the same.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("", 0))
    _KEEPERS.append(keeper)
    port: int = keeper.getsockname()[1]
    return port


def open_files() -> set[str]:
    """What this process holds open, sockets left aside. What earlier tests have left may go at any time."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return {name for name in found if name.startswith("/") and not name.startswith(("/dev/", "/proc/"))}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second when it goes while it is being read
        return False
