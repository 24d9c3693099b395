"""The LLM of the server that clients are tried against: it answers by what the last message says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from tests.chat.llm import DONE, SmallLlm, Step, chunk, finish, usage, written

# Sentences that the tiny recogniser knows, so that what a client got to hear can be transcribed again.
GREETING = "Thank you for calling, how can I help you?"
FORECAST = "The weather is nice today."
FAREWELL = "Goodbye, see you tomorrow."
STORY = (
    "Good morning and welcome to the show. The quick brown fox jumps over the lazy dog."
    " The happy rabbit runs past the old wolf. My name is Anna and I live in Paris."
    " My name is David and I live in Tokyo. We need bread, milk and coffee for Maria."
)
CALL = {
    "id": "call_weather",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "London"}'},
}


class Attendant(SmallLlm):
    """Knows the weather by calling `get_weather`, one story, and how to say hello and goodbye."""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        message = body["messages"][-1]
        said = _text(message).lower()
        if message["role"] == "tool":
            answer = FORECAST
        elif "weather" in said and body.get("tools"):
            return await SmallLlm.complete(replace(self, script=[*_calling(), usage(), DONE]), request)
        else:
            answer = STORY if "story" in said else FAREWELL if "meeting" in said else GREETING
        script: list[Step] = [*written(answer, words=3), finish(), usage(), DONE]
        return await SmallLlm.complete(replace(self, says=answer, script=script), request)


def _calling() -> list[Step]:
    """The call as LLMs stream it: its name first, its arguments in pieces."""
    function = {"name": "get_weather", "arguments": ""}
    begun = chunk({"role": "assistant", "tool_calls": [{"index": 0, **CALL, "function": function}]})
    arguments = json.dumps({"city": "London"})
    rest = [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        for piece in (arguments[:6], arguments[6:])
    ]
    return [begun, *rest, finish("tool_calls")]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
