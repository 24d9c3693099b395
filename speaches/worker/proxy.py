"""Sends a job's request to the server on loopback, and brings back what it answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import httpx

from speaches.errors import BadGateway, InvalidRequest
from speaches.settings import Settings
from speaches.worker.job import Request, form_fields
from speaches.worker.uploads import Multipart, Part

# Less than the server keeps idle connections (75 s): they are dropped here first, so that no request meets a closing one.
KEEPALIVE_SECONDS = 30.0
# How long a busy server (429) is asked again when the job does not say how long it may take. Less than the 90 s that /runsync waits and
# the 300 s of Runpod's shortest default execution timeout: the caller hears "busy", not a timeout that explains nothing.
BUSY_SECONDS = 60.0
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Answer:
    """A whole answer of the server."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


class AnswerTooLarge(Exception):
    """The server is sending more than can be used. `size` is what it announced, or what had come so far."""

    def __init__(self, content_type: str, size: int) -> None:
        super().__init__(f"{size} bytes of {content_type}")
        self.content_type = content_type
        self.size = size


class Proxy:
    """The way to one server.

    Args:
        base_url: where it is, like `http://127.0.0.1:8000`.
        settings: for its key and the number of connections.
        explain: says what happened to the server when a connection to it broke.
    """

    def __init__(self, base_url: str, settings: Settings, explain: Callable[[], str] | None = None) -> None:
        self._base_url = httpx.URL(base_url)
        self._settings = settings
        self._explain = explain
        # One client per event loop: its connections belong to the loop that opened them, and the SDK runs more than one.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    @asynccontextmanager
    async def stream(
        self, request: Request, parts: Sequence[Part], *, job_id: str, busy_seconds: float = BUSY_SECONDS
    ) -> AsyncIterator[httpx.Response]:
        """Send a request, again while the server says that it is busy. The answer's body is still to be read.

        Leaving early, also by cancellation, closes the connection, by which the server learns that nobody waits.

        Raises:
            BadGateway: If the server died, also while the body is read.
        """
        give_up = time.monotonic() + busy_seconds
        try:
            while True:
                async with self._once(request, parts, job_id) as response:
                    wait = _seconds(response.headers.get("retry-after")) if response.status_code == 429 else None
                    if wait is None or time.monotonic() + wait > give_up:
                        yield response
                        return
                    await response.aread()  # so that the connection can be used again
                await asyncio.sleep(wait)
        except httpx.TransportError as error:
            raise BadGateway(await self._reason(error)) from error

    def _once(
        self, request: Request, parts: Sequence[Part], job_id: str
    ) -> AbstractAsyncContextManager[httpx.Response]:
        content, content_headers = _content(request, parts)
        return self._client().stream(
            request.method,
            # raw_path is taken as it is: no second reading of the job's path can find another host in it.
            self._base_url.copy_with(raw_path=request.target.encode("ascii")),
            headers=self._headers(request, job_id) + content_headers,
            content=content,
        )

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            limits = httpx.Limits(
                max_connections=self._settings.worker_concurrency,
                max_keepalive_connections=self._settings.worker_concurrency,
                keepalive_expiry=KEEPALIVE_SECONDS,
            )
            # verify=False: it is plain HTTP on loopback, and loading certificates costs 20 ms of every boot.
            # No timeout: how long a job may take is Runpod's to say, which then cancels it.
            self._clients[loop] = httpx.AsyncClient(verify=False, trust_env=False, timeout=None, limits=limits)
        return self._clients[loop]

    def _headers(self, request: Request, job_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(name.encode("ascii"), value.encode("utf-8", "replace")) for name, value in request.headers]
        headers.append((b"accept-encoding", b"identity"))  # compressing on loopback only costs time
        names = {name.lower() for name, _ in headers}
        if b"x-request-id" not in names and SANE_ID.fullmatch(job_id):
            headers.append((b"x-request-id", job_id.encode("ascii")))
        # Runpod has let the caller in already; the key only keeps strangers from the server's port.
        if self._settings.api_key is not None and not request.carries_key():
            headers.append((b"authorization", b"Bearer " + self._settings.api_key.get_secret_value().encode()))
        return headers

    async def _reason(self, error: httpx.TransportError) -> str:
        if self._explain is not None:
            return await asyncio.to_thread(self._explain)
        return f"The speech server at {self._base_url} can't be reached or broke off: {error or type(error).__name__}."


async def read(response: httpx.Response, max_bytes: int) -> Answer:
    """Read the whole body.

    Raises:
        AnswerTooLarge: As soon as it is clear that there are more than `max_bytes`.
    """
    content_type = response.headers.get("content-type", "")
    announced = response.headers.get("content-length", "")
    # A HEAD announces a body that does not come.
    if announced.isdecimal() and int(announced) > max_bytes and response.request.method != "HEAD":
        raise AnswerTooLarge(content_type, int(announced))
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLarge(content_type, size)
    return Answer(response.status_code, content_type, b"".join(chunks))


def _content(request: Request, parts: Sequence[Part]) -> tuple[bytes | Multipart | None, list[tuple[bytes, bytes]]]:
    """The body, and the headers that go with it."""
    if parts:
        form = Multipart(form_fields(request.body or {}), parts)
        return form, [(b"content-type", form.content_type.encode()), (b"content-length", b"%d" % form.length)]
    if request.body is None:
        return None, []
    try:
        return json.dumps(request.body, allow_nan=False).encode(), [(b"content-type", b"application/json")]
    except ValueError:
        raise InvalidRequest("body holds a number that is not finite, which JSON cannot carry.", param="body") from None


def _seconds(retry_after: str | None) -> float | None:
    """A `Retry-After` in seconds, as our server sends it; a date is not worth the code."""
    try:
        return max(0.05, float(retry_after)) if retry_after else None
    except ValueError:
        return None
