"""What a session has to say, and to have done: events for the client and work for the driver, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speaches.errors import SpeachesError
from speaches.realtime.reading import LONGEST_ID, plain_text
from speaches.realtime.work import Work

LONGEST_MESSAGE = 1000  # characters of an error; what clients and LLMs wrote may be part of it
LONGEST_NAME = 200  # characters of a code or a param


class Outbox:
    """Filled by the rules, emptied by the driver."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self.new_id = new_id
        self._events: list[dict[str, Any]] = []
        self._work: list[Work] = []

    def emit(self, event_type: str, **fields: Any) -> None:
        """An event for the client. Its fields are not to change any more."""
        self._events.append({"type": event_type, "event_id": self.new_id("event"), **fields})

    def refuse(self, error: SpeachesError, event_id: object = None) -> None:
        """An `error` event; `event_id` is the id that the client gave to the event which is to blame."""
        cause = event_id if isinstance(event_id, str) and len(event_id) <= LONGEST_ID else None
        self.emit("error", error={**told(error), "event_id": cause})

    def ask(self, work: Work) -> None:
        self._work.append(work)

    def events(self) -> list[dict[str, Any]]:
        taken, self._events = self._events, []
        return taken

    def work(self) -> list[Work]:
        taken, self._work = self._work, []
        return taken


def told(error: SpeachesError) -> dict[str, Any]:
    """`type`, `code`, `message` and `param` of an error, as strings that are short enough for an event."""
    said = error.as_openai()["error"]
    # An LLM's error may have anything in it, such as a number for its code.
    short = {key: plain_text(str(value))[:LONGEST_NAME] for key, value in said.items() if value is not None}
    message = plain_text(error.message[:LONGEST_MESSAGE])
    return {"type": error.type, "code": None, "param": None} | short | {"message": message}
