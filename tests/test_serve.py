"""The server as a process: how it starts, says where it is, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from speaches.settings import OLD_NAMES, Settings
from tests.api.serving import listen, url_of
from tests.conftest import NO_HUB
from tests.fakes import PATIENCE
from tests.worker.helpers import free_port

# What the servers under test run is the real start-up. This one's engine waits for a file to be there before it speaks, and a busy machine
# gets a few seconds to put everything away.
WAITING = """
import sys
import speaches.serve
from speaches.settings import Settings
from tests.fakes import FakeEngines, FakeVoice

class Waiting(FakeVoice):
    def synthesize(self, piece):
        print("speaking", file=sys.stderr, flush=True)
        with open(sys.argv[1]) as fifo:
            fifo.read()
        return super().synthesize(piece)

engines = FakeEngines(voice=Waiting())
speaches.serve.LAST_SECONDS = 4.0
speaches.serve.serve(engines.settings(Settings()), kinds=engines.kinds)
"""


@dataclass
class Process:
    """A server as a child, with what it has said so far."""

    child: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def says(self, word: str) -> str:
        """Wait for a line with this word in it."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while data := await self.child.stderr.readline():
                self.lines.append(data.decode().rstrip())
                if word in self.lines[-1]:
                    return self.lines[-1]
        raise AssertionError(f"{word!r} was never said, but {self.lines}")

    async def url(self) -> str:
        return (await self.says(" is running on ")).rpartition(" ")[2]

    async def ends(self) -> int:
        """Wait for the end; the exit code."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            self.lines += (await self.child.stderr.read()).decode().splitlines()
            return await self.child.wait()

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.child.send_signal(number)


@contextlib.asynccontextmanager
async def started(*command: str, fds: tuple[int, ...] = (), **settings: str) -> AsyncIterator[Process]:
    names = [name.upper() for name in [*Settings.model_fields, *OLD_NAMES]]
    environment = {name: value for name, value in os.environ.items() if name.upper() not in names}
    environment |= {"HF_ENDPOINT": NO_HUB, "UVICORN_PORT": "0", "PYTHONPATH": str(Path(__file__).parent.parent)}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=environment | settings,
        pass_fds=fds,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield Process(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


SERVE = ("-m", "speaches", "serve")


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=False)


async def test_it_says_where_it_is_answers_and_ends_well() -> None:
    async with started(*SERVE, LOG_LEVEL="error") as process:
        url = await process.url()
        assert url.startswith("http://127.0.0.1:") and not url.endswith(":0")
        async with client_of(url) as client:
            assert (await client.get("/health")).json() == {"message": "OK"}
            assert (await client.get("/readyz")).status_code == 200
            answer = await client.post(
                "/v1/audio/speech", json={"input": "Hello.", "model": "speaches/espeak-ng", "response_format": "wav"}
            )
            assert answer.content[:4] == b"RIFF"
        process.tell()
        assert await process.ends() == 0
        assert len(process.lines) == 1


async def test_it_logs_requests_but_no_keys() -> None:
    async with started(*SERVE, API_KEY="wellhidden") as process, client_of(await process.url()) as client:
        assert (await client.get("/v1/models?api_key=wellhidden", headers={"x-request-id": "mine"})).status_code == 200
        assert "GET /v1/models 200" in await process.says("mine")
        process.tell()
        assert await process.ends() == 0
        assert "wellhidden" not in "\n".join(process.lines)


async def test_the_address_can_be_given_on_the_command_line() -> None:
    port = free_port()
    async with started(*SERVE, "--host", "127.0.0.1", "--port", str(port), UVICORN_PORT="1") as process:
        assert await process.url() == f"http://127.0.0.1:{port}"


async def test_ipv6() -> None:
    async with started(*SERVE, UVICORN_HOST="::1") as process, client_of(await process.url()) as client:
        assert client.base_url.host == "::1"
        assert (await client.get("/health")).status_code == 200


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with listen() as taken:
        port = str(taken.getsockname()[1])
        async with started(*SERVE, UVICORN_PORT=port) as process:
            assert await process.ends() == 1
            assert process.lines == [f"speaches: can't listen on 127.0.0.1 port {port}: Address already in use"]


async def test_a_host_that_is_not_ours_is_one_clear_line() -> None:
    async with started(*SERVE, UVICORN_HOST="192.0.2.1") as process:
        assert await process.ends() == 1
        (line,) = process.lines
        assert line.startswith("speaches: can't listen on 192.0.2.1 port 0:")


async def test_settings_that_are_wrong_are_told_without_a_traceback() -> None:
    async with started(*SERVE, UVICORN_PORT="many", MAX_UPLOAD_BYTES="-1") as process:
        assert await process.ends() != 0
        said = "\n".join(process.lines)
        assert "UVICORN_PORT" in said and "MAX_UPLOAD_BYTES" in said and "Traceback" not in said


async def test_a_socket_that_a_parent_has_opened() -> None:
    with listen() as socket_of_parent:
        fd = socket_of_parent.fileno()
        arguments = ("--fd", str(fd), "--parent", str(os.getpid()))
        async with client_of(url_of(socket_of_parent)) as client:
            early = asyncio.create_task(client.get("/health"))  # waits in the socket's queue
            async with started(*SERVE, *arguments, fds=(fd,)) as process:
                assert (await early).status_code == 200
                assert await process.url() == url_of(socket_of_parent)
                process.tell()
                assert await process.ends() == 0
            again = asyncio.create_task(client.get("/health"))
            async with started(*SERVE, *arguments, fds=(fd,)) as process:
                assert (await again).status_code == 200


HEALTH_PORT = """
import sys
from speaches.serve import serve
from speaches.settings import Settings
serve(Settings(), health_port=int(sys.argv[1]))
"""


async def test_a_second_port_for_health() -> None:
    port = free_port()
    async with (
        started("-c", HEALTH_PORT, str(port), API_KEY="right") as process,
        client_of(await process.url()) as main,
        client_of(f"http://127.0.0.1:{port}") as side,
    ):
        assert (await main.get("/ping")).status_code == (await side.get("/ping")).status_code == 200
        assert (await side.get("/v1/models")).status_code == 401
        process.tell()
        assert await process.ends() == 0


async def test_a_health_port_that_is_taken_is_one_clear_line() -> None:
    with listen() as taken:
        port = str(taken.getsockname()[1])
        async with started("-c", HEALTH_PORT, port) as process:
            assert await process.ends() == 1
            assert process.lines == [f"speaches: can't listen on 127.0.0.1 port {port}: Address already in use"]


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """The engine of WAITING goes on when this has been opened for writing and closed."""
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


BODY: dict[str, Any] = {"input": "Hello there."}


async def test_a_request_in_flight_is_finished_before_the_end(fifo: Path) -> None:
    async with started("-c", WAITING, str(fifo), SHUTDOWN_TIMEOUT="100") as process:
        url = await process.url()
        async with client_of(url) as client:
            answer = asyncio.create_task(client.post("/v1/audio/speech", json=BODY))
            await process.says("speaking")
            process.tell()
            await process.says("Waiting for connections to close")
            with pytest.raises(OSError):  # nobody new is let in
                await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            await asyncio.to_thread(fifo.write_bytes, b"")
            assert (await answer).status_code == 200
            assert await process.ends() == 0


UNHURRIED = """
import speaches.serve
from speaches.settings import Settings
speaches.serve.LAST_SECONDS = 100.0
speaches.serve.serve(Settings())
"""


async def test_a_request_whose_client_does_not_read_is_cancelled_after_the_timeout() -> None:
    async with started("-c", UNHURRIED, SHUTDOWN_TIMEOUT="1") as process:
        url = await process.url()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as slow:
            body = json.dumps(
                {"model": "speaches/espeak-ng", "input": "This is a sentence. " * 5000, "response_format": "wav"}
            ).encode()
            head = f"POST /v1/audio/speech HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            await asyncio.to_thread(slow.sendall, head.encode() + body)
            assert await asyncio.to_thread(slow.recv, 12) == b"HTTP/1.1 200"
            process.tell()
            assert await process.ends() == 0
            assert any("timeout graceful shutdown exceeded" in line for line in process.lines)
            assert "Traceback" not in "\n".join(process.lines)


async def test_an_engine_that_never_ends_does_not_keep_the_process(fifo: Path) -> None:
    async with (
        started("-c", WAITING, str(fifo), SHUTDOWN_TIMEOUT="1") as process,
        client_of(await process.url()) as client,
    ):
        answer = asyncio.create_task(client.post("/v1/audio/speech", json=BODY))
        await process.says("speaking")
        process.tell()
        assert await process.ends() == 1
        assert ((await answer).status_code, (await answer).json()["error"]["code"]) == (503, "service_unavailable")
        assert any("did not stop within SHUTDOWN_TIMEOUT" in line for line in process.lines)
        assert "Traceback" not in "\n".join(process.lines)


FROZEN = """
import gc, sys
import speaches.serve
from speaches.settings import Settings

class Told:
    freeze = staticmethod(lambda: (gc.freeze(), print("frozen", gc.get_freeze_count(), file=sys.stderr, flush=True)))

speaches.serve.gc = Told
speaches.serve.serve(Settings())
"""


async def test_what_is_imported_is_not_looked_through_for_garbage() -> None:
    async with started("-c", FROZEN) as process:
        assert int((await process.says("frozen ")).rpartition(" ")[2]) > 50_000


async def test_ctrl_c_ends_without_a_traceback() -> None:
    async with started(*SERVE) as process:
        await process.url()
        process.tell(signal.SIGINT)
        assert await process.ends() == 130
        assert "Traceback" not in "\n".join(process.lines)


async def test_told_to_stop_twice_it_ends_once() -> None:
    async with started(*SERVE) as process:
        await process.url()
        process.tell()
        process.tell()
        assert await process.ends() == 0


PARENT = """
import os, subprocess, sys
command = [sys.executable, "-m", "speaches", "serve", "--fd", sys.argv[1], "--parent", str(os.getpid())]
subprocess.Popen(command, pass_fds=[int(sys.argv[1])]).wait()
"""


async def test_a_server_goes_with_its_parent() -> None:
    """However that ends."""
    with listen() as listener:
        fd = listener.fileno()
        async with started("-c", PARENT, str(fd), fds=(fd,)) as process:
            await process.url()
            process.tell(signal.SIGKILL)
            await process.ends()  # only when the child, too, has let go of the pipe
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
