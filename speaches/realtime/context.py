"""A conversation's items -> messages for an LLM, in the form of Chat Completions. Rules only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from speaches.realtime.config import SessionConfig
from speaches.realtime.fields import Retention
from speaches.realtime.items import Item

CHARS_PER_TOKEN = 4  # of English text
CONTEXT_TOKENS = 28_224  # what OpenAI's models take: 32k less the answer
UNHEARD = "(unintelligible)"
NO_RESULT = "(no result yet)"


def messages(items: Iterable[Item], config: SessionConfig) -> tuple[Mapping[str, Any], ...]:
    """What the LLM is told: the instructions, then as much of the conversation as fits, the newest of it."""
    told = _kept([item for item in items if _counts(item)], config)
    results = {item.call_id: item.output for item in told if item.type == "function_call_output"}
    calls = {item.call_id for item in told if item.type == "function_call"}
    written: list[dict[str, Any]] = [{"role": "system", "content": config.instructions}] if config.instructions else []
    pending: list[Item] = []
    for item in told:
        if item.type == "function_call":
            pending.append(item)
            continue
        if item.type == "function_call_output" and item.call_id in calls:
            continue  # stands behind its call
        _write_calls(pending, results, written)
        written.append(_message(item))
    _write_calls(pending, results, written)
    return tuple(written)


def tokens(written: Iterable[Mapping[str, Any]]) -> int:
    """About how many tokens messages have, for an LLM that does not say."""
    return sum(_length(message) for message in written) // CHARS_PER_TOKEN


def _length(message: Mapping[str, Any]) -> int:
    content, calls = message.get("content") or "", message.get("tool_calls", ())
    parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return sum(map(len, parts)) + sum(len(call["function"]["name"] + call["function"]["arguments"]) for call in calls)


def _counts(item: Item) -> bool:
    """Whether there is anything in it to tell."""
    if item.type == "function_call":
        return item.status == "completed"  # of an unfinished one the arguments are no JSON
    return item.type == "function_call_output" or bool(
        item.text or item.failure or item.silence is not None or any(part.image for part in item.content)
    )


def _kept(items: Sequence[Item], config: SessionConfig) -> Sequence[Item]:
    """The newest items that fit, by the session's `truncation`."""
    if config.truncation == "disabled":
        return items
    limit, share = CONTEXT_TOKENS, 1.0
    if isinstance(config.truncation, Retention):
        share, limits = config.truncation.retention_ratio, config.truncation.token_limits
        limit = (limits.post_instructions if limits else None) or limit
    sizes = [len(item.text) + len(item.arguments) + len(item.output) for item in items]
    if sum(sizes) <= limit * CHARS_PER_TOKEN:
        return items
    # More is dropped than must be, so that the LLM's cache of what it has read is of use for some turns.
    room, first = limit * CHARS_PER_TOKEN * share, len(items)
    while first and (room := room - sizes[first - 1]) >= 0:
        first -= 1
    return items[min(first, len(items) - 1) :]  # the newest stays in any case


def _message(item: Item) -> dict[str, Any]:
    if item.type == "function_call_output":  # of a call that is not there any more
        return {"role": "system", "content": f"Result of an earlier function call: {item.output}"}
    if item.silence is not None:
        return {"role": "user", "content": f"(The user has said nothing for {item.silence / 1000:.0f} seconds.)"}
    text = item.text or (UNHEARD if item.failure else "")
    pictures = [
        {"type": "image_url", "image_url": dict(part.image)} for part in item.content if part.type == "input_image"
    ]
    if pictures:
        return {"role": item.role, "content": ([{"type": "text", "text": text}] if text else []) + pictures}
    return {"role": item.role, "content": text}


def _write_calls(pending: list[Item], results: Mapping[str, str], written: list[dict[str, Any]]) -> None:
    """Calls that were made together, with their results: LLMs refuse one without the other."""
    if not pending:
        return
    made = [
        {"id": item.call_id, "type": "function", "function": {"name": item.name, "arguments": item.arguments or "{}"}}
        for item in pending
    ]
    if written and written[-1]["role"] == "assistant" and "tool_calls" not in written[-1]:
        written[-1]["tool_calls"] = made
    else:
        written.append({"role": "assistant", "content": None, "tool_calls": made})
    written += [
        {"role": "tool", "tool_call_id": item.call_id, "content": results.get(item.call_id, NO_RESULT)}
        for item in pending
    ]
    pending.clear()
