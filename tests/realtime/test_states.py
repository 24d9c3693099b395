"""Every client event in every state: it is legal, or it is the error that the table gives; and the session lives on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speaches.errors import InvalidRequest
from speaches.realtime.session import HANDLERS
from speaches.realtime.states import REFUSALS, RESPONSE, TURN, State, Table, after
from speaches.realtime.work import Respond, Transcribe
from tests.realtime.talking import Talk


def idle() -> Talk:
    return Talk()


def speaking() -> Talk:
    talk = Talk()
    talk.speaks()
    return talk


def waiting() -> Talk:
    """A response that waits for a transcript."""
    talk = Talk(audio={"input": {"turn_detection": None}})
    talk.streams(500)
    talk.send("input_audio_buffer.commit")
    talk.send("response.create")
    return talk


def asked() -> Talk:
    talk = Talk()
    talk.send("response.create")
    return talk


def answering() -> Talk:
    talk = asked()
    talk.says_aloud(talk.asked_to_respond().response_id, "One two", 1000, sent=600)
    return talk


def writing() -> Talk:
    talk = Talk(output_modalities=["text"])
    talk.send("response.create")
    talk.session.response_text(talk.asked_to_respond().response_id, "One")
    return talk


def calling() -> Talk:
    talk = asked()
    talk.session.response_call(talk.asked_to_respond().response_id, "0", "look", "{")
    return talk


def answered() -> Talk:
    talk = asked()
    talk.answers("One two")
    return talk


def cancelled() -> Talk:
    talk = answering()
    talk.send("response.cancel")
    return talk


def speaking_over() -> Talk:
    talk = Talk(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    talk.send("response.create")
    talk.says_aloud(talk.asked_to_respond().response_id, "One two", 1000, sent=600)
    talk.speaks()
    return talk


PHASES = [idle, speaking, waiting, asked, answering, writing, calling, answered, cancelled, speaking_over]
UNDER_WAY = (waiting, asked, answering, writing, calling, speaking_over)
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
EVENTS: dict[str, dict[str, Any]] = {
    "session.update": {"session": {"instructions": "Be brief."}},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "output_audio_buffer.clear": {},
    "conversation.item.create": {"item": ITEM},
    "conversation.item.retrieve": {"item_id": "nobody"},
    "conversation.item.truncate": {"item_id": "nobody", "content_index": 0, "audio_end_ms": 0},
    "conversation.item.delete": {"item_id": "nobody"},
    "response.create": {},
    "response.cancel": {},
}


def expected(event_type: str, phase: Callable[[], Talk]) -> str:
    """What the answer to an event begins with: an event's type, or an error's code."""
    has_audio = phase in (speaking, speaking_over)
    match event_type:
        case "session.update":
            return "session.updated"
        case "input_audio_buffer.commit":
            return "input_audio_buffer.speech_stopped" if has_audio else "input_audio_buffer_commit_empty"
        case "input_audio_buffer.clear":
            return "input_audio_buffer.cleared"
        case "output_audio_buffer.clear":
            return "invalid_value"
        case "conversation.item.create":
            return "conversation.item.added"
        case "response.create":
            return "conversation_already_has_active_response" if phase in UNDER_WAY else "response.created"
        case "response.cancel" if phase in (answering, speaking_over):
            return "response.output_audio.done"
        case "response.cancel" if phase is writing:
            return "response.output_text.done"
        case "response.cancel" if phase is calling:
            return "conversation.item.done"
        case "response.cancel":
            return "response.done" if phase in UNDER_WAY else "response_cancel_not_active"
    return f"item_{event_type.rpartition('.')[2]}_invalid_item_id"


def test_every_client_event_has_its_row() -> None:
    assert set(EVENTS) == set(HANDLERS)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("event_type", EVENTS)
def test_an_event_in_a_state(event_type: str, phase: Callable[[], Talk]) -> None:
    talk = phase()
    talk.sent()
    talk.send(event_type, event_id="mine", **EVENTS[event_type])
    first = talk.took()[0]
    assert (first["error"]["code"] if first["type"] == "error" else first["type"]) == expected(event_type, phase)
    if first["type"] == "error":
        assert first["error"]["event_id"] == "mine"
    # It lives: whatever was under way is ended, and a new question answered.
    talk.send("response.cancel")
    for work in talk.asked(Transcribe):
        talk.session.transcribed(work.work_id, "Hm.")
    talk.asked(Respond)
    talk.sent()
    talk.types("Still there?")
    talk.send("response.create")
    response_id = talk.answers("Yes.")
    assert talk.one("response.done")["response"]["id"] == response_id


@pytest.mark.parametrize("table", [RESPONSE, TURN])
def test_every_state_of_a_table_is_reached_and_left(table: dict[State, dict[str, State]]) -> None:
    reached = {state for row in table.values() for state in row.values()}
    assert reached == set(table)
    assert all(table.values())


def test_what_a_client_may_do_at_the_wrong_time_has_a_code() -> None:
    for state, row in RESPONSE.items():
        for event in {"create", "cancel"} - set(row):
            with pytest.raises(InvalidRequest) as caught:
                after(RESPONSE, state, event)
            assert caught.value.code == REFUSALS[event][0]


def test_the_refusal_to_cancel_starts_as_clients_expect() -> None:
    talk = Talk()
    talk.send("response.cancel")
    assert talk.error()["message"].startswith("Cancellation failed")


def test_an_unknown_response_is_not_cancelled() -> None:
    talk = asked()
    talk.send("response.cancel", response_id="resp_gone")
    assert talk.error()["code"] == "response_cancel_not_active"
    assert len(talk.asked(Respond)) == 1


@pytest.mark.parametrize("table", [RESPONSE, TURN], ids=["response", "turn"])
def test_the_documentation_shows_the_table(table: Table) -> None:
    rows = [f"| {state} | {event} | {then} |" for state, events in table.items() for event, then in events.items()]
    page = Path("docs/realtime.md").read_text()
    assert "\n".join(["| state | event | leads to |", "|---|---|---|", *rows]) in page
