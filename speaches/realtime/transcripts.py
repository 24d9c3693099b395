"""Speech of which the text is to come, and how the client is told of it. Rules only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speaches.errors import SpeachesError
from speaches.realtime.items import Content, Item
from speaches.realtime.outbox import Outbox, told
from speaches.realtime.turn import Heard, Transcript, Turn
from speaches.realtime.work import Hearing, StopTranscribing, Transcribe

if TYPE_CHECKING:
    from speaches.engines.base import Samples

MOST_LOGPROB_BYTES = 128 * 1024  # of a transcript's; more would make its event too large


@dataclass(eq=False)
class _Awaited:
    item: Item
    content: Content
    turn: Turn | None = None
    """The turn of which the client wants to know the transcript."""
    heard: Heard = None
    """What came of it, while a turn before it is still being recognised."""


class Transcripts:
    """What is awaited, by the id of the Transcribe that was asked for it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._awaited: dict[str, _Awaited] = {}
        self._queue: list[_Awaited] = []
        """Turns in the order of their items, in which the client is told: a short one may be recognised before a long one."""

    def ask(self, item: Item, speech: Mapping[int, Samples], hearing: Hearing) -> None:
        """Have the speech in a client's item transcribed, by the place of its content."""
        for place, samples in speech.items():
            work_id = self._outbox.new_id("transcribe")
            self._awaited[work_id] = _Awaited(item, item.content[place])
            self._outbox.ask(Transcribe(work_id, samples, hearing))

    def expect(self, item: Item, turn: Turn, *, told: bool) -> None:
        """A turn was committed as an item; its transcript may be there already."""
        awaited = _Awaited(item, item.content[0], turn if told else None)
        if told:
            self._queue.append(awaited)
        if turn.heard is not None:
            self._arrive(awaited, turn.heard)
        else:
            assert turn.work_id is not None
            self._awaited[turn.work_id] = awaited

    def settle(self, work_id: str, heard: Transcript | SpeachesError) -> None:
        """A Transcribe's result. Nothing happens where nobody waits for it any more."""
        if awaited := self._awaited.pop(work_id, None):
            self._arrive(awaited, heard)

    def forget(self, item: Item) -> None:
        """The item was deleted."""
        for work_id in [work_id for work_id, awaited in self._awaited.items() if awaited.item is item]:
            del self._awaited[work_id]
            self._outbox.ask(StopTranscribing(work_id))
        for part in item.content:
            part.awaited = False
        self._queue = [awaited for awaited in self._queue if awaited.item is not item]
        self._tell_those_next()

    def show(self, item_id: str, delta: str) -> None:
        """More of a transcript."""
        if delta:
            self._tell(item_id, "delta", delta=delta)

    def _arrive(self, awaited: _Awaited, heard: Transcript | SpeachesError) -> None:
        if awaited.turn is None:
            self._put(awaited, heard)
        else:
            awaited.heard = heard
            self._tell_those_next()

    def _tell_those_next(self) -> None:
        """A failure takes its turn like a transcript."""
        while self._queue and (heard := self._queue[0].heard) is not None:
            self._put(self._queue.pop(0), heard)

    def _put(self, awaited: _Awaited, heard: Transcript | SpeachesError) -> None:
        item, content, turn = awaited.item, awaited.content, awaited.turn
        content.awaited = False
        if isinstance(heard, SpeachesError):
            item.failure = heard
            if turn is not None:
                error = {key: value for key, value in told(heard).items() if value is not None}
                self._tell(item.id, "failed", error=error)
            return
        content.text = heard.text
        if turn is not None:
            self.show(item.id, turn.partials.rest(heard.text))
            usage = {"type": "duration", "seconds": round(content.seconds, 3)}
            logprobs = {"logprobs": list(heard.logprobs)} if heard.logprobs and _fits(heard.logprobs) else {}
            self._tell(item.id, "completed", transcript=heard.text, usage=usage, **logprobs)

    def _tell(self, item_id: str, what: str, **fields: Any) -> None:
        event_type = f"conversation.item.input_audio_transcription.{what}"
        self._outbox.emit(event_type, item_id=item_id, content_index=0, **fields)


def _fits(logprobs: Sequence[Mapping[str, Any]]) -> bool:
    return len(json.dumps(logprobs, ensure_ascii=False).encode()) <= MOST_LOGPROB_BYTES
