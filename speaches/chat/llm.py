"""The LLM behind voice chat: any server with OpenAI's chat API."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from speaches.errors import BadGateway, SpeachesError, TimedOut, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from speaches.settings import Settings

TIMEOUT = 600.0  # seconds, OpenAI's own


class LlmError(SpeachesError):
    """The LLM refused: its status, and its words."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        error = body.get("error")
        told = error if isinstance(error, dict) else {}
        super().__init__(str(told.get("message") or error or f"The LLM answered with status {status}."))
        self.status = status  # type: ignore[misc]
        self.type = str(told.get("type") or ("invalid_request_error" if status < 500 else "server_error"))  # type: ignore[misc]
        self.param = told.get("param")
        self.code = told.get("code")


class Llm:
    """A client that is made when it is first needed, and kept: connections are reused."""

    def __init__(self, settings: Settings) -> None:
        self.model = settings.chat_completion_model
        self._base_url = settings.chat_completion_base_url
        self._key = settings.chat_completion_api_key
        self._client: httpx.AsyncClient | None = None

    async def complete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One answer.

        Raises:
            Unavailable: If no LLM is set.
            LlmError: With the LLM's own status.
            BadGateway: If it can't be reached, or talks nonsense.
        """
        async with self._post(request) as response:
            try:
                answer = json.loads(await response.aread())
            except ValueError:
                raise BadGateway("The LLM's answer is not JSON; is CHAT_COMPLETION_BASE_URL right?") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            raise BadGateway("The LLM's answer has no choices; is CHAT_COMPLETION_BASE_URL right?")
        return answer

    async def passed_through(self, request: Mapping[str, Any]) -> AsyncGenerator[tuple[str, bytes], None]:
        """The LLM's answer as it comes: its content type first, then bytes."""
        async with self._post(request) as response:
            yield response.headers.get("content-type", "application/json"), b""
            async for data in response.aiter_bytes():
                yield "", data

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _post(self, request: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        import httpx

        client = self._connected(httpx)
        try:
            async with client.stream("POST", "chat/completions", json=request) as response:
                if response.status_code >= 400:
                    raise LlmError(response.status_code, _parsed(await response.aread()))
                yield response
        except httpx.TimeoutException as error:
            raise TimedOut("The LLM took too long to answer.") from error
        except httpx.HTTPError as error:
            raise BadGateway(
                f"The LLM at CHAT_COMPLETION_BASE_URL can't be reached: {error or type(error).__name__}"
            ) from error

    def _connected(self, httpx: Any) -> httpx.AsyncClient:
        if self._base_url is None:
            raise Unavailable(
                "Voice chat needs an LLM: set CHAT_COMPLETION_BASE_URL (any OpenAI-compatible API),"
                " and CHAT_COMPLETION_MODEL and CHAT_COMPLETION_API_KEY where it needs them.",
                code="llm_not_configured",
            )
        if self._client is None:
            headers = {"authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
            self._client = httpx.AsyncClient(
                base_url=base_url(self._base_url), headers=headers, timeout=httpx.Timeout(TIMEOUT, connect=10)
            )
        return self._client


def base_url(url: str) -> str:
    """A base URL without a path gets `/v1`, as Ollama's users write it."""
    return url.rstrip("/") + ("/" if urlsplit(url).path.strip("/") else "/v1/")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {"error": body.decode(errors="replace")[:500]}
    return answer if isinstance(answer, dict) else {"error": str(answer)}
