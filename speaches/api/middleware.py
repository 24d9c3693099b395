"""What holds for every request, whatever its route: an id, a log line, metrics, a key, a limit, and an answer to every failure.

Plain ASGI: a middleware that wraps requests in tasks would hide disconnects from the routes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from speaches.api.keys import check_key, is_public, key_of, takes_secrets
from speaches.api.validation import shortened
from speaches.errors import NotFound, SpeachesError, TooLarge, Unavailable, internal_error
from speaches.realtime.secrets import ClientSecrets, is_secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from speaches.api.metrics import Metrics
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
# They take a text, which is read as a whole; all else takes files.
TEXT_PATHS = ("/v1/audio/speech", "/v1/audio/speech/captions")
SESSION_PATHS = ("/v1/realtime/client_secrets", "/v1/realtime/sessions", "/v1/realtime/transcription_sessions")
LARGEST_SESSION = 1024**2  # bytes
LONGEST_PATH = 200  # characters of a path in the log
MOST_IN_MEMORY = 256 * 1024**2  # bytes of a body that is not a form: three hours of mp3 in base64


class ClientGone(Exception):
    """The client left before there was an answer; nobody is there to read one."""


class Edge:
    """The outermost layer: an id, a log line and metrics for every answer, also those that CORS gives by itself."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        # A client's own id makes its log and ours meet; anything that could break a log line or header is replaced.
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                if ignored := scope["state"].get("ignored_parameters"):
                    headers["x-ignored-parameters"] = ignored
            await send(message)

        with self._metrics.in_progress():
            try:
                await self._app(scope, receive, send_with_id)
            except ClientGone:
                status = 499  # as nginx logs it
            finally:
                seconds = time.perf_counter() - started
                method = scope.get("method", "WEBSOCKET")
                self._metrics.observe(_route(scope), method, status, seconds)
                logger.info("%s %s %s %.0f ms %s", method, _path(scope), status, seconds * 1000, request_id)


class Answers:
    """Answers every failure. Stands inside of CORS, whose headers let a browser read an error as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"]
        # A WebSocket is refused as a request is, before it becomes one: clients look at the status.
        prefix = "websocket." if scope["type"] == "websocket" else ""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            if message["type"] == "websocket.close" and not begun:  # Starlette's answer where it knows no route
                raise NotFound(f"There is no WebSocket at {shortened(scope['path'])}; see /docs.", code="unknown_url")
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientGone:
            raise
        except ClientDisconnect as error:
            raise ClientGone from error
        except asyncio.CancelledError:
            # The server stops and has waited for long enough. The task ends here, so there is nobody to pass this on to; an answer that
            # has begun is broken off by uvicorn.
            if not begun:
                await _send_error(send, prefix, *_answer_of(Unavailable("The server is shutting down."), request_id))
        except Exception as error:
            answer = _answer_of(error, request_id)
            if begun:  # all that is left is to break it off, so that the client notices
                raise
            await _send_error(send, prefix, *answer)


def _route(scope: Scope) -> str:
    """The path as it is declared: one metric for `/v1/models/{id}`, not one for each id."""
    return str(getattr(scope.get("route"), "path", "unknown"))


def _path(scope: Scope) -> str:
    """The path for the log, in which a line break or a terminal's control character would be somebody else's line."""
    return quote(scope["path"])[:LONGEST_PATH]


def _answer_of(error: Exception, request_id: str) -> tuple[int, dict[str, object], dict[str, str]]:
    """Status, body and headers for a failure."""
    if isinstance(error, HTTPException) and isinstance(error.__cause__, SpeachesError):
        error = error.__cause__
    if isinstance(error, SpeachesError):
        if error.status >= 500:
            logger.error("%s: %s", request_id, error.message)
        headers = {"retry-after": str(max(1, round(error.retry_after)))} if error.retry_after else {}
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return error.status, error.as_openai(), headers
    logger.exception("Request %s failed.", request_id, exc_info=error)
    return 500, internal_error(request_id), {}


async def _send_error(send: Send, prefix: str, status: int, body: dict[str, object], headers: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": raw})
    await send({"type": f"{prefix}http.response.body", "body": content})


class Gate:
    """Lets in who has the key, and no more bytes than allowed."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._key = settings.api_key.get_secret_value() if settings.api_key else None
        self._secrets = ClientSecrets(self._key)
        self._upload_limit = settings.max_upload_bytes
        # JSON is parsed as a whole. A character takes up to 12 bytes in it. By path:
        self._limits = {
            **dict.fromkeys(TEXT_PATHS, settings.max_text_chars * 12 + 65536),
            **dict.fromkeys(SESSION_PATHS, LARGEST_SESSION),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._key is not None and not is_public(scope.get("method", "WEBSOCKET"), scope["path"]):
            self._check(headers, scope, self._key)
        limited = self._limited(receive, headers, scope["path"]) if scope["type"] == "http" else receive
        await self._app(scope, limited, send)

    def _check(self, headers: Headers, scope: Scope, key: str) -> None:
        given = key_of(headers.items(), QueryParams(scope.get("query_string", b"")).multi_items())
        if given is not None and is_secret(given) and takes_secrets(scope["path"]):
            self._secrets.read(given, time.time())
        else:
            check_key(given, key)

    def _limited(self, receive: Receive, headers: Headers, path: str) -> Receive:
        # A form's file goes to disk as it comes; anything else is held in memory.
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        in_memory = self._upload_limit if is_form else min(self._upload_limit, MOST_IN_MEMORY)
        limit = min(in_memory, self._limits.get(path, in_memory))
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        return limited


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request is larger than {limit} bytes, the most this server takes.")
