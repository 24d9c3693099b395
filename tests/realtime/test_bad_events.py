"""Events that are none, or wrong in one place: an error names the place, and the session goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from speaches.errors import InvalidRequest
from speaches.realtime import conversation, responses
from speaches.realtime.items import embedded_audio
from speaches.realtime.work import Respond, StopResponding, Transcribe
from tests.realtime.talking import Talk


def deep(levels: int) -> Any:
    return [] if levels == 0 else [deep(levels - 1)]


@pytest.mark.parametrize("event", [None, 5, "response.create", [], [{"type": "response.create"}], True])
def test_what_is_no_object_is_no_event(event: object) -> None:
    talk = Talk()
    talk.session.receive(event)
    error = talk.error()
    assert (error["code"], error["param"]) == ("invalid_type", None)


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        ({}, "type", "missing_required_parameter"),
        ({"type": None}, "type", "missing_required_parameter"),
        ({"type": 5}, "type", "invalid_value"),
        ({"type": ["response.create"]}, "type", "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": 5}, "type", "invalid_value"),
        ({"type": "session.update"}, "session", "missing_required_parameter"),
        ({"type": "session.update", "session": "x"}, "session", "invalid_type"),
        ({"type": "session.update", "session": {"audio": {"input": {"format": 7}}}}, "session.audio.input.format", "invalid_type"),
        ({"type": "session.update", "session": {"tools": [{"type": "mcp"}]}}, "session.tools[0].type", "invalid_value"),
        ({"type": "session.update", "session": {"tools": [{}]}}, "session.tools[0].name", "missing_required_parameter"),
        ({"type": "session.update", "session": {"tools": [{"name": "a", "parameters": deep(99)}]}}, None, "invalid_value"),
        ({"type": "conversation.item.create"}, "item", "missing_required_parameter"),
        ({"type": "conversation.item.create", "item": []}, "item", "invalid_type"),
        ({"type": "conversation.item.create", "item": {"type": "mcp_call"}}, "item.type", "invalid_value"),
        ({"type": "conversation.item.create", "item": {"type": "message"}}, "item.role", "missing_required_parameter"),
        ({"type": "conversation.item.create", "item": {"role": "user"}}, "item.content", "missing_required_parameter"),
        ({"type": "conversation.item.create", "item": {"role": "user", "content": [7]}}, "item.content[0]", "invalid_type"),
        (
            {"type": "conversation.item.create", "item": {"role": "user", "content": [{"type": "input_text", "text": 7}]}},
            "item.content[0].text",
            "invalid_type",
        ),
        (
            {"type": "conversation.item.create", "item": {"role": "user", "content": [{"type": "input_text"}]}},
            "item.content[0].text",
            "missing_required_parameter",
        ),
        (
            {"type": "conversation.item.create", "item": {"role": "user", "content": [{"type": "input_audio"}]}},
            "item.content[0].audio",
            "missing_required_parameter",
        ),
        (
            {"type": "conversation.item.create", "item": {"role": "system", "content": [{"type": "input_audio", "transcript": "a"}]}},
            "item.content[0].type",
            "invalid_value",
        ),
        ({"type": "conversation.item.create", "item": {"type": "function_call"}}, "item.name", "missing_required_parameter"),
        ({"type": "conversation.item.create", "item": {"type": "function_call_output"}}, "item.call_id", "missing_required_parameter"),
        ({"type": "conversation.item.create", "item": {"role": "user", "content": [], "id": "x" * 300}}, "item.id", "invalid_value"),
        ({"type": "conversation.item.create", "item": {}, "previous_item_id": 7}, "previous_item_id", "invalid_type"),
        ({"type": "conversation.item.retrieve"}, "item_id", "missing_required_parameter"),
        ({"type": "conversation.item.delete", "item_id": ["a"]}, "item_id", "invalid_type"),
        ({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0}, "audio_end_ms", "missing_required_parameter"),
        ({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1}, "audio_end_ms", "invalid_value"),
        ({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1.5}, "audio_end_ms", "invalid_type"),
        ({"type": "response.create", "response": "x"}, "response", "invalid_type"),
        ({"type": "response.create", "response": []}, "response", "invalid_type"),
        ({"type": "response.create", "response": {"input": {}}}, "response.input", "invalid_type"),
        ({"type": "response.create", "response": {"input": [5]}}, "response.input[0]", "invalid_type"),
        ({"type": "response.create", "response": {"metadata": {"a": 5}}}, "response.metadata.a", "invalid_type"),
        ({"type": "response.create", "response": {"metadata": {str(n): "" for n in range(17)}}}, "response.metadata", "invalid_value"),
        ({"type": "response.create", "response": {"conversation": "other"}}, "response.conversation", "invalid_value"),
        ({"type": "response.create", "response": {"max_output_tokens": "many"}}, "response.max_output_tokens", "invalid_value"),
        ({"type": "response.cancel", "response_id": 7}, "response_id", "invalid_type"),
    ],
)  # fmt: skip
def test_the_place_that_is_wrong_is_named(event: dict[str, Any], param: str | None, code: str) -> None:
    talk = Talk()
    talk.session.receive({**event, "event_id": "mine"})
    error = talk.error()
    assert (error["param"], error["code"], error["event_id"]) == (param, code, "mine")
    assert error["type"] == "invalid_request_error"
    assert talk.asked(Respond) == []
    talk.types("Hello.")
    assert talk.sent() == ["conversation.item.added", "conversation.item.done"]


HUGE = "x" * 300_000


@pytest.mark.parametrize(
    "event",
    [
        {"type": HUGE},
        {"type": "conversation.item.retrieve", "item_id": HUGE},
        {"type": "conversation.item.create", "item": {"role": "user", "content": []}, "previous_item_id": HUGE},
        {"type": "conversation.item.create", "item": {"type": HUGE}},
        {"type": "conversation.item.create", "item": {"type": "function_call", "name": HUGE}},
        {"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": HUGE}}}}},
        {"type": "session.update", "session": {"audio": {"output": {"voice": HUGE}}}},
        {"type": "session.update", "session": {"tools": [{"type": "function", "name": "a", "description": HUGE}]}},
        {"type": "response.create", "response": {"metadata": {HUGE: 1}}},
        {"type": "response.create", "response": {"audio": {"output": {"voice": HUGE}}}},
        {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": HUGE}]}},
    ],
)
def test_no_error_is_larger_than_an_event_may_be(event: dict[str, Any]) -> None:
    talk = Talk()
    talk.session.receive(event)  # the size of all events is looked at
    assert len(talk.error()["message"]) <= 1000


def test_an_error_of_the_llm_in_its_own_form_is_told_in_ours() -> None:
    talk = Talk()
    talk.send("response.create")
    refusal = InvalidRequest("No.", code=400, param=["messages"])  # type: ignore[arg-type]
    talk.session.response_failed(talk.asked_to_respond().response_id, refusal)
    error = talk.one("response.done")["response"]["status_details"]["error"]
    assert (error["code"], error["message"]) == ("400", "No.")


def test_failures_that_others_describe_at_length_are_told_in_short() -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}}})
    talk.speaks()
    talk.is_quiet()
    talk.fails_to_transcribe(InvalidRequest(HUGE))
    talk.send("response.create")
    talk.session.response_failed(talk.asked_to_respond().response_id, InvalidRequest(HUGE + "\ud800"))
    assert [event["response"]["status"] for event in talk.took() if event["type"] == "response.done"] == ["failed"] * 2


@pytest.mark.parametrize("event_id", [5, None, ["a"], "x" * 1000])
def test_an_event_id_that_is_none_is_not_echoed(event_id: object) -> None:
    talk = Talk()
    talk.session.receive({"type": "nonsense", "event_id": event_id})
    assert talk.error()["event_id"] is None


def test_a_wrong_update_changes_nothing() -> None:
    talk = Talk()
    talk.update(instructions="One.", output_modalities=["smell"])
    talk.sent()
    talk.update()
    session_told = talk.one("session.updated")["session"]
    assert session_told["instructions"] != "One."


def test_errors_of_the_driver_are_told_like_others() -> None:
    talk = Talk()
    talk.session.refuse(InvalidRequest("The audio is not valid base64.", param="audio", code="invalid_base64"), "mine")
    assert talk.error() == {
        "type": "invalid_request_error",
        "code": "invalid_base64",
        "message": "The audio is not valid base64.",
        "param": "audio",
        "event_id": "mine",
    }


def test_characters_that_cannot_be_sent_are_replaced() -> None:
    talk = Talk(output_modalities=["text"])
    talk.types("half \ud83d\x00")
    talk.send("response.create")
    work = talk.asked_to_respond()
    assert work.messages[-1]["content"] == "half \ufffd "
    talk.session.response_text(work.response_id, "\udc00")
    assert talk.one("response.output_text.delta")["delta"] == "\ufffd"


def test_ids_stay_as_the_client_wrote_them_and_are_not_given_twice() -> None:
    talk = Talk()
    talk.types("One.", "Größe 🙂/../x")
    assert talk.took()[0]["item"]["id"] == "Größe 🙂/../x"
    talk.types("Two.", "Größe 🙂/../x")
    assert talk.error()["code"] == "item_create_duplicate_item_id"


def test_an_item_goes_where_the_client_wants_it() -> None:
    talk = Talk()
    for name, after in (("a", None), ("c", "a"), ("b", "a"), ("z", "root")):
        item = {"type": "message", "role": "user", "id": name, "content": [{"type": "input_text", "text": name}]}
        talk.send("conversation.item.create", item=item, previous_item_id=after)
    assert [e["previous_item_id"] for e in talk.took() if e["type"].endswith("added")] == [None, "a", "a", None]
    talk.send("response.create")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["z", "a", "b", "c"]
    talk.sent()
    item = {"type": "message", "role": "user", "content": []}
    talk.send("conversation.item.create", item=item, previous_item_id="nobody")
    assert talk.error()["param"] == "previous_item_id"


def test_speech_in_an_item_is_transcribed_for_the_llm() -> None:
    talk = Talk()
    content = [{"type": "input_text", "text": "Listen:"}, {"type": "input_audio", "audio": "AAAA"}]
    event = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    assert embedded_audio(event) == {"item.content[1].audio": "AAAA"}
    talk.session.receive(event, {"item.content[1].audio": np.zeros(3200, np.float32)})
    added = talk.one("conversation.item.added")
    assert added["item"]["content"][1] == {"type": "input_audio", "transcript": None}
    talk.send("response.create")
    assert talk.asked(Respond) == []
    talk.transcribes("a bird")
    assert talk.asked_to_respond().messages[-1]["content"] == "Listen:\na bird"


def test_speech_in_a_responses_own_input_is_transcribed_too() -> None:
    talk = Talk()
    said = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}
    event = {"type": "response.create", "response": {"conversation": "none", "input": [said]}}
    ((path, _),) = embedded_audio(event).items()
    talk.session.receive(event, {path: np.zeros(3200, np.float32)})
    talk.transcribes("a bird")
    assert talk.asked_to_respond().messages[-1]["content"] == "a bird"


def test_an_item_that_is_deleted_is_waited_for_no_more() -> None:
    talk = Talk(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    talk.streams(500)
    talk.send("input_audio_buffer.commit")
    item_id = talk.one("input_audio_buffer.committed")["item_id"]
    talk.send("response.create")
    (transcribing,) = talk.asked(Transcribe)
    talk.send("conversation.item.delete", item_id=item_id)
    assert talk.sent()[-1] == "conversation.item.deleted"
    assert len(talk.asked(Respond)) == 1
    talk.session.transcribed(transcribing.work_id, "Too late.")
    assert talk.sent() == []


# --- Limits ---


def test_a_conversation_is_full_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MOST_ITEMS", 50)
    talk = Talk()
    for number in range(conversation.MOST_ITEMS):
        talk.types(f"{number}")
    talk.sent()
    talk.types("one more")
    assert talk.error()["code"] == "conversation_full"
    talk.says("But I can still talk.")
    events = talk.took()
    assert [event["item_id"] for event in events if event["type"] == "conversation.item.deleted"] == ["item_1"]
    assert talk.asked_to_respond().messages[-1]["content"] == "But I can still talk."


@pytest.mark.parametrize("character", ["x", "\u00e9", "🙂", "\x01"])
def test_an_answer_without_end_is_stopped(character: str) -> None:
    talk = Talk(output_modalities=["text"])
    talk.send("response.create")
    work = talk.asked_to_respond()
    for _ in range(100):
        talk.session.response_text(work.response_id, character * 10_000)
    response = talk.one("response.done")["response"]
    assert response["status_details"]["reason"] == "max_output_tokens"
    assert talk.asked(StopResponding) == [StopResponding(work.response_id)]


def test_items_that_would_make_an_event_too_large_are_refused() -> None:
    talk = Talk()
    talk.types("x" * 300_000)
    assert talk.error()["code"] == "item_too_large"


def test_pictures_are_kept_for_the_llm_and_not_sent_back() -> None:
    talk = Talk()
    url = "data:image/png;base64," + "A" * 300_000
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": url, "detail": "low"},
    ]
    talk.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert talk.one("conversation.item.added")["item"]["content"][1] == {"type": "input_image", "detail": "low"}
    talk.send("response.create")
    told = talk.asked_to_respond().messages[-1]["content"]
    assert told[1] == {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def test_responses_beside_the_conversation_are_bounded() -> None:
    talk = Talk()
    for _ in range(responses.MOST_RESPONSES):
        talk.send("response.create", response={"conversation": "none"})
    talk.sent()
    talk.send("response.create", response={"conversation": "none"})
    assert talk.error()["code"] == "too_many_responses"


def test_the_llm_is_told_the_newest_that_it_can_take() -> None:
    talk = Talk()
    for number in range(20):
        talk.types(f"{number} " + "x" * 10_000)
    talk.send("response.create")
    told = talk.asked_to_respond().messages
    assert told[0]["role"] == "system"
    newest = [int(message["content"].split()[0]) for message in told[1:]]
    assert newest == list(range(9, 20)), "28k tokens"
    talk.send("response.cancel")
    talk.update(truncation="disabled")
    talk.send("response.create")
    assert len(talk.asked_to_respond().messages) == 21
