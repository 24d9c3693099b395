"""The user speaks while the assistant does: what stops, what stays, and in which order the client learns of it."""

from __future__ import annotations

from typing import Any

import pytest

from speaches.engines.base import SpokenWord
from speaches.realtime.work import Respond, StopResponding, Transcribe
from tests.realtime.talking import Talk
from tests.realtime.test_conversations import ANSWER

WORDS = (
    SpokenWord("It", 0.0, 0.2),
    SpokenWord("is", 0.2, 0.4),
    SpokenWord("noon", 0.4, 0.9),
    SpokenWord("now.", 0.9, 1.2),
)


def test_speech_stops_the_response_that_is_being_spoken() -> None:
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 1200, sent=600, words=WORDS)
    talk.sent()
    talk.speaks(64)
    events = talk.took()
    assert [event["type"] for event in events] == ["input_audio_buffer.speech_started", *ANSWER]
    assert events[2]["transcript"] == "It is", "of the third word less than half had left"
    assert events[5]["item"]["status"] == "incomplete"
    response = events[6]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert talk.asked(StopResponding) == [StopResponding(work.response_id)]


def test_what_comes_of_a_stopped_response_is_not_sent() -> None:
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon.", 1200, sent=600)
    talk.speaks(64)
    talk.sent()
    talk.plays(work.response_id, 600)
    talk.session.response_speech(work.response_id, "More.", 100)
    talk.session.response_call(work.response_id, "0", "look", "{}")
    talk.finishes(work.response_id)
    assert talk.sent() == []


def test_the_llm_learns_what_the_user_heard() -> None:
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 1200, sent=600, words=WORDS)
    talk.says("Stop.")
    assert [message["content"] for message in talk.asked_to_respond().messages[2:]] == ["It is", "Stop."]


def test_a_client_tells_what_was_really_played() -> None:
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 1200, words=WORDS)
    talk.finishes(work.response_id)
    item_id = talk.one("response.done")["response"]["output"][0]["id"]
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=350)
    talk.send("conversation.item.retrieve", item_id=item_id)
    truncated, retrieved = talk.took()
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, 350)
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": "It is"}]
    talk.says("And now?")
    assert talk.asked_to_respond().messages[2] == {"role": "assistant", "content": "It is"}


def test_no_more_can_be_played_than_was_sent() -> None:
    talk = Talk()
    talk.says("Hello.")
    talk.answers("Good day.", 1000)
    item_id = talk.one("response.done")["response"]["output"][0]["id"]
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1001, event_id="cut")
    error = talk.error()
    assert (error["param"], error["event_id"]) == ("audio_end_ms", "cut")
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1000)
    assert talk.sent() == ["conversation.item.truncated"]


def truncated() -> tuple[Talk, Respond]:
    """A client that has played a word, and truncates the answer while it is being sent."""
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 1200, sent=1000, words=WORDS)
    item_id = talk.one("response.content_part.added")["item_id"]
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=250)
    return talk, work


def test_a_client_may_truncate_before_it_cancels() -> None:
    talk, _ = truncated()
    talk.send("response.cancel")
    events = talk.took()
    assert [event["type"] for event in events] == ["conversation.item.truncated", *ANSWER]
    assert events[-2]["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "It"}]


def test_truncating_what_is_being_spoken_ends_the_answer() -> None:
    """openai-agents' `session.interrupt()` does no more than this."""
    talk, work = truncated()
    assert talk.sent() == ["conversation.item.truncated", *ANSWER]
    assert talk.asked(StopResponding) == [StopResponding(work.response_id)]


@pytest.mark.parametrize("response_id", [None, "own"])
def test_a_cancel_after_that_is_no_mistake_but_another_one_is(response_id: str | None) -> None:
    talk, work = truncated()
    talk.sent()
    cancel: dict[str, Any] = {"response_id": work.response_id} if response_id else {}
    talk.send("response.cancel", **cancel)
    assert talk.sent() == []
    talk.send("response.cancel", **cancel)
    assert talk.error()["code"] == "response_cancel_not_active"


@pytest.mark.parametrize("response_id", [None, "own"])
def test_a_client_cancels_a_response(response_id: str | None) -> None:
    talk = Talk()
    talk.says("Hello.")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "Good day.", 400)
    talk.sent()
    talk.send("response.cancel", response_id=work.response_id if response_id else None)
    events = talk.took()
    assert [event["type"] for event in events] == ANSWER
    assert events[-2]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert talk.asked(StopResponding) == [StopResponding(work.response_id)]


def test_speech_does_not_interrupt_where_the_client_does_that_itself() -> None:
    talk = Talk(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon.", 1200, sent=600)
    talk.sent()
    talk.says("And in Rome?")
    assert "response.done" not in talk.sent()
    assert talk.asked(Respond) == [], "one at a time"
    talk.finishes(work.response_id)
    assert talk.sent()[-3:] == ["response.done", "rate_limits.updated", "response.created"], "its turn comes"
    assert talk.asked_to_respond().messages[-1]["content"] == "And in Rome?"


def test_a_cough_before_the_answer_does_not_lose_the_question() -> None:
    talk = Talk()
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.speaks(96)
    assert talk.sent()[-2:] == ["response.done", "rate_limits.updated"]
    talk.is_quiet()
    talk.transcribes("")
    assert talk.sent()[-1] == "response.created"
    assert talk.asked_to_respond().messages == work.messages


def test_a_question_in_two_parts_is_answered_once() -> None:
    talk = Talk()
    talk.speaks()
    talk.is_quiet()
    first = talk.asked(Transcribe)[-1]
    talk.speaks()  # before the transcript of the first part is there
    talk.session.transcribed(first.work_id, "What time is it")
    talk.sent()
    talk.is_quiet()
    talk.transcribes("in Rome?")
    assert talk.sent().count("response.created") == 1
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["What time is it", "in Rome?"]


def test_a_response_in_text_is_interrupted_too() -> None:
    talk = Talk(output_modalities=["text"])
    talk.says("Tell me a story.")
    work = talk.asked_to_respond()
    talk.session.response_text(work.response_id, "Once upon a time")
    talk.sent()
    talk.speaks(64)
    response = talk.one("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["output"][0]["content"][0]["text"] == "Once upon a time"


# --- Half duplex: for clients without echo cancellation ---


def in_half_duplex() -> tuple[Talk, str]:
    """A client that plays a second of an answer."""
    talk = Talk()
    talk.update(audio={"input": {"half_duplex": True}})
    assert talk.one("session.updated")["session"]["audio"]["input"]["half_duplex"] is True
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 1000, sent=1000)
    talk.finishes(work.response_id)
    talk.sent()
    return talk, work.response_id


def test_in_half_duplex_the_answer_does_not_interrupt_itself() -> None:
    talk, _ = in_half_duplex()
    talk.speaks(960)
    assert talk.sent() == []


def test_in_half_duplex_the_user_is_heard_when_the_answer_was_played() -> None:
    talk, _ = in_half_duplex()
    talk.is_quiet(1400)
    talk.speaks(320)
    assert talk.sent() == ["input_audio_buffer.speech_started"]


def test_in_half_duplex_a_client_that_cancels_may_speak_soon() -> None:
    talk = Talk()
    talk.update(audio={"input": {"half_duplex": True}})
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon now.", 5000, sent=5000)
    talk.send("response.cancel")
    talk.is_quiet(400)
    talk.sent()
    talk.speaks(320)
    assert talk.sent() == ["input_audio_buffer.speech_started"]


def test_in_half_duplex_a_client_that_truncates_an_old_answer_still_plays_the_last_one() -> None:
    talk = Talk()
    talk.update(audio={"input": {"half_duplex": True}})
    talk.says("What time is it?")
    talk.answers("It is noon now.", 1000)
    item_id = talk.one("response.done")["response"]["output"][0]["id"]
    talk.is_quiet(4000)
    talk.says("And in Rome?")
    talk.answers("It is noon as well.", 5000)
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=500)
    talk.is_quiet(400)
    talk.sent()
    talk.speaks(320)
    assert talk.sent() == []


def test_in_half_duplex_a_client_that_truncates_may_speak_soon() -> None:
    talk = Talk()
    talk.update(audio={"input": {"half_duplex": True}})
    talk.says("What time is it?")
    talk.answers("It is noon now.", 5000)
    item_id = talk.one("response.done")["response"]["output"][0]["id"]
    talk.is_quiet(1000)
    talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1000)
    talk.is_quiet(400)
    talk.sent()
    talk.speaks(320)
    assert talk.sent() == ["input_audio_buffer.speech_started"]


def test_without_it_the_session_does_not_mention_it() -> None:
    talk = Talk()
    talk.update(instructions="Be brief.")
    assert "half_duplex" not in talk.one("session.updated")["session"]["audio"]["input"]
