"""What may happen when: tables of states and events. docs/realtime.md is made from them.

One rule couples the two: speech that starts while there is a response in the conversation interrupts it, unless `interrupt_response`
is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from speaches.errors import InvalidRequest


class State(StrEnum):
    IDLE = "idle"
    """No response in the conversation."""
    WAITING = "waiting"
    """A response was created, and waits for the transcript of what it answers."""
    ANSWERING = "answering"
    """The LLM writes, or what it wrote is spoken."""

    QUIET = "quiet"
    """The user does not speak."""
    SPEAKING = "speaking"
    """A turn is under way, pauses in it included."""


Table: TypeAlias = Mapping[State, Mapping[str, State]]

RESPONSE: Table = {
    State.IDLE: {"create": State.WAITING},
    State.WAITING: {"answer": State.ANSWERING, "fail": State.IDLE, "cancel": State.IDLE, "interrupt": State.IDLE},
    State.ANSWERING: {"finish": State.IDLE, "fail": State.IDLE, "cancel": State.IDLE, "interrupt": State.IDLE},
}
"""Of the response in the conversation, and of each one beside it. `cancel` is the client's, `interrupt` the user's."""

TURN: Table = {
    State.QUIET: {
        "start": State.SPEAKING,
        "time out": State.QUIET,
        "commit": State.QUIET,
        "clear": State.QUIET,
        "switch off": State.QUIET,
    },
    State.SPEAKING: {
        "stop": State.QUIET,
        "commit": State.QUIET,
        "clear": State.QUIET,
        "switch off": State.QUIET,
    },
}
"""Of the input audio. Without turn detection it is always quiet; `commit`, `clear` and
`switch off` (of the detection) are the client's."""

REFUSALS = {
    "create": (
        "conversation_already_has_active_response",
        "Conversation already has an active response in progress. Wait until the response is finished before creating a new one.",
    ),
    "cancel": ("response_cancel_not_active", "Cancellation failed: no active response found."),
}
"""Codes that clients know, for what they may do at the wrong time."""


def after(table: Table, state: State, event: str) -> State:
    """The state that an event leads to.

    Raises:
        InvalidRequest: If it can't happen in this state, and a client asked for it.
    """
    try:
        return table[state][event]
    except KeyError:
        code, message = REFUSALS[event]
        raise InvalidRequest(message, code=code) from None
