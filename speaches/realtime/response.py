"""One response: its items as they grow, and the events in the order in which clients expect them. Rules only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from speaches.errors import SpeachesError
from speaches.realtime.config import SessionConfig
from speaches.realtime.context import CHARS_PER_TOKEN
from speaches.realtime.conversation import Conversation
from speaches.realtime.items import Content, Item, Status
from speaches.realtime.outbox import Outbox, told
from speaches.realtime.reading import plain_text
from speaches.realtime.spoken import WIRE_RATE, Spoken
from speaches.realtime.states import RESPONSE, State, after
from speaches.realtime.usage import Usage

if TYPE_CHECKING:
    from speaches.engines.base import SpokenWord

MOST_BYTES = 160 * 1024  # of a response's text and arguments as JSON: `response.done` has all of it
LONGEST_CALL_ID = 32  # characters, as OpenAI allows; some LLM servers make longer ones
DONE = {"finish": "completed", "fail": "failed", "cancel": "cancelled", "interrupt": "cancelled"}
REASONS = {"cancel": "client_cancelled", "interrupt": "turn_detected"}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""An LLM's reasons to stop early, in OpenAI's words for it here."""


@dataclass
class Output:
    """An item of a response."""

    item: Item
    index: int


@dataclass
class Response:
    """From `response.created` to `response.done`.

    Args:
        config: The session's settings, with what the client wants otherwise for this response.
        conversation: Where its items go; None where it stands beside the conversation.
        context: The items that the LLM is told instead of the conversation's.
        answers: Ids of the turns that it answers by itself, without the client having asked.
    """

    outbox: Outbox
    config: SessionConfig
    conversation: Conversation | None
    context: Sequence[Item] | None = None
    metadata: Mapping[str, str] | None = None
    answers: frozenset[str] = frozenset()
    webrtc: bool = False
    id: str = ""
    state: State = State.IDLE
    usage: Usage = field(default_factory=Usage)
    waits_for: Set[str] = frozenset()
    """Ids of the items whose transcripts it waited for."""
    _outputs: list[Output] = field(default_factory=list)
    _message: Output | None = None
    """The message that is being written."""
    _calls: dict[str, Output] = field(default_factory=dict)
    """The calls that are being written, by the driver's key."""
    _room: int = MOST_BYTES

    def __post_init__(self) -> None:
        self.id = self.outbox.new_id("resp")
        self.state = after(RESPONSE, self.state, "create")
        self.outbox.emit("response.created", response=self.for_client("in_progress"))

    @property
    def samples(self) -> int:
        """How much audio has left, at 24 kHz."""
        return self.usage.samples_out

    def is_speaking(self, item_id: str) -> bool:
        """Whether this is the item that it is speaking."""
        return self._message is not None and self._message.item.id == item_id

    # --- What the LLM says ---

    def text(self, delta: str) -> bool:
        """More text. Returns whether there is room for still more."""
        delta = self._fitting(delta)
        if delta:
            output = self._writing("output_text")
            output.item.content[0].text += delta
            self._emit("response.output_text.delta", output, content_index=0, delta=delta)
        return self._room > 0

    def speech(self, text: str, samples: int, words: Sequence[SpokenWord]) -> bool:
        """A piece begins to be spoken. Returns whether there is room for still more."""
        text = self._fitting(text)
        output = self._writing("output_audio")
        spoken = output.item.content[0].spoken
        assert spoken is not None
        spoken.begin(text, samples, words)
        output.item.content[0].text = spoken.written
        if text:
            self._emit("response.output_audio_transcript.delta", output, content_index=0, delta=text)
        return self._room > 0

    def audio(self, audio: str, samples: int) -> None:
        """Audio leaves now."""
        output = self._writing("output_audio")
        spoken = output.item.content[0].spoken
        assert spoken is not None
        spoken.send(samples)
        if self.webrtc and not self.usage.samples_out:
            self.outbox.emit("output_audio_buffer.started", response_id=self.id)
        self.usage.samples_out += samples
        if audio and not self.webrtc:
            self._emit("response.output_audio.delta", output, content_index=0, delta=audio)

    def call(self, key: str, name: str, arguments: str, call_id: str | None) -> bool:
        """More of a function call. Returns whether there is room for still more."""
        arguments = self._fitting(arguments)
        if key not in self._calls:
            self._close_message("completed")
            item = Item(self.outbox.new_id("item"), "function_call", "in_progress", name=self._fitting(name))
            item.call_id = self._call_id(call_id)
            self._calls[key] = self._add(item)
        output = self._calls[key]
        output.item.arguments += arguments
        if arguments:
            self._emit("response.function_call_arguments.delta", output, call_id=output.item.call_id, delta=arguments)
        return self._room > 0

    def cut(self, samples: int) -> Iterator[tuple[Item, int]]:
        """No more than so much of its audio was played. Yields the messages that this shortens, and to how many milliseconds."""
        for output in self._outputs:
            spoken = output.item.content[0].spoken if output.item.content else None
            if spoken is None:
                continue
            heard = min(samples, spoken.sent)
            samples -= heard
            if heard < spoken.sent:
                spoken.cut(heard)
                output.item.content[0].text = spoken.heard
                yield output.item, heard * 1000 // WIRE_RATE

    # --- The end ---

    def end(
        self,
        event: Literal["finish", "fail", "cancel", "interrupt"],
        *,
        finish_reason: str | None = None,
        error: SpeachesError | None = None,
    ) -> None:
        """Close what is open, and say how it ended."""
        self.state = after(RESPONSE, self.state, event)
        self.usage.text_out = self.usage.text_out or self._written // CHARS_PER_TOKEN
        reason = INCOMPLETE.get(finish_reason or "") if event == "finish" else REASONS.get(event)
        status = "incomplete" if event == "finish" and reason else DONE[event]
        item_status: Status = "completed" if status == "completed" else "incomplete"
        self._close_message(item_status)
        self._close_calls(item_status)
        details: dict[str, Any] | None = None
        if status != "completed":
            details = {"type": status} | ({"reason": reason} if reason else {})
        if details and error is not None:
            details["error"] = {key: value for key, value in told(error).items() if key != "param"}
        self.outbox.emit("response.done", response=self.for_client(status, details, self.usage.for_client()))
        self.outbox.emit("rate_limits.updated", rate_limits=[])  # there are none

    def for_client(
        self, status: str, details: dict[str, Any] | None = None, usage: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        spoken = self.config.audio.output
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [output.item.for_client() for output in self._outputs],
            "conversation_id": self.conversation.id if self.conversation else None,
            "output_modalities": list(self.config.output_modalities),
            "max_output_tokens": self.config.max_output_tokens,
            "audio": {"output": {"format": spoken.format.for_client, "voice": spoken.voice}},
            "usage": usage,
            "metadata": dict(self.metadata) if self.metadata else None,
        }

    # --- Its items ---

    def _writing(self, kind: Literal["output_text", "output_audio"]) -> Output:
        """The message that is being written; a new one where there is none of this kind."""
        if self._message is not None and self._message.item.content[0].type == kind:
            return self._message
        self._close_message("completed")
        item = Item(self.outbox.new_id("item"), "message", "in_progress", role="assistant")
        self._message = self._add(item)
        item.content.append(Content(kind, spoken=Spoken() if kind == "output_audio" else None))
        self._emit("response.content_part.added", self._message, content_index=0, part=_part(item))
        return self._message

    def _add(self, item: Item) -> Output:
        output = Output(item, len(self._outputs))
        self._outputs.append(output)
        self._emit_item("response.output_item.added", output)
        if self.conversation is not None:
            self.conversation.append(item)
            self.conversation.tell("added", item)
        return output

    def _close_message(self, status: Status) -> None:
        if self._message is None:
            return
        output, self._message = self._message, None
        content = output.item.content[0]
        if content.spoken is not None:
            # Of speech that was broken off, only what had left can have been heard.
            content.text = content.spoken.written if status == "completed" else content.spoken.heard
            self._emit("response.output_audio.done", output, content_index=0)
            self._emit("response.output_audio_transcript.done", output, content_index=0, transcript=content.text)
        else:
            self._emit("response.output_text.done", output, content_index=0, text=content.text)
        self._emit("response.content_part.done", output, content_index=0, part=_part(output.item))
        self._close(output, status)

    def _close_calls(self, status: Status) -> None:
        for output in self._calls.values():
            item = output.item
            # Clients call the function at this event: not with half of its arguments.
            if status == "completed":
                self._emit(
                    "response.function_call_arguments.done",
                    output,
                    call_id=item.call_id,
                    name=item.name,
                    arguments=item.arguments,
                )
            self._close(output, status)
        self._calls = {}

    def _close(self, output: Output, status: Status) -> None:
        output.item.status = status
        if self.conversation is not None and output.item.id in self.conversation:
            self.conversation.weigh(output.item)
            self.conversation.tell("done", output.item)
        self._emit_item("response.output_item.done", output)

    @property
    def _written(self) -> int:
        """Characters of all its items."""
        return sum(len(output.item.text) + len(output.item.arguments) for output in self._outputs)

    def _call_id(self, given: str | None) -> str:
        known = {output.item.call_id for output in self._outputs}
        used = given in known or (self.conversation is not None and self.conversation.has_call(given or ""))
        return self.outbox.new_id("call") if not given or used or len(given) > LONGEST_CALL_ID else given

    def _fitting(self, text: str) -> str:
        """As much of a text as there is room for; without what can't be sent."""
        text = plain_text(text)
        size = len(json.dumps(text, ensure_ascii=False).encode()) - 2
        if size > self._room:
            text, size = text[: self._room // 6], self._room  # no character takes more than six bytes
        self._room -= size
        return text

    def _emit(self, event_type: str, output: Output, **fields: Any) -> None:
        self.outbox.emit(event_type, response_id=self.id, item_id=output.item.id, output_index=output.index, **fields)

    def _emit_item(self, event_type: str, output: Output) -> None:
        self.outbox.emit(event_type, response_id=self.id, output_index=output.index, item=output.item.for_client())


def _part(item: Item) -> dict[str, Any]:
    content = item.content[0]
    return (
        {"type": "audio", "transcript": content.text}
        if content.type == "output_audio"
        else {"type": "text", "text": content.text}
    )
