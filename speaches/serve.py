"""Running the server: uvicorn with our shutdown, and a second port for health where one is wanted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

import uvicorn

from speaches.settings import Settings, warn_of_old_names

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)


def serve(
    settings: Settings, *, fd: int | None = None, parent: int | None = None, health_port: int | None = None
) -> None:
    """Serve until told to stop.

    Stopping is ordered and bounded: no new connections, SHUTDOWN_TIMEOUT seconds for running requests, then they are cancelled, models
    are freed, and the process ends.

    Args:
        fd: A listening socket that a parent has opened; else UVICORN_HOST and UVICORN_PORT.
        parent: Its process; the server ends with it.
        health_port: Another port to answer `/ping` on.
    """
    if parent is not None:
        from speaches.worker.lifeline import die_with

        die_with(parent)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    warn_of_old_names(os.environ)
    from speaches.app import create_app

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.uvicorn_host,
        port=settings.uvicorn_port,
        log_config=None,
        access_log=False,  # ours leaves out the query, which may carry a key
        server_header=False,
        timeout_graceful_shutdown=round(settings.shutdown_timeout),
        timeout_keep_alive=75,  # longer than a proxy's, so that the proxy closes first and no request meets a closing connection
    )
    for noisy in ("httpx", "httpcore", "huggingface_hub", "kokoro_onnx", "piper", "phonemizer", "faster_whisper"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    server = uvicorn.Server(config)
    # Not uvicorn's own `fd`: it takes the socket for a Unix one, and an answer of two packets then waits 40 ms for Nagle's algorithm.
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    if health_port is None or health_port == settings.uvicorn_port:
        server.run(sockets)
    else:
        asyncio.run(_serve_both(server, _health_server(app, settings.uvicorn_host, health_port)))


def _health_server(app: object, host: str, port: int) -> uvicorn.Server:
    """The same application without its life, for one path."""

    async def ping(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "app": app}, receive, send)  # type: ignore[operator]

    return uvicorn.Server(uvicorn.Config(ping, host=host, port=port, lifespan="off", log_config=None, access_log=False))


async def _serve_both(server: uvicorn.Server, health: uvicorn.Server) -> None:
    side = asyncio.create_task(health.serve())
    try:
        await server.serve()
    finally:
        health.should_exit = True
        await side
