"""A server in a process of its own, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx


class Running(NamedTuple):
    address: str
    pid: int


@contextlib.contextmanager
def server(command: Sequence[str] = ("-m", "speaches", "serve"), **settings: str) -> Iterator[Running]:
    """Run `speaches serve`, or another module that serves, on a free port with these settings."""
    environ = {**os.environ, "UVICORN_PORT": "0", "LOG_LEVEL": "error", **settings}
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = next(line.split(" on ")[1].split()[0] for line in process.stderr if "running on http" in line)
        # Else the server would stand still as soon as nobody reads its log.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        _wait_until_ready(address)
        yield Running(address, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(address: str) -> None:
    while httpx.get(f"{address}/readyz").status_code != 200:
        time.sleep(0.05)
