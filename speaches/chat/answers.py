"""What LLMs answer, read as typed deltas: servers differ in most of what OpenAI's reference leaves open. Rules only.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from speaches.chat.thoughts import Thoughts
from speaches.errors import BadGateway, SpeachesError, Unauthorized

FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
LONGEST_QUOTE = 500  # characters of an answer that is no JSON which a message repeats
SHORTEST_KEY = 6  # characters; "x" or "none" stands for no key, and other words have it in them
LONGEST_WAIT = 86_400.0  # seconds after which it may be worth trying again
KNOWN = ("role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "audio")
"""What is read of a message; its audio is ours to make."""


class LlmError(SpeachesError):
    """The LLM refused: its status, and its words."""

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: float | None = None) -> None:
        error = body.get("error")
        told = error if isinstance(error, dict) else {}
        code = _text_or_none(told.get("code"))
        message = str(told.get("message") or error or body.get("message") or f"The LLM answered with status {status}.")
        if detail := body.get("detail"):  # FastAPI's, which may repeat the request
            message += f" {str(detail)[:LONGEST_QUOTE]}"
        if status == 401:  # whoever asked must not think that it is their own key
            message = f"The LLM refused this server's key (CHAT_COMPLETION_API_KEY): {message}"
            code = "llm_unauthorized" if code in (None, Unauthorized.default_code) else code
        super().__init__(message, param=_text_or_none(told.get("param")), code=code, retry_after=retry_after)
        self.status = status if status < 600 else 502  # type: ignore[misc]  # nobody could be told the others
        self.type = str(told.get("type") or _type_of(status))  # type: ignore[misc]

    def hide(self, secret: str) -> None:
        """Leave a key out of the message: some repeat the one that they refuse, and who asks us is not to know it."""
        if len(secret) < SHORTEST_KEY:
            return
        self.message = self.message.replace(secret, "***")
        self.args = (self.message,)

    @staticmethod
    def in_stream(body: Mapping[str, Any]) -> LlmError:
        """The LLM gave up in the middle. Some say by which status, as the error's code."""
        error = body.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return LlmError(code if isinstance(code, int) and 400 <= code < 600 else 502, body)


@dataclass(frozen=True)
class ToolCall:
    """A stretch of a call. The id and the name come with its first stretch, and only with it."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class Delta:
    """What one chunk adds to an answer."""

    text: str = ""
    reasoning: str = ""
    """Thoughts before the answer, which are not part of it, wherever the LLM writes them."""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    """One of FINISH_REASONS, with the last text."""
    usage: Mapping[str, Any] | None = None
    """`prompt_tokens`, `completion_tokens`, `total_tokens`, and what else the LLM tells."""
    id: str | None = None
    """The answer's, as the LLM names it."""
    model: str | None = None
    logprobs: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else the message has, such as `annotations`, as it is."""


class AnswerReader:
    """Chunks of one answer -> deltas."""

    def __init__(self) -> None:
        self._calls: dict[int, str | None] = {}
        """Index -> id of the calls so far."""
        self._thoughts = Thoughts()
        self.done = False
        """Whether the answer has said that it ends here."""
        self.finished = False
        """Whether it is known to be whole."""

    def read(self, data: str) -> Delta | None:
        """The delta of one event; None where there is nothing in it.

        Raises:
            LlmError: If the LLM gives up.
            BadGateway: If this is no chunk.
        """
        if data.strip() == "[DONE]":
            self.done = self.finished = True
            rest = Delta(*self._thoughts.finish())
            return rest if rest != Delta() else None
        chunk = parsed(data)
        delta = self._delta(chunk, "delta")
        return delta if delta != Delta(id=delta.id, model=delta.model) else None

    def whole(self, answer: Mapping[str, Any]) -> Delta:
        """An answer that was not streamed, as one delta."""
        delta = self._delta(answer, "message")
        self.done = self.finished = True
        text, thoughts = self._thoughts.finish()
        return replace(
            delta,
            text=delta.text + text,
            reasoning=delta.reasoning + thoughts,
            finish_reason=delta.finish_reason or "stop",
        )

    def _delta(self, chunk: Mapping[str, Any], name: str) -> Delta:
        choice = _first_choice(chunk)
        said = choice.get(name)
        said = said if isinstance(said, dict) else {}
        reason, logprobs = _finish_reason(choice.get("finish_reason")), choice.get("logprobs")
        text, thoughts = self._text("" if self.finished else text_in(said.get("content")), reason is not None)
        self.finished = self.finished or reason is not None
        return Delta(
            text,
            text_in(said.get("reasoning_content") or said.get("reasoning")) + thoughts,
            text_in(said.get("refusal")),
            tuple(self._tool_calls(said.get("tool_calls"))),
            reason,
            _usage(chunk.get("usage")),
            _text_or_none(chunk.get("id")),
            _text_or_none(chunk.get("model")),
            logprobs if isinstance(logprobs, dict) else None,
            {name: value for name, value in said.items() if value and name not in KNOWN},
        )

    def _text(self, written: str, ends: bool) -> tuple[str, str]:
        """The answer and the thoughts in a stretch of what is written."""
        text, thoughts = self._thoughts.push(written)
        rest, more = self._thoughts.finish() if ends else ("", "")
        return text + rest, thoughts + more

    def _tool_calls(self, calls: Any) -> list[ToolCall]:
        return [self._tool_call(call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []

    def _tool_call(self, call: Mapping[str, Any]) -> ToolCall:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        call_id = _text_or_none(call.get("id"))
        index = call.get("index")
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            index = self._index_of(call_id)
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):  # Ollama's own shape: an object
            arguments = json.dumps(arguments)
        if index in self._calls:  # some repeat the id and name, which clients would put together twice
            return ToolCall(index, arguments=arguments)
        self._calls[index] = call_id
        return ToolCall(index, call_id, _text_or_none(function.get("name")), arguments)

    def _index_of(self, call_id: str | None) -> int:
        """Which call is meant where none is said: that with this id, else the last one, unless the id is new."""
        for index, known in self._calls.items():
            if call_id is not None and known == call_id:
                return index
        last = max(self._calls, default=-1)
        return last + 1 if call_id is not None or last < 0 else last


def parsed(data: str | bytes) -> dict[str, Any]:
    """An answer, or a chunk of one, as a JSON object. Raises LlmError where it is an error, BadGateway where it is neither."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise BadGateway("The LLM's answer is not JSON; is CHAT_COMPLETION_BASE_URL right?") from None
    if not isinstance(values, dict):
        raise BadGateway("The LLM's answer is not a JSON object; is CHAT_COMPLETION_BASE_URL right?")
    if values.get("error"):
        raise LlmError.in_stream(values)
    return values


def refused(status: int, body: bytes, retry_after: str | None) -> LlmError:
    """The error of an answer whose status says that it is one."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = body.decode(errors="replace")[:LONGEST_QUOTE]
    if isinstance(values, list) and len(values) == 1:  # Gemini's
        (values,) = values
    return LlmError(
        status,
        values if isinstance(values, dict) else {"error": str(values)},
        _seconds(retry_after),
    )


def _seconds(retry_after: str | None) -> float | None:
    """The other form, a date, needs a clock that both agree on; whoever asked waits as long as they like then."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None  # "nan" is a number too, and not above 0


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def text_in(value: Any) -> str:
    """A text, or the texts of a list of parts, as some servers have it."""
    if isinstance(value, list):
        return "".join(part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str))
    return value if isinstance(value, str) else ""


def _text_or_none(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _usage(value: Any) -> dict[str, Any] | None:
    """With all three counts; some servers leave out the sum."""
    if not isinstance(value, dict):
        return None
    sent, written = value.get("prompt_tokens"), value.get("completion_tokens")
    if not isinstance(sent, int) or not isinstance(written, int):
        return None
    total = value.get("total_tokens")
    return value | {"total_tokens": total if isinstance(total, int) else sent + written}


def _finish_reason(value: Any) -> str | None:
    """Null while there is more; words that only one server knows mean that it has stopped."""
    if not isinstance(value, str) or not value:
        return None
    return value if value in FINISH_REASONS else "stop"
