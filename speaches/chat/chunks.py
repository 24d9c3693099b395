"""A spoken answer as the chunks of OpenAI's stream. Rules only.

Clients put chunks together by adding up strings and numbers (`openai/lib/streaming/_deltas.py`): so the audio's id, its expiry and the role
are sent once, and data in lengths that base64 needs no padding for.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from time import time
from typing import Any

from speaches.chat.answers import Delta, ToolCall
from speaches.chat.history import new_id

WHOLE = 6  # bytes: a number of samples (2 bytes) and of base64's groups (3 bytes)
LARGEST = 48_000  # bytes of PCM in a chunk: a second at 24 kHz
SILENCE = 4_800  # bytes that are heard of an answer such as "..."


class SpokenChunks:
    """Makes the chunks of one answer. After each call, send what it returns."""

    def __init__(self, model: str) -> None:
        self.audio_id = new_id()
        self._speaks = False
        """Whether there is anything to say."""
        self.bytes_spoken = 0
        """Bytes of PCM so far."""
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time()),
            "model": model,
        }
        self._begun = False
        self._is_named = False
        self._rest = b""
        """PCM that waits to become a whole number of groups."""
        self._finish_reason = "stop"
        self._usage: Mapping[str, Any] | None = None

    def written(self, delta: Delta) -> list[dict[str, Any]]:
        """What the LLM has written. Its end and its usage wait for the end of the speech."""
        first = self._begin(delta)
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._usage = delta.usage or self._usage
        said: dict[str, Any] = {}
        if delta.text:
            said["audio"] = self._identity() | {"transcript": delta.text}
            self._speaks = True
        said |= {"refusal": delta.refusal} if delta.refusal else {}
        said |= {"reasoning_content": delta.reasoning} if delta.reasoning else {}
        said |= {"tool_calls": [_tool_call(call) for call in delta.tool_calls]} if delta.tool_calls else {}
        said |= delta.more
        return [*first, self._chunk(said, logprobs=delta.logprobs)] if said or delta.logprobs else first

    def spoken(self, pcm: bytes) -> list[dict[str, Any]]:
        """What was spoken, s16le."""
        whole = self._rest + pcm
        cut = len(whole) // WHOLE * WHOLE
        self._rest = whole[cut:]
        self.bytes_spoken += cut
        return [self._audio(whole[start : min(start + LARGEST, cut)]) for start in range(0, cut, LARGEST)]

    def rest(self) -> list[dict[str, Any]]:
        """What is missing to a whole number of groups, as silence; and to some audio, where there was nothing to say but a transcript."""
        if self._speaks and not self.bytes_spoken and not self._rest:
            return self.spoken(bytes(SILENCE))
        return self.spoken(bytes(WHOLE - len(self._rest))) if self._rest else []

    def end(self, expires_at: int | None, usage: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """All is said.

        Args:
            expires_at: When the audio does, in seconds since 1970; None where there is none.
            usage: Where it was asked for.
        """
        chunks = self._begin(Delta())
        if expires_at is not None:
            chunks.append(self._chunk({"audio": {"expires_at": expires_at}}))
        chunks.append(self._chunk({}, self._finish_reason))
        return [*chunks, {**self._head, "choices": [], "usage": usage}] if usage is not None else chunks

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """The LLM's, where it has told."""
        return self._usage

    def _begin(self, delta: Delta) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        self._head |= {"id": delta.id or self._head["id"], "model": delta.model or self._head["model"]}
        audio = {"audio": self._identity() | {"transcript": ""}} if delta.text else {}
        return [self._chunk({"role": "assistant", "content": None} | audio)]

    def _identity(self) -> dict[str, Any]:
        """The audio's id, for the first chunk that speaks of it: an answer that only calls tools has no audio."""
        named, self._is_named = self._is_named, True
        return {} if named else {"id": self.audio_id}

    def _audio(self, pcm: bytes) -> dict[str, Any]:
        return self._chunk({"audio": {"data": base64.b64encode(pcm).decode()}})

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        more = {} if logprobs is None else {"logprobs": logprobs}
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **more}]}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name} if call.name is not None else {}
    identity = {"id": call.id, "type": "function"} if call.id is not None else {}
    return {"index": call.index, **identity, "function": {**function, "arguments": call.arguments}}
