"""/v1/realtime: conversations and live transcription over a WebSocket, and the short-lived keys that open them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from speaches.api.keys import key_of
from speaches.api.state import Server
from speaches.api.validation import Parameters
from speaches.engines.base import Task
from speaches.errors import InvalidRequest, TooBusy
from speaches.realtime.secrets import LIFETIME, LIFETIMES, ClientSecrets, is_secret

if TYPE_CHECKING:
    from speaches.realtime.config import SessionConfig
    from speaches.realtime.dialects import Dialect, Kind
    from speaches.realtime.session import Session

logger = logging.getLogger(__name__)

router = APIRouter(tags=["Realtime"])

BETA_HEADER, BETA_SUBPROTOCOL = "realtime=v1", "openai-beta.realtime-v1"
BROKEN = 1011  # close code: a bug of ours
CLOSE_TIMEOUT = 1.0  # seconds


class ExpiresAfter(Parameters):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=LIFETIME, ge=LIFETIMES[0], le=LIFETIMES[1])


class SecretRequest(Parameters):
    session: dict[str, Any] = Field({}, description="The session that the secret opens.")
    expires_after: ExpiresAfter = ExpiresAfter()


@router.websocket("/v1/realtime")
@router.websocket("/realtime")
async def connect(websocket: WebSocket) -> None:
    """A session. What is wrong with the request is said with a status, before it becomes a WebSocket."""
    from speaches.realtime.dialects import Beta, Ga

    server: Server = websocket.app.state.server
    config = session_config(server, websocket)
    dialect = Beta(config.type) if is_beta(websocket) else Ga()
    offered = websocket.scope.get("subprotocols", [])
    with seat(server):
        await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
        await _converse(websocket, server, config, dialect)


@contextlib.contextmanager
def seat(server: Server) -> Iterator[None]:
    """A place among the sessions that may be open at the same time. Raises TooBusy."""
    if server.sessions >= server.settings.realtime_max_sessions:
        raise TooBusy(
            f"The server has {server.sessions} realtime sessions already, its most (REALTIME_MAX_SESSIONS).",
            retry_after=5,
        )
    server.sessions += 1
    try:
        yield
    finally:
        server.sessions -= 1


async def open_session(server: Server, config: SessionConfig, *, webrtc: bool = False) -> Session:
    """A session that begins now."""
    from speaches.realtime.session import Session

    judge = await server.models.first(Task.END_OF_TURN)
    expires_at = int(time.time() + server.settings.realtime_session_seconds)
    return Session(config, new_id=new_id, expires_at=expires_at, webrtc=webrtc, has_ending_model=judge is not None)


async def _converse(websocket: WebSocket, server: Server, config: SessionConfig, dialect: Dialect) -> None:
    from speaches.realtime.driver import Driver

    code = 1000
    try:
        session = await open_session(server, config)
        await Driver(session, _Socket(websocket), dialect, server).run(server.settings.realtime_session_seconds)
    except Exception:
        logger.exception("The realtime session of request %s broke off.", websocket.state.request_id)
        code = BROKEN
    finally:
        await _close(websocket, code)


async def _close(websocket: WebSocket, code: int) -> None:
    """Unless the client has left, or takes nothing any more."""
    if websocket.application_state == WebSocketState.CONNECTED == websocket.client_state:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await websocket.close(code)


class _Socket:
    """A WebSocket as the driver wants it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        return text

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError) as error:  # Starlette's word for a socket that was closed meanwhile
            raise ConnectionError("the client has left") from error


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"


# --- What a connection asks for ---


def session_config(server: Server, connection: HTTPConnection) -> SessionConfig:
    """The session by the URL, and by the client secret where it is opened with one."""
    from speaches.realtime.config import new_session

    query = connection.query_params
    intent = query.get("intent") or "conversation"
    if intent not in ("conversation", "transcription", "realtime"):
        raise InvalidRequest(
            f"Unknown intent {intent[:60]!r}; it can be conversation or transcription.",
            param="intent",
            code="invalid_value",
        )
    if query.get("call_id"):  # a session of its own would look like the call's, and know nothing of it
        raise InvalidRequest(
            "A call over WebRTC can't be joined over another connection (call_id); send its events over its data channel.",
            param="call_id",
            code="unsupported_value",
        )
    key = key_of(connection.headers.items(), query.multi_items())
    session = _secrets(server).read(key, time.time()) if key is not None and is_secret(key) else {}
    return new_session(
        "transcription" if intent == "transcription" else _kind(session),
        model=query.get("model"),
        transcription_model=query.get("transcription_model"),
        language=query.get("language"),
        voice=server.settings.default_voice,
        session=session,
    )


def is_beta(connection: HTTPConnection) -> bool:
    return BETA_HEADER in connection.headers.get("openai-beta", "") or BETA_SUBPROTOCOL in connection.scope.get(
        "subprotocols", []
    )


# --- Client secrets ---


@router.post("/v1/realtime/client_secrets")
async def create_client_secret(request: Request, body: SecretRequest) -> dict[str, Any]:
    """A key for a browser: short-lived, and good for this session alone."""
    from speaches.realtime.config import for_client, new_session

    voice = request.app.state.server.settings.default_voice
    config = new_session(_kind(body.session), voice=voice, session=body.session)
    value, expires_at = _minted(request, config, body.expires_after.seconds)
    return {
        "value": value,
        "expires_at": expires_at,
        "session": for_client(config, new_id("sess"), expires_at),
    }


@router.post("/v1/realtime/sessions", include_in_schema=False)
async def create_session(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The same for clients of the beta."""
    return _beta_secret(request, body, "realtime")


@router.post("/v1/realtime/transcription_sessions", include_in_schema=False)
async def create_transcription_session(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The same for clients of the beta."""
    return _beta_secret(request, body, "transcription")


def _beta_secret(request: Request, body: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    from speaches.realtime.config import for_client, new_session
    from speaches.realtime.dialects import beta_session, ga_session

    config = new_session(kind, session=ga_session(body, kind))
    value, expires_at = _minted(request, config, LIFETIME)
    session = beta_session(for_client(config, new_id("sess"), expires_at))
    return session | {"client_secret": {"value": value, "expires_at": expires_at}}


def _kind(session: Mapping[str, Any]) -> Kind:
    return "transcription" if session.get("type") == "transcription" else "realtime"


def _minted(request: Request, config: SessionConfig, seconds: int) -> tuple[str, int]:
    server: Server = request.app.state.server
    expires_at = int(time.time()) + seconds
    return _secrets(server).mint(config.model_dump(exclude_unset=True, mode="json"), expires_at), expires_at


def _secrets(server: Server) -> ClientSecrets:
    key = server.settings.api_key
    return ClientSecrets(key.get_secret_value() if key else None)
