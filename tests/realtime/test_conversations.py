"""The orders of events in which clients expect a conversation to go."""

from __future__ import annotations

from speaches.errors import Unavailable
from speaches.realtime.work import Respond, Transcribe
from tests.realtime.talking import Talk

ANSWER = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
"""How a spoken answer ends."""


def test_a_spoken_question_is_answered_aloud() -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}}})
    talk.speaks()
    assert talk.sent() == ["input_audio_buffer.speech_started"]
    talk.is_quiet()
    assert talk.sent() == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    talk.transcribes("What time is it?")
    assert talk.sent() == [
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    work = talk.asked_to_respond()
    assert work.messages[-1] == {"role": "user", "content": "What time is it?"}
    talk.says_aloud(work.response_id, "It is noon.", 400)
    assert talk.sent() == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.delta",
    ]
    talk.finishes(work.response_id)
    assert talk.sent() == ANSWER


def test_the_item_of_a_turn_has_one_id_from_start_to_transcript() -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}}})
    talk.says("Hello.")
    ids = {
        event.get("item_id") or event["item"]["id"]
        for event in talk.took()
        if not event["type"].startswith("response.")
    }
    assert len(ids) == 1


def test_speech_is_reported_where_it_was_in_all_audio_with_its_padding() -> None:
    talk = Talk()
    talk.is_quiet(3200)
    talk.speaks(640)
    assert talk.one("input_audio_buffer.speech_started")["audio_start_ms"] == 3200 - 300
    talk.is_quiet(640)
    stopped = talk.one("input_audio_buffer.speech_stopped")
    assert abs(stopped["audio_end_ms"] - (3840 + 500)) <= 40
    assert len(talk.asked(Transcribe)[-1].samples) > 640 * 16


def test_a_typed_question_is_answered_in_text() -> None:
    talk = Talk(output_modalities=["text"], instructions="Be brief.")
    talk.types("What time is it?", "my_id")
    added, done = talk.took()
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["previous_item_id"] is None and added["item"]["id"] == "my_id"
    talk.send("response.create")
    work = talk.asked_to_respond()
    assert work.speech is None
    assert work.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time is it?"},
    )
    talk.session.response_text(work.response_id, "It is ")
    talk.session.response_text(work.response_id, "noon.")
    talk.finishes(work.response_id, usage={"prompt_tokens": 20, "completion_tokens": 4})
    events = talk.took()
    assert [event["type"] for event in events] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    response = events[-2]["response"]
    assert response["status"] == "completed" and response["status_details"] is None
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "It is noon."}]
    assert response["usage"]["total_tokens"] == 24
    assert events[3]["part"] == {"type": "text", "text": ""}


def test_what_was_said_and_answered_is_told_to_the_llm_the_next_time() -> None:
    talk = Talk()
    talk.says("What time is it?")
    talk.answers("It is noon.")
    talk.says("And in Rome?")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == [
        "What time is it?",
        "It is noon.",
        "And in Rome?",
    ]


def test_a_response_beside_the_conversation_leaves_it_alone() -> None:
    talk = Talk(output_modalities=["text"])
    talk.types("Hello.")
    talk.sent()
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Name this talk."}]}
    settings = {"conversation": "none", "input": [said], "metadata": {"topic": "title"}, "instructions": None}
    talk.send("response.create", response=settings)
    work = talk.asked_to_respond()
    assert [message["content"] for message in work.messages[1:]] == ["Name this talk."]
    talk.session.response_text(work.response_id, "Greetings")
    talk.finishes(work.response_id)
    events = talk.took()
    assert not [event for event in events if event["type"].startswith("conversation.")]
    assert [event["response"]["conversation_id"] for event in events if "response" in event] == [None, None]
    assert [event["response"]["metadata"] for event in events if "response" in event] == [{"topic": "title"}] * 2
    talk.send("response.create")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["Hello."]


def test_responses_beside_the_conversation_run_at_the_same_time() -> None:
    talk = Talk()
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none", "input": []})
    first, second = talk.asked(Respond)
    talk.finishes(second.response_id)
    assert talk.sent().count("response.done") == 1
    talk.send("response.create")
    assert talk.error()["code"] == "conversation_already_has_active_response", "the first goes on"
    talk.finishes(first.response_id)
    assert "response.done" in talk.sent()


def test_a_response_may_refer_to_an_item_of_the_conversation() -> None:
    talk = Talk()
    talk.types("Hello.", "greeting")
    talk.types("Goodbye.")
    talk.send("response.create", response={"input": [{"type": "item_reference", "id": "greeting"}]})
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["Hello."]
    talk.sent()
    talk.send("response.create", response={"conversation": "none", "input": [{"type": "item_reference", "id": "gone"}]})
    assert talk.error()["param"] == "response.input[0].id"


def test_a_transcription_session_transcribes_and_nothing_else() -> None:
    talk = Talk("transcription", audio={"input": {"transcription": {"model": "whisper-1", "language": "de-DE"}}})
    talk.speaks()
    talk.is_quiet()
    (first,) = talk.asked(Transcribe)
    assert first.hearing.language == "de"
    assert talk.sent() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    talk.session.transcribed(first.work_id, "Eins.")
    assert talk.one("conversation.item.input_audio_transcription.completed")["transcript"] == "Eins."
    talk.speaks()
    talk.is_quiet()
    talk.transcribes("Zwei.")
    assert talk.one("conversation.item.input_audio_transcription.completed")["transcript"] == "Zwei."
    talk.send("response.create")
    assert talk.error()["code"] == "invalid_session_type"


def test_push_to_talk_commits_what_was_sent() -> None:
    talk = Talk(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    talk.streams(1500)
    talk.send("input_audio_buffer.commit")
    assert talk.sent() == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    talk.send("response.create")
    assert talk.sent() == ["response.created"], "the response is there at once"
    assert talk.asked(Respond) == [], "the LLM waits for the words"
    (work,) = talk.asked(Transcribe)
    assert len(work.samples) == 1500 * 16
    talk.session.transcribed(work.work_id, " Hello. ")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["Hello."]
    completed = talk.one("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "Hello."
    assert completed["usage"] == {"type": "duration", "seconds": 1.5}


def test_push_to_talk_without_words_is_answered_if_the_client_asks() -> None:
    talk = Talk(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    talk.streams(500)
    talk.send("input_audio_buffer.commit")
    talk.send("response.create")
    talk.transcribes("")
    assert talk.one("conversation.item.input_audio_transcription.completed")["transcript"] == ""
    assert len(talk.asked(Respond)) == 1


def test_every_committed_item_gets_its_transcript_even_an_empty_one() -> None:
    talk = Talk("transcription")
    talk.says("")
    assert talk.sent()[-1] == "conversation.item.input_audio_transcription.completed"


def test_noise_is_not_answered() -> None:
    talk = Talk()
    talk.says("")
    assert "response.created" not in talk.sent()
    assert talk.asked(Respond) == []
    talk.says("Hello.")
    assert "response.created" in talk.sent()


def test_speech_is_not_answered_where_the_client_does_that_itself() -> None:
    talk = Talk(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    talk.says("Hello.")
    assert "response.created" not in talk.sent()
    talk.send("response.create")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["Hello."]


def test_a_transcript_that_fails_is_told_and_the_session_goes_on() -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}}})
    talk.speaks()
    talk.is_quiet()
    talk.sent()
    talk.fails_to_transcribe(Unavailable("There is no such model.", code="model_not_found"))
    failed, created, done, _ = talk.took()
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["error"]["code"] == "model_not_found"
    assert created["type"] == "response.created"
    assert done["response"]["status"] == "failed", "who waits for an answer learns that there is none"
    assert done["response"]["status_details"]["error"]["message"] == "There is no such model."
    talk.says("Hello?")
    assert [message["content"] for message in talk.asked_to_respond().messages[1:]] == ["(unintelligible)", "Hello?"]


def test_an_llm_that_fails_ends_its_response_and_not_the_session() -> None:
    talk = Talk()
    talk.says("Hello.")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "Good", 400, sent=200)
    talk.sent()
    talk.session.response_failed(work.response_id, Unavailable("The LLM died.", code="llm_gone"))
    events = talk.took()
    assert [event["type"] for event in events] == ANSWER
    assert events[-2]["response"]["status_details"] == {
        "type": "failed",
        "error": {"type": "server_error", "code": "llm_gone", "message": "The LLM died."},
    }
    talk.says("Hello?")
    talk.answers("Yes?")
    assert talk.took()[-2]["response"]["status"] == "completed"


def test_an_answer_that_was_cut_by_its_length_is_incomplete() -> None:
    talk = Talk(output_modalities=["text"], max_output_tokens=5)
    talk.send("response.create")
    work = talk.asked_to_respond()
    assert work.max_tokens == 5
    talk.session.response_text(work.response_id, "One two three")
    talk.finishes(work.response_id, "length")
    response = talk.one("response.done")["response"]
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
