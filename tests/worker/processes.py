"""`handler.py` as a process, with a fake server as its child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from . import fake_server
from .helpers import DEADLINE, eventually

ROOT = Path(__file__).parents[2]
# handler.py itself, but with another server: `main(command)` is the seam.
SOURCE = """
import json, os, sys
sys.path.insert(0, sys.argv.pop(1))
command = json.loads(sys.argv.pop(1))
import handler
if __name__ == "__main__":
    sys.exit(handler.main(lambda fd: [*command, str(fd), str(os.getpid())]))
"""
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


@dataclass
class Process:
    """A worker that runs. `log()` is all that it said so far."""

    popen: subprocess.Popen[bytes]
    output: Path

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """The process and all that it started."""
        main = psutil.Process(self.popen.pid)
        return [main, *main.children(recursive=True)]

    def server(self) -> psutil.Process:
        """The fake server."""
        return next(one for one in self.family() if fake_server.__file__ in one.cmdline())

    def ended(self) -> int:
        """Wait for the exit code."""
        return self.popen.wait(DEADLINE)


def gone(family: Sequence[psutil.Process]) -> None:
    """Wait until none of these processes lives."""
    eventually(lambda: not any(map(_lives, family)), f"{family} to end")


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it has gone between the two questions
        return False


@contextmanager
def worker(
    folder: Path, environment: Mapping[str, str] | None = None, *arguments: str, behaviour: str = "ok"
) -> Iterator[Process]:
    """Run the worker in `folder`, with nothing of our environment but what Python needs."""
    command = [sys.executable, fake_server.__file__, behaviour]
    clean = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
    with (folder / "worker.log").open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-c", SOURCE, str(ROOT), json.dumps(command), *arguments],
            cwd=folder,
            env=clean | {"TMPDIR": tempfile.mkdtemp(dir=folder)} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Process(popen, folder / "worker.log")
        except BaseException:
            print((folder / "worker.log").read_text(errors="replace"))
            raise
        finally:
            popen.kill()
            popen.wait()
