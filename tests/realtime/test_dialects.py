"""Clients of the beta talk to the same session in their own words."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from speaches.realtime.config import for_client, new_session
from speaches.realtime.dialects import Beta, Ga, beta_session, ga_session
from tests.realtime.talking import Talk

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
GA_ONLY = ("added", "output_text", "output_audio", "conversation.item.done")


class OldTalk(Talk):
    """A client of the beta."""

    def __init__(self, kind: Any = "realtime", **session: Any) -> None:
        self.dialect = Beta(kind)
        super().__init__(kind, **{"model": "gpt-realtime"} | session)

    def send(self, event_type: str, audio: Any = None, **fields: Any) -> None:
        self.session.receive(self.dialect.from_client({"type": event_type, **fields}), audio)
        self.collect()

    def took(self) -> list[dict[str, Any]]:
        told = [one for event in super().took() for one in self.dialect.to_client(event)]
        for event in told:
            if not event["type"].startswith(
                "transcription_session"
            ):  # the SDK wants a key in it which OpenAI sent as null
                SERVER_EVENT.validate_python(event, strict=True)
        return told


def test_a_conversation_in_the_old_words() -> None:
    talk = OldTalk()
    talk.send("session.update", session={"modalities": ["text", "audio"], "voice": "echo", "temperature": 0.7})
    session = talk.one("session.updated")["session"]
    assert session["modalities"] == ["audio", "text"] and session["voice"] == "echo"
    talk.says("What time is it?")
    assert talk.sent() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "response.created",
    ]
    work = talk.asked_to_respond()
    assert work.temperature == 0.7 and work.speech is not None and work.speech.voice == "echo"
    talk.says_aloud(work.response_id, "It is noon.", 200)
    talk.finishes(work.response_id)
    events = talk.took()
    assert [event["type"] for event in events] == [
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    response = events[-2]["response"]
    assert response["output"][0]["content"] == [{"type": "audio", "transcript": "It is noon."}]
    assert (response["modalities"], response["output_audio_format"]) == (["audio", "text"], "pcm16")


def test_text_in_the_old_words() -> None:
    talk = OldTalk()
    item = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "How can I help?"}]}
    talk.send("conversation.item.create", item=item)
    assert talk.one("conversation.item.created")["item"]["content"] == [{"type": "text", "text": "How can I help?"}]
    talk.send("response.create", response={"modalities": ["text"], "max_output_tokens": 9})
    work = talk.asked_to_respond()
    assert work.max_tokens == 9
    talk.session.response_text(work.response_id, "Yes.")
    talk.finishes(work.response_id)
    assert {"response.text.delta", "response.text.done"} <= set(talk.sent())


def test_old_transcription_sessions() -> None:
    talk = OldTalk("transcription")
    talk.send(
        "transcription_session.update",
        session={
            "input_audio_format": "g711_alaw",
            "input_audio_transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": None,
        },
    )
    session = talk.one("transcription_session.updated")["session"]
    assert session["input_audio_format"] == "g711_alaw" and session["turn_detection"] is None
    assert talk.session.input_format == "audio/pcma"
    talk.streams(500)
    talk.send("input_audio_buffer.commit")
    talk.transcribes("Hello.")
    assert talk.sent()[-1] == "conversation.item.input_audio_transcription.completed"


def test_errors_name_the_old_place() -> None:
    talk = OldTalk()
    talk.send("session.update", session={"turn_detection": {"type": "server_vad", "threshold": "loud"}})
    error = talk.error()
    assert error["param"] == "session.turn_detection.threshold"
    assert "'session.turn_detection.threshold'" in error["message"] and "audio.input" not in error["message"]
    talk.send("session.update", session={"input_audio_format": "mp3"})
    assert talk.error()["param"] == "session.input_audio_format"


@pytest.mark.parametrize(
    "event", [None, 5, [], {}, {"type": "session.update"}, {"type": "session.update", "session": 5}]
)
def test_what_is_no_event_stays_so(event: object) -> None:
    talk = Talk()
    talk.session.receive(Beta("realtime").from_client(event))
    assert talk.error()


def test_no_connection_hears_both_dialects() -> None:
    talk = Talk()
    dialect = Ga()
    talk.types("Hello.")
    assert [dialect.to_client(event)[0]["type"] for event in talk.took()] == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    # A client that does not say that it is old, until it says something that only old ones say.
    talk.session.receive(dialect.from_client({"type": "transcription_session.update", "session": {}}))
    talk.types("Hello.")
    assert [told["type"] for event in talk.took() for told in dialect.to_client(event)] == [
        "transcription_session.updated",
        "conversation.item.created",
    ]


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_a_client_that_updates_fields_of_the_beta_is_an_old_one(kind: Any) -> None:
    talk, dialect = Talk(kind), Ga()
    talk.update(type=kind)
    (event,) = talk.took()
    assert dialect.to_client(event) == [event]  # not yet
    update = {"type": "session.update", "session": {"input_audio_transcription": {"model": "whisper-1"}}}
    talk.session.receive(dialect.from_client(update))
    (event,) = talk.took()
    (told,) = dialect.to_client(event)
    assert told["type"] == ("session.updated" if kind == "realtime" else "transcription_session.updated")
    assert told["session"]["input_audio_transcription"] == {"model": "whisper-1"}


@pytest.mark.parametrize(
    "session",
    [
        None,
        {},
        {"instructions": "Be brief."},
        {"type": "realtime", "voice": "echo"},
        {"audio": {"input": {"turn_detection": None}}, "turn_detection": None},
    ],
)
def test_other_updates_are_of_today(session: object) -> None:
    dialect = Ga()
    event = {"type": "session.update", "session": session}
    assert dialect.from_client(event) is event


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_a_session_is_the_same_there_and_back(kind: Any) -> None:
    config = new_session(kind, session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    flat = beta_session(for_client(config, "sess_1", 7))
    assert "audio" not in flat and "type" not in flat
    again = new_session(kind, session=ga_session(flat, kind))
    back = for_client(again, "sess_1", 7)
    assert {key: value for key, value in back.items() if key != "temperature"} == for_client(config, "sess_1", 7)


def test_only_old_clients_are_told_of_the_conversation() -> None:
    """OpenAI's beta said it right after the session; Open WebUI takes nothing there but the answer to its update."""
    created = Talk().created
    assert [event["type"] for event in created] == ["session.created", "conversation.created"]
    assert [event["type"] for event in created for _ in Ga().to_client(event)] == ["session.created"]
    assert [event["type"] for event in created for _ in Beta("realtime").to_client(event)] == [
        "session.created",
        "conversation.created",
    ]


def test_the_conversation_has_one_id() -> None:
    talk = OldTalk()
    conversation = talk.created[1]["conversation"]
    SERVER_EVENT.validate_python(talk.created[1], strict=True)
    talk.send("response.create")
    assert talk.one("response.created")["response"]["conversation_id"] == conversation["id"]


def test_a_transcription_session_has_no_conversation() -> None:
    assert [event["type"] for event in Talk("transcription").created] == ["session.created"]
