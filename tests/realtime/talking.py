"""A session to talk with, in the words of a conversation. All that it sends is checked against what clients rely on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from speaches.engines.base import SpokenWord, Word
from speaches.errors import SpeachesError
from speaches.realtime.config import Kind, new_session
from speaches.realtime.session import Session
from speaches.realtime.work import Listen, Respond, Transcribe, Work
from tests.realtime.legality import Legality

W = TypeVar("W", bound=Work)
FRAME = 512


class Talk:
    """One connection: what is done to it by name, what it sent since by `sent` and `events`."""

    def __init__(
        self, kind: Kind = "realtime", *, webrtc: bool = False, has_ending_model: bool = False, **session: Any
    ) -> None:
        numbers: dict[str, itertools.count[int]] = {}

        def new_id(prefix: str) -> str:
            return f"{prefix}_{next(numbers.setdefault(prefix, itertools.count(1)))}"

        self.legality = Legality()
        self.session = Session(
            new_session(kind, session=session or None),
            new_id=new_id,
            expires_at=1_800_000_000,
            webrtc=webrtc,
            has_ending_model=has_ending_model,
        )
        self.work: list[Work] = []
        """Asked for and not yet taken."""
        self.events: list[dict[str, Any]] = []
        """What was sent since the last `sent`."""
        self._heard = 0
        self.collect()
        self.created = Talk.took(self)
        """What was sent before anything was done."""

    # --- What it does ---

    def collect(self) -> None:
        for event in self.session.events_to_send():
            self.legality.see(event)
            self.events.append(event)
        self.work += self.session.work_to_do()

    def sent(self) -> list[str]:
        """The types of what was sent since the last time."""
        return [event["type"] for event in self.took()]

    def took(self) -> list[dict[str, Any]]:
        """The events that were sent since the last time."""
        self.collect()
        taken, self.events = self.events, []
        return taken

    def one(self, event_type: str) -> dict[str, Any]:
        """The only event of a type among those not yet taken; all of them are taken."""
        found = [event for event in self.took() if event["type"] == event_type]
        assert len(found) == 1, f"{len(found)} of {event_type}"
        return found[0]

    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.one("error")["error"]
        return error

    def asked(self, kind: type[W]) -> list[W]:
        """The work of a kind that was asked for since the last time."""
        self.collect()
        found: list[W] = [work for work in self.work if isinstance(work, kind)]
        self.work = [work for work in self.work if not isinstance(work, kind)]
        return found

    # --- What the client does ---

    def send(self, event_type: str, audio: Mapping[str, Any] | None = None, **fields: Any) -> None:
        self.session.receive({"type": event_type, **fields}, audio)
        self.collect()

    def update(self, **session: Any) -> None:
        self.send("session.update", session=session)

    def types(self, text: str, item_id: str | None = None) -> None:
        item: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send("conversation.item.create", item=item | ({"id": item_id} if item_id else {}))

    # --- What the user does ---

    def hears(self, milliseconds: int, chance: float) -> None:
        """Audio comes in frames, each with this chance of speech."""
        for _ in range(max(1, round(milliseconds / 32))):
            self.session.heard(np.zeros(FRAME, np.float32), [chance])
            self.collect()

    def speaks(self, milliseconds: int = 640) -> None:
        self.hears(milliseconds, 0.9)

    def is_quiet(self, milliseconds: int = 640) -> None:
        self.hears(milliseconds, 0.01)

    def says(self, text: str) -> None:
        """A turn, and its transcript."""
        self.speaks()
        self.is_quiet()
        self.transcribes(text)

    def streams(self, milliseconds: int) -> None:
        """Audio that nobody judges."""
        self.session.heard(np.zeros(milliseconds * 16, np.float32))
        self.collect()

    # --- What models do ---

    def transcribes(self, text: str, language: str = "en") -> None:
        """Answers the last Transcribe."""
        self.session.transcribed(self.asked(Transcribe)[-1].work_id, text, language=language)
        self.collect()

    def fails_to_transcribe(self, error: SpeachesError) -> None:
        self.session.transcription_failed(self.asked(Transcribe)[-1].work_id, error)
        self.collect()

    def guesses(self, text: str, took_ms: int = 100) -> None:
        """Answers the last Listen, with words a quarter of a second apart."""
        words = [Word(f" {word}", place / 4, place / 4 + 0.2, 0.9) for place, word in enumerate(text.split())]
        self.session.hypothesis(self.asked(Listen)[-1].work_id, words, took_ms)
        self.collect()

    def asked_to_respond(self) -> Respond:
        (work,) = self.asked(Respond)
        return work

    def says_aloud(
        self, response_id: str, text: str, milliseconds: int, sent: int | None = None, words: Sequence[SpokenWord] = ()
    ) -> None:
        """A piece of the answer, of which so many milliseconds have left."""
        self.session.response_speech(response_id, text, milliseconds * 24, words)
        self.plays(response_id, milliseconds if sent is None else sent)

    def plays(self, response_id: str, milliseconds: int) -> None:
        for start in range(0, milliseconds, 200):
            self.session.response_audio(response_id, "AAAA", min(200, milliseconds - start) * 24)
        self.collect()

    def finishes(self, response_id: str, finish_reason: str = "stop", usage: Mapping[str, Any] | None = None) -> None:
        self.session.response_finished(response_id, finish_reason, usage)
        self.collect()

    def answers(self, text: str, milliseconds: int = 1000) -> str:
        """A whole answer to what was asked for."""
        work = self.asked_to_respond()
        if work.speech is None:
            self.session.response_text(work.response_id, text)
        else:
            self.says_aloud(work.response_id, text, milliseconds)
        self.finishes(work.response_id)
        return work.response_id
