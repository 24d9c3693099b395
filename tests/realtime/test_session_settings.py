"""What a session is set to, what an update changes, and what the client is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from speaches.errors import InvalidRequest
from speaches.realtime.config import MOST_BYTES, for_client, new_session, updated
from speaches.realtime.work import Respond
from tests.realtime.talking import Talk

SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}


def told(talk: Talk) -> Any:
    """The session, as the client was told of it."""
    return talk.one("session.updated")["session"]


def test_a_session_begins_with_the_defaults() -> None:
    session = for_client(new_session(model="gpt-realtime"), "sess_1", 1_800_000_000)
    instructions = session.pop("instructions")
    assert "voice" in instructions
    assert session == {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "gpt-realtime",
        "expires_at": 1_800_000_000,
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": SERVER_VAD,
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1.0},
        },
    }


def test_a_transcription_session_has_only_what_it_needs() -> None:
    config = new_session("transcription", model="whisper-1", language="en")
    session = for_client(config, "sess_1", 0)
    assert session["object"] == "realtime.transcription_session"
    assert set(session) == {"type", "object", "id", "expires_at", "include", "audio"}
    assert session["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": "en"}
    assert new_session("transcription", model="a", transcription_model="b").transcription.model == "b"  # type: ignore[union-attr]


def test_an_update_changes_what_it_names() -> None:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": {"silence_duration_ms": 700.0}}}, instructions="Hi.")
    assert told(talk)["audio"]["input"]["turn_detection"] == {**SERVER_VAD, "silence_duration_ms": 700}
    talk.update(audio={"input": {"turn_detection": {"threshold": 0.8}}, "output": {"voice": {"id": "mine"}}})
    session = told(talk)
    assert session["audio"]["input"]["turn_detection"] == {**SERVER_VAD, "silence_duration_ms": 700, "threshold": 0.8}
    assert session["audio"]["output"]["voice"] == "mine"
    assert session["instructions"] == "Hi."


def test_another_kind_of_detection_begins_with_its_own_defaults() -> None:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": {"create_response": False}}})
    talk.sent()
    talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    assert told(talk)["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


@pytest.mark.parametrize("off", [None, {"type": "none"}])
def test_null_switches_off_what_can_be_off(off: object) -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}, "noise_reduction": {"type": "near_field"}}})
    assert talk.session.detects_turns and talk.session.noise_reduction == "near_field"
    talk.update(audio={"input": {"turn_detection": off, "transcription": None, "noise_reduction": None}})
    given = told(talk)["audio"]["input"]
    assert (given["turn_detection"], given["transcription"], given["noise_reduction"]) == (None, None, None)
    assert not talk.session.detects_turns and talk.session.noise_reduction is None
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
    assert told(talk)["audio"]["input"]["turn_detection"] == SERVER_VAD


def test_null_gives_the_default_back_where_nothing_can_be_off() -> None:
    talk = Talk(instructions="Hi.", max_output_tokens=5, tool_choice="none", audio={"output": {"speed": 1.5}})
    talk.update(
        instructions=None, max_output_tokens=None, tool_choice=None, audio={"output": {"speed": None}, "input": None}
    )
    session = told(talk)
    assert session["instructions"] != "Hi."
    assert (session["max_output_tokens"], session["tool_choice"]) == ("inf", "auto")
    assert session["audio"]["output"]["speed"] == 1.0


def test_null_for_the_voice_leaves_the_servers() -> None:
    session = {"audio": {"output": {"voice": None, "speed": 1.2}}}
    config = updated(new_session(voice="af_heart", session=session), session)
    assert (config.audio.output.voice, config.audio.output.speed) == ("af_heart", 1.2)


def test_transcription_is_told_with_the_keys_that_were_set() -> None:
    talk = Talk()
    talk.update(audio={"input": {"transcription": {"model": "whisper-1", "language": None}, "noise_reduction": {}}})
    given = told(talk)["audio"]["input"]
    assert given["transcription"] == {"model": "whisper-1"}
    assert given["noise_reduction"] is None


def test_what_we_do_not_know_is_no_error() -> None:
    talk = Talk()
    talk.update(
        type="realtime",
        tracing="auto",
        prompt={"id": "pmpt_1"},
        include=["item.input_audio_transcription.logprobs", "something.new"],
        reasoning={"effort": "low"},
        parallel_tool_calls=True,
        client_secret={"value": "x"},
        novelty=[1, 2],
        audio={"input": {"noise_reduction": {"type": "far_field"}, "novelty": 1}, "novelty": {}},
    )
    session = told(talk)
    assert session["tracing"] == "auto" and session["prompt"] == {"id": "pmpt_1"}
    assert session["include"] == ["item.input_audio_transcription.logprobs"]
    assert "novelty" not in session and "client_secret" not in session


def test_the_urls_model_stays() -> None:
    config = updated(new_session(model="llama"), {"model": "gpt-realtime-2.1"})
    assert config.model == "llama"
    assert updated(new_session(), {"model": "gpt-realtime-2.1"}).model == "gpt-realtime-2.1"
    assert new_session(model="llama", session={"model": "other"}).model == "llama"


def test_old_words_are_understood_in_the_new_dialect() -> None:
    config = updated(
        new_session(),
        {
            "output_modalities": ["text", "audio"],
            "audio": {"input": {"format": "pcm16"}, "output": {"format": "g711_ulaw"}},
        },
    )
    assert config.output_modalities == ["audio"]
    assert config.audio.input.format.for_client == {"type": "audio/pcm", "rate": 24000}
    assert config.audio.output.format.for_client == {"type": "audio/pcmu"}


def test_a_conversation_may_become_a_transcription_and_not_the_reverse() -> None:
    talk = Talk()
    talk.update(type="transcription")
    assert told(talk)["type"] == "transcription"
    talk.update(type="realtime")
    assert talk.error()["param"] == "session.type"


def test_a_session_survives_being_carried_in_a_secret() -> None:
    config = new_session(session={"instructions": "Hi.", "audio": {"input": {"turn_detection": None}}})
    carried = new_session(session=config.model_dump(exclude_unset=True, mode="json"))
    assert for_client(carried, "", 0) == for_client(config, "", 0)


def test_a_session_that_would_make_an_event_too_large_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="instructions") as caught:
        updated(new_session(), {"instructions": "🙂" * (MOST_BYTES // 4)})
    assert (caught.value.param, caught.value.code) == ("session.instructions", "session_too_large")


def test_what_a_response_wants_otherwise_holds_for_it_alone() -> None:
    talk = Talk(instructions="Long.")
    wanted = {
        "instructions": "Short.",
        "output_modalities": ["text"],
        "max_output_tokens": 7,
        "tools": [{"type": "function", "name": "look"}],
        "tool_choice": "required",
        "temperature": 0.2,
        "audio": {"output": {"voice": "nova", "format": {"type": "audio/pcmu"}}},
    }
    talk.send("response.create", response=wanted)
    work = talk.asked_to_respond()
    assert work.speech is None and work.messages[0]["content"] == "Short."
    assert (work.max_tokens, work.tool_choice, work.temperature) == (7, "required", 0.2)
    response = talk.one("response.created")["response"]
    assert response["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "nova"}
    assert (response["max_output_tokens"], response["output_modalities"]) == (7, ["text"])
    talk.finishes(work.response_id)
    talk.send("response.create", response=dict.fromkeys(wanted))
    work = talk.asked_to_respond()
    assert work.speech is not None and work.speech.voice == "alloy" and work.messages[0]["content"] == "Long."


def test_updates_while_a_response_is_made_hold_for_the_next_one() -> None:
    talk = Talk()
    talk.send("response.create")
    work = talk.asked_to_respond()
    talk.update(output_modalities=["text"])
    talk.says_aloud(work.response_id, "Good day.", 200)
    talk.finishes(work.response_id)
    assert talk.one("response.done")["response"]["output_modalities"] == ["audio"]
    talk.send("response.create")
    assert talk.asked_to_respond().speech is None


def test_a_language_may_be_left_to_detection_by_name() -> None:
    config = new_session("transcription", model="whisper-1", language="AUTO")
    assert config.transcription is not None
    assert (config.transcription.code, config.transcription.codes) == (None, ())
    config = updated(config, {"audio": {"input": {"transcription": {"language": "auto", "languages": ["ger", "fil"]}}}})
    assert config.transcription is not None
    assert (config.transcription.code, config.transcription.codes) == (None, ("de", "tl"))


@pytest.mark.parametrize(("key", "place"), [("language", "language"), ("languages", "languages[1]")])
def test_a_language_that_nobody_speaks_is_refused_at_once(key: str, place: str) -> None:
    talk = Talk()
    wrong: Any = "klingon" if key == "language" else ["en", "klingon"]
    talk.update(audio={"input": {"transcription": {key: wrong}}})
    assert talk.error()["param"] == f"session.audio.input.transcription.{place}"


def test_a_client_says_how_much_of_the_conversation_the_llm_is_told() -> None:
    limits = {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 10_000}}
    talk = Talk(truncation=limits)
    for number in range(4):
        talk.types(f"{number} " + "x" * 9_000)
    talk.send("response.create")
    assert len(talk.asked_to_respond().messages) == 1 + 4, "36k characters fit into 10k tokens"
    talk.send("response.cancel")
    talk.types("4 " + "x" * 9_000)
    talk.send("response.create")
    told = talk.asked_to_respond().messages[1:]
    assert [message["content"][0] for message in told] == ["3", "4"], "now half as much is told, the newest"


def test_what_was_said_before_a_session_became_a_transcription_is_not_answered() -> None:
    talk = Talk()
    talk.speaks()
    talk.is_quiet()
    talk.update(type="transcription")
    talk.sent()
    talk.transcribes("What time is it?")
    assert talk.sent() == [] and talk.asked(Respond) == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, 2**31, "none", True, [], {}])
def test_a_limit_of_tokens_that_is_none_is_refused_with_what_it_can_be(limit: object) -> None:
    talk = Talk()
    talk.update(max_output_tokens=limit)
    error = talk.error()
    assert (error["param"], error["code"]) == ("session.max_output_tokens", "invalid_value")
    assert "'inf', or a whole number from 1" in error["message"]


@pytest.mark.parametrize("limit", [1, 4096, 4096.0, "inf", 2**31 - 1])
def test_limits_of_tokens(limit: object) -> None:
    talk = Talk()
    talk.update(max_output_tokens=limit)
    assert told(talk)["max_output_tokens"] == limit


def test_a_value_of_several_kinds_is_refused_for_what_is_wrong_in_it() -> None:
    talk = Talk()
    talk.update(tool_choice={"type": "function"})
    assert (talk.error()["param"]) == "session.tool_choice.name"
    talk.update(truncation={"type": "retention_ratio", "retention_ratio": 3})
    assert (talk.error()["param"]) == "session.truncation.retention_ratio"


def test_a_kind_of_detection_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": {"type": "psychic_vad"}}})
    error = talk.error()
    assert (error["param"], error["code"]) == ("session.audio.input.turn_detection.type", "invalid_value")
    assert error["message"].endswith("should be 'server_vad' or 'semantic_vad', got \"psychic_vad\".")


@pytest.mark.parametrize("modalities", [[], ["text", "text"], ["text", "audio", "audio"]])
def test_an_answer_has_one_modality(modalities: list[str]) -> None:
    talk = Talk()
    talk.update(output_modalities=modalities)
    error = talk.error()
    assert error["param"] == "session.output_modalities" and '["audio"], which comes' in error["message"]
