"""The server as an ASGI application: routes, life, and answers to what goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

import speaches
from speaches.api import activity, calls, captions, chat, health, models, realtime, speech, transcriptions, voices
from speaches.api.middleware import Answers, ClientGone, Edge, Gate
from speaches.api.state import Server
from speaches.api.validation import invalid, shortened
from speaches.engines.registry import KINDS
from speaches.errors import InvalidRequest, MethodNotAllowed, NotFound, SpeachesError

if TYPE_CHECKING:
    from speaches.engines.registry import EngineKind
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MODULES = (transcriptions, speech, captions, chat, activity, voices, models, realtime, calls, health)


def create_app(
    settings: Settings, kinds: Sequence[EngineKind] = KINDS, *, when_ready: Callable[[], None] = lambda: None
) -> FastAPI:
    """The server with these settings and engines. `when_ready` is called when all is there that it imports and loads by itself."""
    server = Server(settings, kinds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        preload = asyncio.create_task(server.preload(), name="preload")
        # After the server answers and before the first request needs them, as a rule: a quarter of a second.
        imports = asyncio.create_task(server.threads.run(_import_later, settings), name="import")
        both = asyncio.gather(preload, imports, return_exceptions=True)
        both.add_done_callback(lambda _: when_ready())
        try:
            yield
        finally:
            preload.cancel()
            await both
            await server.close()

    app = FastAPI(
        title="speaches",
        version=speaches.__version__,
        summary="An OpenAI-compatible speech server.",
        lifespan=lifespan,
        redirect_slashes=False,  # behind a proxy the address to go to would be ours, not the proxy's
        middleware=_middleware(server),
        exception_handlers={HTTPException: _http_error, RequestValidationError: _validation_error},
    )
    app.state.server = server
    for module in MODULES:
        app.include_router(module.router)
    return app


def _import_later(settings: Settings) -> None:
    """Import what every request with audio needs, then what conversations do."""
    import speaches.audio.decode
    import speaches.audio.encode
    import speaches.audio.resample
    import speaches.audio.stretch
    import speaches.realtime.driver
    import speaches.realtime.session
    import speaches.speech.speak  # noqa: F401

    if settings.chat_completion_base_url is not None:
        import httpx  # noqa: F401


def _middleware(server: Server) -> list[Middleware]:
    """From the outside in. Browsers ask what they may do (CORS) without a key."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=server.settings.allow_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-cache", "x-ignored-parameters", "location"],
    )
    return [
        Middleware(Edge, metrics=server.metrics),
        *([cors] if server.settings.allow_origins else []),
        Middleware(Answers),
        Middleware(Gate, settings=server.settings),
    ]


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors, as ours, which `Answers` turns into an answer."""
    assert isinstance(error, HTTPException)
    cause = error.__cause__  # FastAPI wraps what happens while it reads a body
    if isinstance(cause, SpeachesError):
        raise cause
    if isinstance(cause, ClientDisconnect):
        raise ClientGone from cause
    if isinstance(cause, (ValueError, RecursionError)):
        raise InvalidRequest(f"The body is not valid JSON: {cause}.", code="invalid_json")
    if error.status_code == 404:
        raise NotFound(
            f"Unknown request URL: {request.method} {shortened(request.url.path)}. See /docs for what there is.",
            code="unknown_url",
        )
    if error.status_code == 405:
        return _method_not_allowed(request)
    raise InvalidRequest(str(error.detail))


def _method_not_allowed(request: Request) -> Response:
    routes, scope = request.app.routes, request.scope
    allowed = [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    error = MethodNotAllowed(
        f"{shortened(request.url.path)} does not take {request.method}; it takes {', '.join(allowed)}.",
        code="method_not_supported",
    )
    return JSONResponse(error.as_openai(), error.status, {"allow": ", ".join(allowed)})


async def _validation_error(request: Request, error: Exception) -> NoReturn:
    assert isinstance(error, RequestValidationError)
    raise invalid(error.errors())
