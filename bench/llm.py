"""An LLM that writes the same answer each time, word by word at a set pace, and notes when it wrote what."""

from __future__ import annotations

import asyncio
import json
import time

from aiohttp import web

THINKS = 0.2  # seconds before the first word
WORD = 0.02  # seconds from one word to the next: 50 tokens a second
FIRST_SENTENCE = "Here is what I have found."
ANSWER = f"""{FIRST_SENTENCE} The meeting starts at nine in the morning, and the train to London leaves from the second platform at noon.
The weather tomorrow will be nice and dry all day. After that I would like to tell you a long story about a little bird that lived
in the garden of an old house by the river, and that never stopped talking. It sang in the morning, and it sang in the evening."""


class PacedLlm:
    """Answers every chat."""

    def __init__(self, thinks: float = THINKS, word: float = WORD) -> None:
        self._thinks = thinks
        self._word = word
        self.asked: list[float] = []
        """When each request came, by `time.perf_counter`."""
        self.wrote_sentence: list[float] = []
        """When the first sentence of each answer was whole: the word after it shows that it was its end."""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(time.perf_counter())
        await request.read()
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        await asyncio.sleep(self._thinks)
        text = ""
        for word in ANSWER.split():
            if text.strip() == FIRST_SENTENCE:
                self.wrote_sentence.append(time.perf_counter())
            text += f"{word} "
            await answer.write(_event({"content": f"{word} "}))
            await asyncio.sleep(self._word)
        await answer.write(_event({}, "stop") + b"data: [DONE]\n\n")
        return answer


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    chunk = {
        "id": "chatcmpl-paced",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "paced",
        "choices": choices,
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()
