"""A small LLM on loopback, which answers by a script.

llm = SmallLlm(script=["Hello. ", gate := asyncio.Event(), "And more.", finish()])
async with listening(llm) as url: ...      # for CHAT_COMPLETION_BASE_URL
gate.set()                                 # it goes on writing
await llm.left.wait()                      # whoever asked has gone in the middle
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from aiohttp import web

from tests.fakes import PATIENCE

DEATH = "the connection dies"
RESET = "the connection is reset"
DONE = b"data: [DONE]\n\n"
Step: TypeAlias = str | dict[str, Any] | bytes | asyncio.Event
"""A text to write, a chunk, raw bytes, or a gate before which it waits. DEATH and RESET break off."""


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {
        "id": "chatcmpl-llm",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "llama",
        "choices": choices,
    } | more


def finish(reason: str = "stop") -> dict[str, Any]:
    return chunk({}, reason)


USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}


def usage() -> dict[str, Any]:
    return chunk({}) | {"choices": [], "usage": USAGE}


def event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def written(text: str, words: int = 1) -> list[str]:
    """A text as an LLM streams it: a few words at a time."""
    parts = [f"{word} " for word in text.split()]
    return ["".join(parts[start : start + words]) for start in range(0, len(parts), words)]


@dataclass
class SmallLlm:
    """Answers every chat in the same way, and remembers what it was asked."""

    says: str = "The recording says hello world."
    """Its answer where it is not streamed."""
    script: Sequence[Step] = ()
    """Its answer where it is."""
    status: int = 200
    error: dict[str, Any] = field(default_factory=lambda: {"message": "Slow down.", "type": "requests", "code": "rate"})
    raw: bytes | None = None
    """The body of its answer, in place of all that."""
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    told: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request."""
    ports: list[int] = field(default_factory=list)
    """The other side's port of each request: equal ones came over one connection."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody has asked."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody has gone before the end."""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.reached.set()
        self.keys.append(request.headers.get("authorization"))
        self.told.append({name.lower(): value for name, value in request.headers.items()})
        assert request.transport is not None
        self.ports.append(request.transport.get_extra_info("peername")[1])
        if self.raw is not None:
            return web.Response(
                body=self.raw, status=self.status, headers={"content-type": self.content_type, **self.headers}
            )
        if self.status != 200:
            return web.json_response({"error": self.error}, status=self.status, headers=self.headers)
        if body.get("stream"):
            return await self._streamed(request)
        choices = [
            {"index": n, "finish_reason": "stop", "message": {"role": "assistant", "content": self.says}}
            for n in range(body.get("n") or 1)
        ]
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "llama",
                "choices": choices,
                "usage": USAGE,
            }
        )

    async def _streamed(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": self.content_type})
        try:
            await answer.prepare(request)
            for step in self.script:
                if step in (DEATH, RESET):
                    assert request.transport is not None
                    if step == RESET:
                        linger = struct.pack("ii", 1, 0)
                        request.transport.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, linger
                        )
                    request.transport.abort()
                    return answer
                if isinstance(step, asyncio.Event):
                    await asyncio.wait_for(step.wait(), PATIENCE)
                elif isinstance(step, bytes):
                    await answer.write(step)
                else:
                    await answer.write(event(chunk({"content": step}) if isinstance(step, str) else step))
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return answer


class Answering(Protocol):
    async def complete(self, request: web.Request) -> web.StreamResponse: ...


@asynccontextmanager
async def listening(llm: Answering) -> AsyncIterator[str]:
    """The address of `llm`."""
    upstream = web.Application()
    upstream.router.add_post("/v1/chat/completions", llm.complete)
    runner = web.AppRunner(upstream, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
