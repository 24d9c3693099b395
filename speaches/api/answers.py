"""Answers that stop working when nobody reads them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from starlette.responses import Response

from speaches.api.middleware import ClientGone
from speaches.api.validation import shortened
from speaches.concurrency import race
from speaches.errors import SpeachesError, internal_error

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST_IGNORED = 1000  # characters of names in the header that tells of them


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """Do the work of a request, and stop when its client leaves. The body must have been read."""
    gone = asyncio.ensure_future(_disconnected(request.receive))
    result = await race(work, gone)
    if result is None:
        gone.result()  # raises where what the client still sends is too large
        raise ClientGone
    return result


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def note_ignored(request: Request, names: Iterable[str]) -> None:
    """Have the names of parameters that mean nothing here told: in a header of the answer, whatever it is, and in the log."""
    told: list[str] = []
    for name in names:
        # They come from outside: quoted, they can be no other header, no second line of the log, and no two names.
        quoted = quote(shortened(name), safe="[]", errors="replace")
        if quoted in told:
            continue
        if sum(map(len, told)) + len(quoted) > LONGEST_IGNORED:
            told.append("...")
            break
        told.append(quoted)
    if told:
        request.state.ignored_parameters = ", ".join(told)
        logger.info("%s: ignored parameters: %s", request.state.request_id, request.state.ignored_parameters)


class StreamedAnswer(Response):
    """Sends what a generator yields as it comes; closes it when all is sent or the client has left.

    The first item is computed before this is made, so that a failure there is still a status code.
    """

    def __init__(
        self, first: bytes, rest: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        # Proxies such as nginx would otherwise hold a stream back.
        self.init_headers({"x-accel-buffering": "no", "cache-control": "no-cache", **(headers or {})})
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await race(self._send(send), _disconnected(receive))
        finally:
            await self._rest.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for data in self._rest:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def streamed(
    items: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str] | None = None
) -> StreamedAnswer:
    """An answer from a generator that yields at least one item, whose first item has been computed."""
    try:
        first = await anext(items)
    except BaseException:
        await items.aclose()
        raise
    return StreamedAnswer(first, items, media_type, headers)


def sse(event: Mapping[str, Any]) -> bytes:
    # ASCII: many clients take any of Unicode's line ends, such as U+2028, for the end of the line.
    return f"data: {json.dumps(event)}\n\n".encode()


def json_line(event: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(event)}\n".encode()


async def sse_events(
    events: AsyncGenerator[Mapping[str, Any], None],
    request_id: str,
    written: Callable[[Mapping[str, Any]], bytes] = sse,
) -> AsyncGenerator[bytes, None]:
    """Events as server-sent events, or as `written` writes them. A failure after the first one becomes an error event, and the end."""
    begun = False
    async with contextlib.aclosing(events):
        try:
            async for event in events:
                yield written(event)
                begun = True
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except SpeachesError as error:
            if not begun:
                raise
            yield written(error.as_openai())
        except Exception:
            if not begun:
                raise
            logger.exception("Request %s failed while streaming.", request_id)
            yield written(internal_error(request_id))
