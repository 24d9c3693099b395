"""Running the server: uvicorn with our shutdown, and a second port for health where one is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

import speaches
from speaches.errors import InvalidRequest, SpeachesError
from speaches.settings import Settings, warn_of_old_names

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

    from starlette.types import Receive, Scope, Send

    from speaches.engines.registry import EngineKind

logger = logging.getLogger(__name__)

NOISY = ("httpx", "httpcore", "huggingface_hub", "kokoro_onnx", "piper", "phonemizer", "faster_whisper", "aioice")
MAX_MESSAGE_BYTES = 24 * 1024**2  # of a WebSocket: 15 MiB of audio in base64, as OpenAI takes, and what is around it
MAX_HEAD_BYTES = 65536  # of a request line and its headers; others allow 8 to 64 KiB
MOST_FRAGMENTS = 16_384  # of one message; empty ones would be no bytes, and yet memory
CLOSE_TIMEOUT = 10.0  # seconds that the client of a WebSocket which has ended gets to read the rest
LAST_SECONDS = 1.0  # over SHUTDOWN_TIMEOUT, to cancel what still runs and to free the models


def serve(
    settings: Settings,
    *,
    fd: int | None = None,
    parent: int | None = None,
    health_port: int | None = None,
    kinds: Sequence[EngineKind] | None = None,
) -> None:
    """Serve until told to stop, then exit: 0 after SIGTERM, 1 with a sentence if a port can't be had or something would not end.

    Stopping is ordered and bounded: no new connections, SHUTDOWN_TIMEOUT seconds for running requests, then they are cancelled, models
    are freed, and the process ends.

    Args:
        fd: A listening socket that a parent has opened; else UVICORN_HOST and UVICORN_PORT.
        parent: Its process; the server ends with it.
        health_port: Another port to answer `/ping` on.
        kinds: The engines; all that there are, by default.
    """
    if parent is not None:
        from speaches.worker.lifeline import die_with

        die_with(parent)
    # What uvicorn does when it has stopped is to send itself the signal again, and a process that is killed by one looks like a failure.
    signal.signal(signal.SIGTERM, _exit)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warn_of_old_names(os.environ)
    listener = _listen(settings.uvicorn_host, settings.uvicorn_port) if fd is None else socket.socket(fileno=fd)
    side = None
    if health_port is not None and health_port != settings.uvicorn_port:
        side = _listen(settings.uvicorn_host, health_port)
    from speaches.app import create_app
    from speaches.engines.registry import KINDS

    # What is imported stays: to look through it for garbage takes a tenth of a second, now and then, in which no session gets a word.
    app = create_app(settings, KINDS if kinds is None else kinds, when_ready=gc.freeze)
    health = None if side is None else _Side(config_of(_health(app), settings, lifespan="off"), side)
    _Server(config_of(app, settings), health).run([listener])


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port. Before anything slow is imported: who can't be served should hear of it at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port), family=family, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6()
        )
    except OSError as error:
        why = (
            os.strerror(error.errno) if error.errno and error.errno > 0 else error
        )  # a name that is none has a number of its own
        sys.exit(f"speaches: can't listen on {host} port {port}: {why}")


def config_of(app: object, settings: Settings, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=_Protocol,
        ws=_WebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # base64 of audio hardly shrinks, and each connection would hold 300 kB for it
        lifespan=lifespan,
        log_config=None,
        access_log=False,  # ours leaves out the query, which may carry a key
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        timeout_keep_alive=75,  # longer than a proxy's, so that the proxy closes first and no request meets a closing connection
    )


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 with a bound on what comes before the body.

    uvicorn has none with this parser, and a key is checked only when the headers have ended: anybody could fill the memory.
    """

    _head = 0
    """Bytes that came of a head that has not ended."""
    _in_body = False

    def data_received(self, data: bytes) -> None:
        if self._head > MAX_HEAD_BYTES:  # the data before was the last that could be
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()
            return
        if not self._in_body:
            self._head += len(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._head, self._in_body = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()


class _WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that reads no more from a client than it is asked for, and does not wait for ever for one that reads nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = _quiet
        self.close_timeout = CLOSE_TIMEOUT

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MOST_FRAGMENTS and not self.close_sent:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
        if self.close_sent:
            self.frames = []
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # no pong for who does not read: they would pile up

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # Else uvicorn logs each refusal, such as of a wrong key, as an error of the application.
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        await super().run_asgi()
        # A transport that is closed goes on trying to send what it has.
        self.loop.call_later(self.close_timeout, self.transport.abort)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(self.close_timeout, self.transport.abort)


_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.WARNING)  # below it uvicorn tells of each connection with its query, which may carry a key


def _refusal(error: SpeachesError) -> bytes:
    """An answer from below the application."""
    body = json.dumps(error.as_openai()).encode()
    head = f"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


_HEAD_TOO_LARGE = _refusal(
    InvalidRequest(f"The headers are larger than {MAX_HEAD_BYTES} bytes.", code="headers_too_large")
)


class _Server(uvicorn.Server):
    """Says where it is when it serves, and ends in time whatever still runs."""

    def __init__(self, config: uvicorn.Config, side: _Side | None) -> None:
        super().__init__(config)
        self._side = side

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        side = asyncio.create_task(self._side.serve()) if self._side is not None else None
        try:
            await super().serve(sockets)
        finally:
            if self._side is not None and side is not None:
                self._side.should_exit = True
                await side

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port, *_ = listener.getsockname()
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            # Not the log, which may be set to errors alone: nobody else knows what port 0 has become.
            print(f"speaches {speaches.__version__} is running on http://{address}", file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A thread within a library can't be stopped, and Python would wait for it to the end.
        last = threading.Timer((self.config.timeout_graceful_shutdown or 0) + LAST_SECONDS, _end)
        last.daemon = True
        last.start()
        await super().shutdown(sockets)


def _end() -> None:
    logger.error("Something did not stop within SHUTDOWN_TIMEOUT; the process ends without it.")
    logging.shutdown()
    os._exit(1)


class _Side(uvicorn.Server):
    """A second server, which is told when to stop by the first."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve([self._listener])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _health(app: object) -> object:
    """The same application without its life, which must begin and end but once."""

    async def ping(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app({**scope, "app": app}, receive, send)  # type: ignore[operator]

    return ping
