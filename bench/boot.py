"""How fast a worker is there, and how much memory it holds while it waits.

    python -m bench.boot [--rounds 5]

* the harness: `python handler.py` from its start until the job in test_input.json is done
* a queue worker: the same until its first result has been posted to a (small, local) control plane
* the server alone: from its start until /readyz answers 200
* what `import speaches.app` takes, in a fresh process, without Python's own start

Medians, because the machine is shared. The aims are those of the tracker; the incumbent took 5.6 s to its first health answer, and 960 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INPUT = json.loads((ROOT / "test_input.json").read_text())["input"]
IMPORT = "import time; began = time.perf_counter(); import speaches.app; print(time.perf_counter() - began)"
DEADLINE = 60.0  # seconds until a step that does not happen is a failure
ROWS = (  # what, aim, unit
    ("harness: start to finished job", 1.5, "s"),
    ("queue worker: start to first result", 1.5, "s"),
    ("server: start to ready", None, "s"),
    ("import speaches.app", 0.4, "s"),
    ("memory of the idle server", 120.0, "MB"),
    ("memory of the idle worker", None, "MB"),
)


class ControlPlane(ThreadingHTTPServer):
    """Gives out one job, takes its result, and then has no more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Calls)
        self.job: dict[str, object] | None = {"id": "boot", "input": INPUT}
        self.posted = threading.Event()
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        root = f"http://127.0.0.1:{self.server_address[1]}/v2/ep"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{root}/job-take/$ID?gpu=X",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{root}/job-done/$RUNPOD_POD_ID/$ID?gpu=X",
            "RUNPOD_WEBHOOK_PING": f"{root}/ping/$RUNPOD_POD_ID",
            "RUNPOD_POD_ID": "w1",
            "RUNPOD_AI_API_KEY": "k",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # one of them asks 8.8.8.8
        }


class _Calls(BaseHTTPRequestHandler):
    server: ControlPlane

    def do_GET(self) -> None:
        job, self.server.job = (self.server.job, None) if "job-take" in self.path else (None, self.server.job)
        if job is None and "ping" not in self.path:
            self.server.over.wait(DEADLINE)
        self._answer(json.dumps([job] if "batch" in self.path else job).encode() if job else b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert b"audio_content" in body, body[:500]
        self.server.posted.set()
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200 if body or self.command == "POST" else 204)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD_", "WORKER_", "UVICORN_"))
    }
    clean = kept | {"PYTHONUNBUFFERED": "1"} | environment
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(DEADLINE)
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> re.Match[str]:
    """Read a process's log until it says something."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(words, line):
            return found
    raise AssertionError("".join(said))


def harness() -> float:
    began = time.perf_counter()
    process = start("handler.py")
    until(process, "completed successfully")
    took = time.perf_counter() - began
    process.communicate()
    return took


def queue_worker() -> tuple[float, float, float]:
    """Seconds to the first result, then MB of the worker and of its server."""
    plane = ControlPlane()
    began = time.perf_counter()
    process = start("handler.py", **plane.environment())
    drain = threading.Thread(target=lambda: process.stdout.read() if process.stdout else "", daemon=True)
    drain.start()
    try:
        assert plane.posted.wait(DEADLINE), "no result was posted"
        took = time.perf_counter() - began
        server = next(child for child in children(process.pid) if "serve" in cmdline(child))
        return took, megabytes(process.pid), megabytes(server)
    finally:
        plane.over.set()
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        plane.shutdown()
        plane.server_close()


def server() -> float:
    """Seconds until ready, measured by the question that waits for the answer."""
    from speaches.settings import Settings
    from speaches.worker.server import Server

    child = Server(Settings())
    began = time.perf_counter()
    child.start()
    try:
        child.wait_until_ready()
        return time.perf_counter() - began
    finally:
        child.stop()


def imported() -> float:
    return float(
        subprocess.run([sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cmdline(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def megabytes(pid: int) -> float:
    """What a process holds in memory (VmRSS)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def median(measure: Callable[[], float], rounds: int) -> float:
    return statistics.median(measure() for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    os.environ["LOG_LEVEL"] = "warning"  # of the server that this process starts itself
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation is compiled, and so is the image
    imported()  # once for the compiler and the disk cache
    workers = [queue_worker() for _ in range(rounds)]
    first, worker_size, server_size = (statistics.median(column) for column in zip(*workers, strict=True))
    figures = [
        median(harness, rounds),
        first,
        median(server, rounds),
        median(imported, rounds),
        server_size,
        worker_size,
    ]
    print("| what | measured | aim | ratio |\n|---|---|---|---|")
    for (what, aim, unit), figure in zip(ROWS, figures, strict=True):
        aimed = f"{aim:g} {unit} | {figure / aim:.2f}" if aim else "- | -"
        print(
            f"| {what} | {figure:.2f} {unit} | {aimed} |"
            if unit == "s"
            else f"| {what} | {figure:.0f} {unit} | {aimed} |"
        )


if __name__ == "__main__":
    main()
