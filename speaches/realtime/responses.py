"""Which responses there are, when the next one is created, and what each is to answer. Rules only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from speaches.errors import InvalidRequest, SpeachesError
from speaches.realtime import context
from speaches.realtime.config import SessionConfig
from speaches.realtime.conversation import Conversation
from speaches.realtime.fields import Tool, ToolChoice
from speaches.realtime.items import Item
from speaches.realtime.outbox import Outbox
from speaches.realtime.response import Response
from speaches.realtime.states import RESPONSE, State, after
from speaches.realtime.work import Respond, Speech, StopPlaying, StopResponding

MOST_RESPONSES = 16  # at once; all but one stand beside the conversation


class Responses:
    """Those under way: at most one in the conversation, others beside it.

    A turn that is to be answered is `due` until its transcript is there: what turns out to be no speech (a cough, a door) is not answered,
    and a question in two turns is answered once.
    """

    def __init__(self, outbox: Outbox, conversation: Conversation, *, webrtc: bool) -> None:
        self.active: Response | None = None
        """The one in the conversation."""
        self.due: set[str] = set()
        """Ids of turns that are to be answered as soon as it is known that something was said."""
        self._outbox = outbox
        self._conversation = conversation
        self._webrtc = webrtc
        self._under_way: dict[str, Response] = {}
        self._playing: dict[str, Response] = {}
        """WebRTC: those whose audio is not played to the end."""

    # --- Their lives ---

    def check_room(self, *, beside: bool) -> None:
        """Whether a client may create one. Raises InvalidRequest."""
        if not beside:
            after(RESPONSE, self.active.state if self.active else State.IDLE, "create")
        if len(self._under_way) >= MOST_RESPONSES:
            raise InvalidRequest(
                f"At most {MOST_RESPONSES} responses can be under way at a time.", code="too_many_responses"
            )

    def create(
        self,
        config: SessionConfig,
        *,
        beside: bool = False,
        given: Sequence[Item] | None = None,
        metadata: Mapping[str, str] | None = None,
        answers: frozenset[str] = frozenset(),
    ) -> None:
        """A new one, which waits for the transcripts of what it is to answer.

        Args:
            given: What the LLM is told instead of the conversation.
            answers: The turns that it answers by itself, without the client having asked.
        """
        conversation = None if beside else self._conversation
        response = Response(self._outbox, config, conversation, given, metadata, answers, self._webrtc)
        self._under_way[response.id] = response
        # Where what it answers can't be transcribed the client is told; of an older failure the LLM is told.
        response.waits_for = {item.id for item in self._context(response) if item.awaited} | answers
        if not beside:
            self.active = response
            self.due -= response.waits_for

    def proceed(self, config: SessionConfig, *, may_answer: bool) -> None:
        """Let those answer that have all that they waited for, and create the one that is due, if it `may_answer` now."""
        if self.due and self.active is None and may_answer:
            self._answer_due(config)
        for response in [response for response in self._under_way.values() if response.state is State.WAITING]:
            items = self._context(response)
            if not any(item.awaited for item in items):
                self._answer(response, items)

    def answering(self, response_id: str) -> Response | None:
        """One to which the driver may add. None where it has ended meanwhile."""
        response = self._under_way.get(response_id)
        return response if response is not None and response.state is State.ANSWERING else None

    def bound(self, response: Response, has_room: bool) -> None:
        """End one that would become too large."""
        if not has_room:
            self._outbox.ask(StopResponding(response.id))
            self.end(response, "finish", finish_reason="length")

    def interrupt(self) -> None:
        """The user speaks."""
        if self.active is not None:
            if not self.active.samples:
                self.due |= self.active.answers  # should this be a cough, they are still to be answered
            self.end(self.active, "interrupt")
        self.stop_playing()

    def cancel(self, response_id: str | None) -> None:
        """The client wants it to stop; None is the one in the conversation. Raises InvalidRequest if there is none."""
        response = self.active if response_id is None else self._under_way.get(response_id)
        after(RESPONSE, response.state if response else State.IDLE, "cancel")
        assert response is not None
        self.end(response, "cancel")

    def cut(self, item_id: str) -> str | None:
        """The client has stopped playing an item: what goes on with it would speak to nobody. Returns the response that ends, if any."""
        response = next((one for one in self._under_way.values() if one.is_speaking(item_id)), None)
        if response is None:
            return None
        self.end(response, "cancel")
        return response.id

    def end(
        self,
        response: Response,
        event: Literal["finish", "fail", "cancel", "interrupt"],
        *,
        finish_reason: str | None = None,
        error: SpeachesError | None = None,
    ) -> None:
        if event in ("cancel", "interrupt") and response.state is State.ANSWERING:
            self._outbox.ask(StopResponding(response.id))
        response.end(event, finish_reason=finish_reason, error=error)
        del self._under_way[response.id]
        if response is self.active:
            self.active = None

    # --- WebRTC: their audio is played by the driver ---

    def plays(self, response: Response) -> None:
        if self._webrtc:
            self._playing[response.id] = response

    def is_played(self, response: Response) -> bool:
        return response.id in self._playing

    def stop_playing(self) -> None:
        for response_id in self._playing:
            self._outbox.ask(StopPlaying(response_id))

    def played(self, response_id: str, samples: int) -> Response | None:
        """No more of it is played. Returns it, unless that was known."""
        response = self._playing.pop(response_id, None)
        if response is None:
            return None
        whole = samples >= response.samples
        self._outbox.emit(f"output_audio_buffer.{'stopped' if whole else 'cleared'}", response_id=response_id)
        for item, heard_ms in () if whole else response.cut(samples):
            if item.id in self._conversation:
                self._conversation.tell_truncated(item, 0, heard_ms)
        return response

    # --- What they answer ---

    def _context(self, response: Response) -> Sequence[Item]:
        return list(self._conversation) if response.context is None else response.context

    def _answer_due(self, config: SessionConfig) -> None:
        turns = [item for item_id in self.due if (item := self._conversation.get(item_id))]
        if any(item.awaited for item in turns):
            return
        answers, self.due = frozenset(self.due), set()
        if any(item.text or item.failure or item.silence is not None for item in turns):
            self.create(config, answers=answers)

    def _answer(self, response: Response, items: Sequence[Item]) -> None:
        waited = [item for item in items if item.id in response.waits_for]
        failed = [item.failure for item in waited if item.failure]
        if failed and len(failed) == len(waited):
            self.end(response, "fail", error=failed[-1])
            return
        response.state = after(RESPONSE, response.state, "answer")
        messages = context.messages(items, response.config)
        response.usage.text_in = context.tokens(messages)
        response.usage.seconds_in = sum(part.seconds for item in items for part in item.content)
        self._outbox.ask(_respond(response, messages))


def _respond(response: Response, messages: tuple[Mapping[str, Any], ...]) -> Respond:
    config = response.config
    spoken = config.audio.output
    return Respond(
        response.id,
        config.model,
        messages,
        Speech(spoken.model, spoken.voice, spoken.speed, spoken.format.type) if config.speaks else None,
        tuple({"type": "function", "function": _function(tool)} for tool in config.tools),
        _tool_choice(config),
        None if config.max_output_tokens == "inf" else config.max_output_tokens,
        config.temperature,
        config.parallel_tool_calls,
        config.reasoning.effort if config.reasoning else None,
    )


def _function(tool: Tool) -> dict[str, Any]:
    """As in Chat Completions."""
    return tool.model_dump(exclude={"type"}, exclude_none=True)


def _tool_choice(config: SessionConfig) -> str | dict[str, Any] | None:
    if not config.tools or config.tool_choice == "auto":
        return None
    if isinstance(config.tool_choice, ToolChoice):
        return {"type": "function", "function": {"name": config.tool_choice.name}}
    return config.tool_choice
