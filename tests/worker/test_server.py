"""The server as a child: real processes, a fake server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from speaches.worker import server as server_module
from speaches.worker.server import Server, ServerFailed, listen, serve_command

from .fake_server import command
from .helpers import DEADLINE, eventually, free_port, is_alive, settings


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy machines take long to start the next server, and to read what the last one said."""
    monkeypatch.setattr(server_module, "RECENT_SECONDS", DEADLINE)
    monkeypatch.setattr(server_module, "TAIL_SECONDS", DEADLINE)


@contextmanager
def started(behaviour: str = "ok", **changes: Any) -> Iterator[Server]:
    """A server that is started but perhaps not ready. Nothing of it is left behind."""
    given_up = threading.Event()
    child = Server(settings(**changes), command=command(behaviour), give_up=given_up.set)
    child.given_up = given_up  # type: ignore[attr-defined]
    threads = set(threading.enumerate())
    try:
        child.start()
        yield child
    finally:
        child.stop()
    assert child.pid is None
    assert set(threading.enumerate()) <= threads


def _said(caplog: pytest.LogCaptureFixture, words: str, times: int) -> bool:
    return caplog.text.count(words) == times


def ask(child: Server, path: str) -> bytes:
    with urllib.request.urlopen(child.base_url + path, timeout=DEADLINE) as response:
        content: bytes = response.read()
        return content


def test_a_server_is_started_used_and_stopped() -> None:
    with started() as child:
        child.wait_until_ready()
        assert ask(child, "/v1/models").startswith(b'{"method": "GET"')
        pid = child.pid
        assert pid is not None
        assert os.getsid(pid) == pid  # a session of its own: Ctrl+C is for the worker to pass on
    assert not is_alive(pid)
    child.stop()  # twice is fine


def test_a_server_that_preloads_is_waited_for() -> None:
    with started("preloads") as child:
        child.wait_until_ready()
        assert ask(child, "/readyz") == b'{"ready": true}'


def test_a_server_that_could_not_preload_is_told_of_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with started("lacks") as child:
        child.wait_until_ready()
        assert _said(caplog, "no/such of PRELOAD_MODELS is not ready: it is not on disk", 1)
        assert ask(child, "/v1/models").startswith(b'{"method": "GET"')


def test_a_server_that_dies_while_booting_is_reported_at_once_with_its_last_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with started("dies") as child, pytest.raises(ServerFailed) as caught:
        child.wait_until_ready()
    assert "exit code 1" in str(caught.value)
    assert str(caught.value).endswith("fake server, dies\nthis model does not exist")
    assert capfd.readouterr().err == "fake server, dies\nthis model does not exist\n"


def test_a_server_that_never_serves_is_given_up_after_the_boot_timeout() -> None:
    with (
        started("hangs", worker_boot_timeout=0.5, shutdown_timeout=0) as child,
        pytest.raises(ServerFailed, match="WORKER_BOOT_TIMEOUT"),
    ):
        child.wait_until_ready()


def test_a_port_is_only_taken_over_from_a_setting_that_was_set() -> None:
    port = free_port()
    with started(uvicorn_port=port) as child:
        assert child.base_url == f"http://127.0.0.1:{port}"
        with pytest.raises(ServerFailed, match=f"{port}.*UVICORN_PORT"):
            Server(settings(uvicorn_port=port), command=command("ok")).start()
    for reserved in (settings(), settings(uvicorn_port=80)):
        child = Server(reserved, command=command("ok"))
        assert child._port() == 0


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    with listen(0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_requests_wait_while_a_dead_server_is_restarted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "FIRST_BACKOFF", 0.01)
    with started() as child:
        child.wait_until_ready()
        address, first = child.base_url, child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # Sent when nobody serves, answered by the next one: the socket is the worker's.
        eventually(lambda: child.pid != first)
        assert ask(child, "/v1/models").startswith(b"{")
        assert child.base_url == address
        assert "signal SIGKILL" in caplog.text
        assert "died while it worked on this job (signal SIGKILL)" in child.explain()


def test_a_server_that_dies_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(server_module, "FIRST_BACKOFF", 0.001)
    with started(f"once:{tmp_path / 'started'}", worker_restarts=2) as child:
        child.wait_until_ready()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        assert child.given_up.wait(DEADLINE)  # type: ignore[attr-defined]
        assert "died 3 times" in caplog.text
        assert caplog.text.count("this model does not exist") == 2


def test_a_long_healthy_time_forgives_earlier_deaths(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(server_module, "HEALTHY_SECONDS", 0.0)
    with started(worker_restarts=1) as child:
        child.wait_until_ready()
        for deaths in (1, 2, 3):
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            eventually(partial(_said, caplog, "ready again", deaths))
        assert not child.given_up.is_set()  # type: ignore[attr-defined]


def test_stopping_in_the_middle_of_a_restart_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_BACKOFF", 10 * DEADLINE)
    with started() as child:
        child.wait_until_ready()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        eventually(lambda: child._deaths == 1)
        stopping = threading.Thread(target=child.stop)
        stopping.start()
        stopping.join(DEADLINE)
        assert not stopping.is_alive()  # it did not wait for the back-off to end
    assert not child.given_up.is_set()  # type: ignore[attr-defined]


def test_the_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the parent no moment to clean up: the kernel does it."""
    source = (
        "import sys; from speaches.settings import Settings; from speaches.worker.server import Server\n"
        "from tests.worker.fake_server import command\n"
        "child = Server(Settings(), command=command('ok')); child.start(); child.wait_until_ready()\n"
        "print('pid', child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("pid"))
        assert is_alive(pid)
        parent.kill()
        eventually(lambda: not is_alive(pid))


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    source = "from speaches.worker.lifeline import die_with; die_with(1); print('here')"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (1, "")


def test_the_real_server_is_given_the_socket_and_its_parent() -> None:
    with socket.socket() as listener:
        fd = listener.fileno()
        assert serve_command(fd)[1:] == ["-m", "speaches", "serve", "--fd", str(fd), "--parent", str(os.getpid())]
