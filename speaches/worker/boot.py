"""From a started process to a worker that takes jobs, and back to nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from speaches.settings import Settings
from speaches.worker.handler import Worker
from speaches.worker.harness import Harness
from speaches.worker.lifeline import die_with
from speaches.worker.log import configure_logging
from speaches.worker.sdk import Mode, import_runpod, mode_of
from speaches.worker.server import Server, ServerFailed

logger = logging.getLogger(__name__)

DRAIN_POLL_SECONDS = 0.05  # between two looks whether the last jobs are done
LAST_MARGIN = 5.0  # seconds over both shutdown timeouts until the process ends, whatever still runs


def run(settings: Settings, command: Callable[[int], Sequence[str]] | None = None) -> int:
    """Be a queue worker, or what the command line asks of the SDK. Returns the exit code.

    Args:
        settings: all of them.
        command: the server to run instead of the real one.
    """
    mode = mode_of(sys.argv[1:], os.environ)
    configure_logging(settings.log_level, as_json=mode is Mode.PLATFORM)
    server = Server(settings, command=command)
    try:
        server.start()  # first of all: it boots while the SDK is imported
        runpod = import_runpod(os.environ)
        worker = Worker(settings, server.base_url, explain=server.explain)
        if mode is Mode.PLATFORM:
            return _take_jobs(runpod, worker, server, settings)
        server.wait_until_ready()
        if mode is Mode.SIMULATOR:
            runpod.serverless.start({"handler": worker.handle})
            return 0
        return _run_one(runpod, worker, server)
    except ServerFailed as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        server.stop()


def _run_one(runpod: Any, worker: Worker, server: Server) -> int:
    harness = Harness(worker)
    try:
        # A coroutine also with WORKER_STREAM: the SDK never runs a generator here, and calls that a success.
        runpod.serverless.start({"handler": harness.handle})
        code = 0
    except SystemExit as ended:  # the way in which the SDK ends a local run
        code = ended.code if isinstance(ended.code, int) else 1
    except ValueError as error:
        harness.misread(error)
        code = 1
    server.stop()  # what it still has to say shall not come after the summary
    print(harness.summary(), flush=True)
    return code


def _take_jobs(runpod: Any, worker: Worker, server: Server, settings: Settings) -> int:
    def server_is_ready() -> None:
        """Before the first job, outside its billed time. The SDK reports a failure to Runpod and ends the process."""
        server.wait_until_ready()

    runpod.serverless.register_fitness_check(server_is_ready)
    # The SDK's heartbeat is a forked process, which would go on telling Runpod that a killed worker is alive.
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with(parent))
    shutdown = Shutdown(settings.shutdown_timeout)
    config = {
        "handler": worker.stream if settings.worker_stream else worker.handle,
        "return_aggregate_stream": True,
        "concurrency_modifier": shutdown.concurrency_modifier(settings.worker_concurrency),
    }
    try:
        runpod.serverless.start(config)
    except asyncio.CancelledError:
        if not shutdown.begun:
            raise
    return 0


class Shutdown:
    """Ends the SDK's loop soon after SIGTERM.

    By itself the SDK waits for its long polls, up to 90 s, and it replaces whatever handler was set before it starts. But it calls
    `concurrency_modifier` on its loop before the first job: the moment to put ours in the place of its own.

    Args:
        timeout: seconds that jobs in progress get to finish.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._drain_task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        return self._drain_task is not None

    def concurrency_modifier(self, concurrency: int) -> Callable[[int], int]:
        """A constant: each change would stop the SDK from taking jobs until the worker is idle."""
        installed = False

        def modifier(current: int) -> int:
            nonlocal installed
            if not installed:
                installed = True
                self._install(asyncio.get_running_loop())
            return concurrency

        return modifier

    def _install(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._begin, number, signal.getsignal(number))

    def _begin(self, number: int, sdk_handler: Any) -> None:
        if self.begun:
            return
        logger.info("Told to stop: jobs in progress have %g s.", self._timeout)
        if callable(sdk_handler):
            sdk_handler(number, None)  # it takes no further jobs
        self._drain_task = asyncio.ensure_future(self._drain())
        # A thread that hangs, in a name server's answer for example, would keep Python from exiting.
        timer = threading.Timer(2 * self._timeout + LAST_MARGIN, os._exit, [1])
        timer.daemon = True
        timer.start()

    async def _drain(self) -> None:
        from runpod.serverless.modules.worker_state import JobsProgress

        deadline = time.monotonic() + self._timeout
        # A job counts until its result is sent. The SDK offers nothing to wait on, so look again.
        while JobsProgress().get_job_count() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
