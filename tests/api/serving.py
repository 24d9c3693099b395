"""Servers on loopback for the tests of the API, and clients that can be rude.

with threaded(app) as url: ...             # any client may ask, from any thread
async with serving(app) as server: ...     # in the test's own event loop, which sees all that the server does
    async with server.send("GET", "/health") as connection:
        answer = await connection.answer()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from speaches.api.state import Server
from speaches.serve import config_of
from tests.fakes import PATIENCE

BOUNDARY = "----tests"
POOLS = ("audio", "lookup", "load", "download", "AnyIO", "asyncio", "fake")  # threads that come when needed, and stay


class _Uvicorn(uvicorn.Server):
    """Leaves the signals of the test process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _uvicorn(app: FastAPI) -> _Uvicorn:
    return _Uvicorn(config_of(app, app.state.server.settings))


def listen() -> socket.socket:
    """A listening socket: who connects from now on waits until the server has started."""
    # asyncio sends without Nagle's delay (40 ms here) only where the socket says that it is TCP, which `create_server` does not.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def threaded(app: FastAPI) -> Iterator[str]:
    """The app behind uvicorn in a thread; its address."""
    listener = listen()
    url = url_of(listener)
    server = _uvicorn(app)
    thread = threading.Thread(target=server.run, args=([listener],), name="uvicorn")
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not end"


@dataclass
class Serving:
    """An app that is served in this event loop."""

    app: FastAPI
    url: str
    log: RequestLog
    connections: set[Any]
    """uvicorn's end of each that is open."""

    @property
    def state(self) -> Server:
        server: Server = self.app.state.server
        return server

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: Any) -> httpx.AsyncClient:
        # Without TLS's certificates, which take 30 ms to read; and without a time-out, for a coroutine has its own.
        return httpx.AsyncClient(base_url=self.url, timeout=None, verify=False, **options)

    @contextlib.asynccontextmanager
    async def send(self, head: str, body: bytes = b"", **headers: str) -> AsyncIterator[Connection]:
        """Send a request and leave as soon as the block ends, answered or not."""
        length = {} if "transfer_encoding" in headers else {"content_length": str(len(body))}
        lines = [f"{head} HTTP/1.1", "host: speaches"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**length, **headers}.items()]
        async with self.connect() as connection:
            await connection.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            yield connection

    @contextlib.asynccontextmanager
    async def connect(self, *, receive_buffer: int | None = None) -> AsyncIterator[Connection]:
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=receive_buffer or 2**16)
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()

    def users(self) -> int:
        """How many requests use a model, by /metrics."""
        return self._sum("speaches_model_users")

    def waiting(self) -> int:
        """How many windows and pieces wait for a model's thread, by /metrics."""
        return self._sum("speaches_model_tasks_waiting")

    def _sum(self, gauge: str) -> int:
        page = self.state.metrics.page(self.state.models).decode()
        return round(sum(samples(page, gauge).values()))


@dataclass
class Connection:
    """A client's side of a connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> str:
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode("latin-1")

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer: status, headers and body (which must have a length)."""
        first, *lines = (await self.head()).strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)


class RequestLog(logging.Handler):
    """Hears the line that the server logs at the end of each request, so that tests need not guess when that was."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._ended: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._loop = asyncio.get_running_loop()
        self.status: dict[str, int] = {}
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        if (
            record.name == "speaches.api.middleware"
            and record.levelno == logging.INFO
            and isinstance(record.args, tuple)
        ):
            _, _, status, _, request_id = record.args
            assert isinstance(status, int)
            self.status[str(request_id)] = status
            self._loop.call_soon_threadsafe(self._ended[str(request_id)].set)

    async def ended(self, request_id: str) -> int:
        """Wait until the request with this `x-request-id` is over; its status."""
        await asyncio.wait_for(self._ended[request_id].wait(), PATIENCE)
        return self.status[request_id]

    def problems(self) -> list[str]:
        """What was logged as an error, or worse."""
        return [record.getMessage() for record in self.records if record.levelno >= logging.ERROR]

    def tracebacks(self) -> list[str]:
        formatter = logging.Formatter()
        return [formatter.formatException(record.exc_info) for record in self.records if record.exc_info]


@contextlib.contextmanager
def request_log() -> Iterator[RequestLog]:
    log, root = RequestLog(), logging.getLogger()
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.INFO)
    try:
        yield log
    finally:
        root.removeHandler(log)
        root.setLevel(before)


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[Serving]:
    """The app behind uvicorn, as a task of this event loop."""
    listener = listen()
    url = url_of(listener)
    server = _uvicorn(app)
    with request_log() as log:
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield Serving(app, url, log, server.server_state.connections)
        finally:
            server.should_exit = True
            await task


def form(*parts: tuple[str, bytes] | tuple[str, bytes, str, str]) -> tuple[bytes, str]:
    """A multipart body and its content type, from (name, value) and (name, content, filename, content type)."""
    lines: list[bytes] = []
    for name, value, *file in parts:
        named = f'; filename="{file[0]}"' if file else ""
        lines += [f"--{BOUNDARY}".encode(), f'Content-Disposition: form-data; name="{name}"{named}'.encode()]
        lines += [f"Content-Type: {file[1]}".encode()] if file else []
        lines += [b"", value]
    body = b"\r\n".join([*lines, f"--{BOUNDARY}--".encode(), b""])
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def upload(audio: bytes, **fields: str) -> dict[str, Any]:
    """What httpx takes to send a recording with some fields."""
    return {"files": {"file": ("audio.wav", audio, "audio/wav")}, "data": fields}


def sse(text: str) -> list[Any]:
    """The events of a stream."""
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


def samples(page: str, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of one metric, by labels."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                found[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def settled() -> None:
    """Let the loop do what it has been told to do."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Footprint:
    """What a process holds on to."""

    files: frozenset[str] = field(default_factory=frozenset)
    """Open files that are not sockets."""
    sockets: int = 0
    threads: frozenset[str] = field(default_factory=frozenset)
    """By name, but for those of pools that grow to their bound."""
    tasks: int = 0
    """Of this event loop."""

    @classmethod
    async def before(cls) -> Footprint:
        """Of a server that has answered already; when it has imported what it does by itself, which opens files."""
        if imports := [task for task in asyncio.all_tasks() if task.get_name() == "import"]:
            await asyncio.wait(imports)
        return cls.now()

    async def is_all(self, *, sockets: int = 0) -> None:
        """Wait until no more is held than this, but for so many sockets: what has ended is closed in its own time."""

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._too_much(sockets):
                    await settled()
        assert not (more := self._too_much(sockets)), more

    def _too_much(self, sockets: int) -> list[object]:
        """What is held beyond it now."""
        now = self.now()
        more: list[object] = [*(now.files - self.files), *(now.threads - self.threads)]
        more += [f"{now.sockets - self.sockets} sockets"] if now.sockets > self.sockets + sockets else []
        return more + ([*asyncio.all_tasks()] if now.tasks > self.tasks else [])

    @classmethod
    def now(cls) -> Footprint:
        files, sockets = [], 0
        for fd in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the one that lists them
                target = str(fd.readlink())
                if target.startswith("socket:"):
                    sockets += 1
                elif "pipe:" not in target and "anon_inode" not in target:
                    files.append(target)
        threads = {one.name for one in threading.enumerate() if not one.name.startswith(POOLS)}
        return cls(frozenset(files), sockets, frozenset(threads), len(asyncio.all_tasks()))
