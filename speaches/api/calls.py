"""/v1/realtime/calls: Realtime sessions over WebRTC. A client posts its SDP offer and gets our answer; the rest goes over UDP."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from speaches.api.answers import until_gone
from speaches.api.realtime import is_beta, new_id, open_session, seat, session_config
from speaches.api.state import Server, server_of
from speaches.api.validation import json_object
from speaches.errors import InvalidRequest, NotFound, TooLarge, Unavailable

if TYPE_CHECKING:
    from speaches.realtime.dialects import Dialect
    from speaches.realtime.session import Session
    from speaches.realtime.webrtc import Call

logger = logging.getLogger(__name__)

router = APIRouter(tags=["Realtime"])

LONGEST_BODY = 1024 * 1024  # bytes: an offer and a session with many tools
DOCS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/sdp": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["sdp"],
                    "properties": {"sdp": {"type": "string"}, "session": {"type": "object"}},
                }
            },
        },
    },
    "responses": {"201": {"description": "The SDP answer.", "content": {"application/sdp": {}}}},
}


@router.post("/v1/realtime/calls", status_code=201, openapi_extra=DOCS)
async def create_call(request: Request) -> Response:
    """A session over WebRTC, from an SDP offer with one audio track and the data channel `oai-events`."""
    return await _answer(request, beta=is_beta(request))


@router.post("/v1/realtime", include_in_schema=False)
@router.post("/realtime", include_in_schema=False)
async def create_beta_call(request: Request) -> Response:
    """The same for clients of the beta, which say so by nothing but the path."""
    return await _answer(request, beta=True)


@router.post("/v1/realtime/calls/{call_id}/hangup")
async def hang_up(request: Request, call_id: str) -> Response:
    """End a call."""
    if not server_of(request).calls.hang_up(call_id):
        raise NotFound(f"There is no call '{call_id[:60]}'; it may have ended already.", code="call_not_found")
    return Response()


async def _answer(request: Request, *, beta: bool) -> Response:
    from speaches.realtime.config import updated
    from speaches.realtime.dialects import Beta, Ga

    server = server_of(request)
    call_type = await server.threads.run(_call_type)
    offer, given = await _read(request)
    config = session_config(server, request)
    if given:
        config = updated(config, given, may_change_kind=True)
    dialect: Dialect = Beta(config.type) if beta else Ga()
    call_id = new_id("rtc")
    async with contextlib.AsyncExitStack() as held:
        held.enter_context(seat(server))
        session = await open_session(server, config, webrtc=True)
        call = call_type([one.for_aiortc for one in server.settings.webrtc_ice_servers])
        held.push_async_callback(call.close)
        answer = await until_gone(request, call.answer(offer))
        server.calls.begin(call_id, call, _converse(call_id, call, session, dialect, server, held.pop_all()))
    return Response(answer, 201, {"location": f"/v1/realtime/calls/{call_id}"}, "application/sdp")


async def _converse(
    call_id: str, call: Call, session: Session, dialect: Dialect, server: Server, held: contextlib.AsyncExitStack
) -> None:
    from speaches.realtime.driver import Driver

    async with held:
        try:
            await Driver(session, call.events, dialect, server, call).run(server.settings.realtime_session_seconds)
        except Exception:
            logger.exception("The realtime call %s broke off.", call_id)
    logger.info("The realtime call %s has ended.", call_id)


def _call_type() -> type[Call]:
    try:
        from speaches.realtime.webrtc import Call
    except ImportError:
        raise Unavailable(
            "WebRTC is not installed on this server: pip install 'speaches[webrtc]'. Its WebSocket at /v1/realtime needs nothing more.",
            code="webrtc_unavailable",
        ) from None
    return Call


# --- What a request holds ---


async def _read(request: Request) -> tuple[str, Mapping[str, Any]]:
    """The offer, and the session that goes with it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise TooLarge(f"The request is larger than {LONGEST_BODY} bytes, the most that an offer may have.")
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _read_form(request, bytes(body))
    if content_type not in ("application/sdp", "text/plain", ""):
        raise InvalidRequest(
            f"Send the SDP offer as application/sdp, or as multipart/form-data with 'sdp' and 'session'; got {content_type[:60]!r}.",
            param="sdp",
            code="invalid_content_type",
        )
    return _text(bytes(body)), {}


async def _read_form(request: Request, body: bytes) -> tuple[str, Mapping[str, Any]]:
    async def chunks() -> AsyncIterator[bytes]:
        yield body

    try:
        parser = MultiPartParser(request.headers, chunks(), max_files=2, max_fields=8, max_part_size=LONGEST_BODY)  # type: ignore[arg-type]
        form = await parser.parse()
    except (MultiPartException, UnicodeError, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else error
        raise InvalidRequest(f"The form can't be read: {reason}", code="invalid_form") from None
    try:
        offer, session = await _part(form, "sdp"), await _part(form, "session")
    finally:
        await form.close()
    if offer is None:
        raise InvalidRequest("Missing required parameter: 'sdp'.", param="sdp", code="missing_required_parameter")
    return _text(offer), json_object(session) if session else {}


async def _part(form: FormData, name: str) -> bytes | None:
    part = form.get(name)
    return await part.read() if isinstance(part, UploadFile) else part.encode() if part is not None else None


def _text(offer: bytes) -> str:
    try:
        return offer.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("The SDP offer is not UTF-8.", param="sdp", code="invalid_sdp") from None
