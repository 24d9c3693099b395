"""
The speech server as a child of the worker: started, watched, restarted, stopped.

The worker binds the listening socket itself and hands it down by number. So there is no moment in which a port is chosen but not yet
taken, and while a child restarts, requests wait in the socket's backlog instead of failing.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from speaches.settings import Settings

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
BACKLOG = 512  # requests that may wait while a child restarts
POLL_SECONDS = 0.03  # between two questions whether the child is ready or dead
REMEMBERED_LINES = 30  # of the child's log, shown when it dies
FIRST_BACKOFF = 0.5  # seconds until the first restart; each further one waits twice as long
HEALTHY_SECONDS = 60.0  # after which earlier deaths are forgiven
STOP_MARGIN = 2.0  # seconds over the server's own shutdown timeout until it is killed
RECENT_SECONDS = 10.0  # a broken connection this long after a death is blamed on it
NOTICE_SECONDS = 1.0  # in which a process that has closed its sockets can be seen to be dead
TAIL_SECONDS = 2.0  # to read the rest of a dead child's log
RESERVED_PORTS = (80,)  # Runpod's own local API on Hub Pods


class ServerFailed(Exception):
    """The server can't be started or kept running. The message ends with its last log lines."""


class Server:
    """One speech server as a child process.

    Args:
        settings: for the port (only one that was set on purpose), timeouts and the number of restarts.
        command: what to run, given the socket's descriptor; the real server by default.
        give_up: called in the watching thread when the server can't be healed. By default the process exits,
            so that Runpod replaces the worker.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        command: Callable[[int], Sequence[str]] | None = None,
        give_up: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._command = command or serve_command
        self._give_up = give_up or _exit_process
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._deaths = 0
        """How often the child died since it was last healthy for a while."""
        self._last_death = ""
        self._died_at = 0.0
        self._forwarder: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        assert self._socket is not None, "start() first"
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Take the port and start the child. Returns at once; the child boots while the caller does something else.

        Raises:
            ServerFailed: If the port is taken.
        """
        self._socket = listen(self._port())
        atexit.register(self.stop)
        self._spawn()

    def wait_until_ready(self) -> None:
        """Block until the server answers that it is ready; from then on it is watched.

        Raises:
            ServerFailed: If it died or took longer than WORKER_BOOT_TIMEOUT.
        """
        self._wait_for_child()
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="server-watcher", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """Stop the child, kindly at first, and everything that it started. Bounded; can be called twice."""
        atexit.unregister(self.stop)
        self._stopping.set()
        if self._process is not None:
            _signal_group(self._process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._settings.shutdown_timeout + STOP_MARGIN)
            _signal_group(self._process, signal.SIGKILL)
            self._process.wait()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
            self._kill()  # it may have started another one in the last moment
        if self._forwarder is not None:
            self._forwarder.join(TAIL_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def explain(self) -> str:
        """Why a connection to the server broke, for the job that was in flight. May block for a moment."""
        deadline = time.monotonic() + NOTICE_SECONDS
        while time.monotonic() < deadline and self.pid is not None:
            time.sleep(0.01)
        if self.pid is not None and not (self._last_death and time.monotonic() - self._died_at < RECENT_SECONDS):
            return "The speech server broke off the connection while it worked on this job."
        return f"The speech server died while it worked on this job ({self._death()}). It is being restarted; send the job again."

    def _port(self) -> int:
        # Only a port that somebody set: the default is for `speaches serve`, and the SDK's own --rp_serve_api takes the same one.
        port = self._settings.uvicorn_port if "uvicorn_port" in self._settings.model_fields_set else 0
        if port in RESERVED_PORTS:
            logger.warning(
                "UVICORN_PORT=%d belongs to Runpod in queue mode; the server takes a free port instead.", port
            )
            return 0
        return port

    def _spawn(self) -> None:
        assert self._socket is not None
        fd = self._socket.fileno()
        self._process = subprocess.Popen(
            list(self._command(fd)),
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._lines = deque(maxlen=REMEMBERED_LINES)
        self._forwarder = threading.Thread(
            target=_forward, args=(self._process.stdout, self._lines), name="server-log", daemon=True
        )
        self._forwarder.start()

    def _wait_for_child(self) -> None:
        assert self._process is not None and self._socket is not None
        process, address = self._process, self._socket.getsockname()
        deadline = time.monotonic() + self._settings.worker_boot_timeout

        def worth_waiting() -> bool:
            return process.poll() is None and time.monotonic() < deadline and not self._stopping.is_set()

        while (answer := ask_ready(address, worth_waiting)).status != 200:
            if answer.status == 503 and (failure := _preload_failure(answer.body)):
                # It is up, and a job may still fetch the model; but nothing will come of waiting.
                logger.error("The speech server serves, but is not ready. %s", failure)
                return
            if self._stopping.is_set():
                raise ServerFailed("The speech server was stopped while starting.")
            if process.poll() is not None:
                raise ServerFailed(f"The speech server died while starting ({self._death()}).{self._tail()}")
            if time.monotonic() > deadline:
                timeout = self._settings.worker_boot_timeout
                raise ServerFailed(
                    f"The speech server was not ready after {timeout:g} s (WORKER_BOOT_TIMEOUT).{self._tail()}"
                )
            self._stopping.wait(POLL_SECONDS)

    def _watch(self) -> None:
        """Restart the child whenever it dies. The thread lives as long as the child may: see `die_with`."""
        while True:
            ready_since = time.monotonic()
            assert self._process is not None
            self._process.wait()
            if self._stopping.is_set():
                return
            self._deaths = 1 if time.monotonic() - ready_since > HEALTHY_SECONDS else self._deaths + 1
            self._last_death, self._died_at = self._death(), time.monotonic()
            logger.error("The speech server died (%s).%s", self._last_death, self._tail())
            if not self._revive():
                return

    def _revive(self) -> bool:
        """Start the child again, as often as allowed. Returns False if that came to an end."""
        while self._deaths <= self._settings.worker_restarts:
            if self._stopping.wait(FIRST_BACKOFF * 2 ** (self._deaths - 1)):
                return False
            logger.warning("Restarting the speech server (%d of %d).", self._deaths, self._settings.worker_restarts)
            try:
                self._spawn()
                self._wait_for_child()
            except (ServerFailed, OSError) as error:
                if self._stopping.is_set():
                    return False
                logger.error("%s", error)
                self._deaths += 1
                self._kill()
            else:
                logger.warning("The speech server is ready again.")
                return True
        logger.critical("The speech server died %d times; this worker gives itself up.", self._deaths)
        self._give_up()
        return False

    def _kill(self) -> None:
        if self._process is not None:
            _signal_group(self._process, signal.SIGKILL)
            self._process.wait()

    def _death(self) -> str:
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return self._last_death or "it is still starting"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _tail(self) -> str:
        if self._forwarder is not None and self.pid is None:
            self._forwarder.join(TAIL_SECONDS)  # what it said last may still be in the pipe
        return f" Its last lines:\n{os.linesep.join(self._lines)}" if self._lines else " It said nothing."


def serve_command(fd: int) -> list[str]:
    """The real server, on a socket that is there already."""
    return [sys.executable, "-m", "speaches", "serve", "--fd", str(fd), "--parent", str(os.getpid())]


def listen(port: int) -> socket.socket:
    """Take a port on loopback; 0 takes a free one.

    Raises:
        ServerFailed: If it is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. A server that takes the descriptor for something else than TCP forgets it: 40 ms for each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServerFailed(
            f"Can't listen on {HOST}:{port}: {error.strerror}. Is UVICORN_PORT set to a port in use?"
        ) from None
    return listener


def _forward(output: IO[bytes], lines: deque[str]) -> None:
    """Pass the child's log on, line by line, and remember its end."""
    with output:
        for line in output:
            lines.append(line.decode("utf-8", "replace").rstrip())
            with contextlib.suppress(OSError):
                # Not sys.stderr: its lock, held in the moment in which the SDK forks its heartbeat, would hang that process.
                os.write(2, line)


class Readiness(NamedTuple):
    status: int
    """0 where there was no answer."""
    body: bytes


def ask_ready(address: tuple[str, int], worth_waiting: Callable[[], bool]) -> Readiness:
    """Ask /readyz once. Before the child serves, the question waits in the backlog, so that the answer comes in the first moment possible;
    every POLL_SECONDS it is looked whether somebody may still give one."""
    answer = b""
    try:
        with socket.create_connection(address, timeout=POLL_SECONDS) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while worth_waiting() and not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                with contextlib.suppress(TimeoutError):
                    chunk = connection.recv(4096)
                    if not chunk:
                        break
                    answer += chunk
    except OSError:
        return Readiness(0, b"")
    status = answer.split(None, 2)[1:2]
    return Readiness(int(status[0]) if status and status[0].isdigit() else 0, answer.partition(b"\r\n\r\n")[2])


def _preload_failure(body: bytes) -> str:
    """Why the server will not become ready by itself; empty while it may."""
    try:
        told = json.loads(body)
        return str(told["error"]["message"]) if told["status"] == "failed" else ""
    except (ValueError, TypeError, LookupError):
        return ""


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _exit_process() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(1)
