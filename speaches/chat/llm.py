"""The LLM behind voice chat: any server with OpenAI's chat API."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from speaches.chat.answers import AnswerReader, Delta, LlmError, parsed, refused
from speaches.chat.sse import EventParser
from speaches.errors import BadGateway, InvalidRequest, TimedOut, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from speaches.concurrency import Threads
    from speaches.settings import Settings

STREAM = "text/event-stream"
CONNECT_TIMEOUT = 10.0  # seconds
LONGEST_ANSWER = 64 * 1024**2  # bytes of an answer that is not streamed
KEPT = 30.0  # seconds that a connection waits for the next turn of a conversation
BROKEN_OFF = "The LLM's answer broke off."
AFTERWARDS = 0.25  # seconds that the end of the body may come after that of the answer; then the connection can serve the next one


class Llm:
    """A client that is made when it is first needed, and kept: connections are reused."""

    def __init__(self, settings: Settings, threads: Threads) -> None:
        self.model = settings.chat_completion_model
        self._base_url = settings.chat_completion_base_url
        self._key = settings.chat_completion_api_key
        self._timeout = settings.chat_completion_timeout
        self._threads = threads
        self._client: httpx.AsyncClient | None = None

    def check(self) -> None:
        """Raise Unavailable if no LLM is set, before any work is done for it."""
        if self._base_url is None:
            raise Unavailable(
                "Voice chat needs an LLM: set CHAT_COMPLETION_BASE_URL (any OpenAI-compatible API),"
                " and CHAT_COMPLETION_MODEL and CHAT_COMPLETION_API_KEY where it needs them.",
                code="llm_not_configured",
            )

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One answer.

        Raises:
            Unavailable: If no LLM is set.
            LlmError: With the LLM's own status.
            TimedOut: If it is silent for too long.
            BadGateway: If it can't be reached, or talks nonsense.
        """
        async with self._post(request) as response:
            answer = await self._threads.run(parsed, await _read(response))
        if not isinstance(answer.get("choices"), list) or not answer["choices"]:
            raise BadGateway("The LLM's answer has no choices; is CHAT_COMPLETION_BASE_URL right?")
        return answer

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[Delta]:
        """The answer as the LLM writes it. Leaving early ends the request, and with it, as a rule, the writing.

        Raises:
            As `complete` does, before the first delta or after any: BadGateway also where the answer breaks off.
        """
        reader, request = AnswerReader(), {**request, "stream": True}
        try:
            async with self._post(request) as response:
                if not _streams(request, response.headers.get("content-type", STREAM)):
                    yield reader.whole(await self._threads.run(parsed, await _read(response)))
                    return
                async with contextlib.aclosing(_events(response)) as events:
                    async for data in events:
                        if delta := reader.read(data):
                            yield delta
                        if reader.done:
                            await _ended(events)
                            break
        except (BadGateway, TimedOut):
            if not reader.finished:  # else nothing is lost
                raise
        if not reader.finished:
            raise BadGateway(BROKEN_OFF)

    async def passed_through(self, request: Mapping[str, Any]) -> AsyncGenerator[tuple[str, bytes]]:
        """The LLM's answer as it is. First its content type, with all of the answer unless it is a stream; then the bytes of a stream.

        Raises:
            As `complete` does, before the first item or, of a stream, after any: BadGateway also where the answer breaks off.
        """
        async with self._post(request) as response:
            content_type = response.headers.get("content-type") or (
                STREAM if request.get("stream") else "application/json"
            )
            if not _streams(request, content_type):
                whole = await _read(response)
                await self._threads.run(parsed, whole)
                yield content_type, whole
                return
            yield STREAM, b""
            async for data in response.aiter_bytes():
                yield STREAM, data

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _post(self, request: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        import httpx

        client, content = self._connected(httpx), await self._threads.run(_written, request)
        try:
            async with contextlib.aclosing(await _sent(client, content)) as response:
                if response.status_code >= 400:
                    raise refused(response.status_code, await _read(response), response.headers.get("retry-after"))
                if not response.is_success:
                    raise BadGateway(
                        f"The LLM answered with status {response.status_code}; is CHAT_COMPLETION_BASE_URL right?"
                    )
                yield response
        except LlmError as error:
            if self._key:
                error.hide(self._key.get_secret_value())
            raise
        except httpx.ConnectTimeout as error:
            raise TimedOut(
                f"The LLM at CHAT_COMPLETION_BASE_URL can't be reached within {CONNECT_TIMEOUT:g} seconds."
            ) from error
        except httpx.TimeoutException as error:
            raise TimedOut(
                f"The LLM took too long to answer: {self._timeout:g} seconds without a word (CHAT_COMPLETION_TIMEOUT)."
            ) from error
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise BadGateway(BROKEN_OFF) from error
        except httpx.DecodingError as error:
            raise BadGateway(f"The LLM's answer can't be decoded: {error}") from error
        except httpx.HTTPError as error:
            raise BadGateway(
                f"The LLM at CHAT_COMPLETION_BASE_URL can't be reached: {error or type(error).__name__}"
            ) from error

    def _connected(self, httpx: Any) -> httpx.AsyncClient:
        self.check()
        assert self._base_url is not None
        if self._client is None:
            key = {"authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
            url = base_url(self._base_url)
            self._client = httpx.AsyncClient(
                base_url=url,
                headers={"content-type": "application/json", **key},
                timeout=httpx.Timeout(self._timeout, connect=CONNECT_TIMEOUT),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=KEPT),
                verify=url.startswith("https:"),  # reading the certificates takes 30 ms
            )
        return self._client


async def _sent(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    """The head of the answer. A kept connection may be one that the LLM has just closed: then it is asked again, at last on a new one."""
    import httpx

    is_new = False

    async def watch(event: str, _: Any) -> None:
        nonlocal is_new
        is_new = is_new or event == "connection.connect_tcp.started"

    request = client.build_request("POST", "chat/completions", content=content, extensions={"trace": watch})
    while True:
        try:
            return await client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if is_new:
                raise


def _streams(request: Mapping[str, Any], content_type: str) -> bool:
    """Whether the answer is one; some servers call theirs plain text."""
    told = content_type.lower()
    return told.startswith(STREAM) or (bool(request.get("stream")) and not ("json" in told or "html" in told))


def _written(request: Mapping[str, Any]) -> bytes:
    """As ASCII, so that half characters, which JSON can carry, go through. Slow for messages with images: not for the event loop."""
    try:
        return json.dumps(request).encode()
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply.", code="invalid_json") from None


async def _read(response: httpx.Response) -> bytes:
    """A whole answer of bounded size."""
    whole = bytearray()
    async for chunk in response.aiter_bytes():
        whole += chunk
        if len(whole) > LONGEST_ANSWER:
            raise BadGateway(f"The LLM's answer is longer than {LONGEST_ANSWER} bytes.")
    return bytes(whole)


async def _events(response: httpx.Response) -> AsyncGenerator[str]:
    """The data of the answer's events."""
    parser = EventParser()
    async for chunk in response.aiter_bytes():
        for data in parser.feed(chunk):
            yield data
    for data in parser.finish():
        yield data


async def _ended(events: AsyncGenerator[str]) -> None:
    """Read the end of a body of which all that matters is known."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AFTERWARDS):
            await anext(events, None)


def base_url(url: str) -> str:
    """A base URL without a path gets `/v1`, as Ollama's users write it; the address of the chat itself loses its end."""
    url = url.rstrip("/").removesuffix("/chat/completions")
    return url + ("/" if urlsplit(url).path.strip("/") else "/v1/")
