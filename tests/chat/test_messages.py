"""Chat messages with audio become messages that any LLM understands."""

import pytest

from speaches.chat.messages import AudioPart, audio_parts, for_llm, spoken_answer
from speaches.errors import InvalidRequest


def audio(data: str = "UklGRg==") -> dict[str, object]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def text(words: str) -> dict[str, object]:
    return {"type": "text", "text": words}


def test_audio_is_found_in_any_message_and_any_place() -> None:
    messages = [
        {"role": "user", "content": [text("What is this?"), audio("a")]},
        {"role": "assistant", "content": "A bird."},
        {"role": "user", "content": [audio("b"), audio("c")]},
    ]
    assert audio_parts(messages) == [AudioPart(0, 1, "a"), AudioPart(2, 0, "b"), AudioPart(2, 1, "c")]


def test_audio_is_replaced_by_what_was_heard_and_the_rest_stays() -> None:
    part = AudioPart(0, 1, "a")
    body = {
        "model": "gpt-4o-audio-preview",
        "temperature": 0.5,
        "tools": [{"type": "function"}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"},
        "speech_model": "tts-1",
        "messages": [{"role": "user", "content": [text("What is this?"), audio("a")]}],
    }
    assert for_llm(body, "llama", {part: "Hello world."}, {}) == {
        "model": "llama",
        "temperature": 0.5,
        "tools": [{"type": "function"}],
        "messages": [{"role": "user", "content": [text("What is this?"), text("Hello world.")]}],
    }
    assert body["messages"][0]["content"][1] == audio("a"), "the request itself is not changed"  # type: ignore[index]


def test_without_a_model_in_the_settings_the_requests_own_goes_through() -> None:
    assert for_llm({"model": "gpt-4o", "messages": []}, None, {}, {})["model"] == "gpt-4o"


def test_an_earlier_spoken_answer_is_replaced_by_its_words() -> None:
    messages = [{"role": "assistant", "audio": {"id": "audio_1"}}]
    sent = for_llm({"messages": messages}, None, {}, {"audio_1": "It is a bird."})
    assert sent["messages"] == [{"role": "assistant", "content": "It is a bird."}]


def test_an_expired_answer_is_said_to_be_expired() -> None:
    with pytest.raises(InvalidRequest, match="expired") as caught:
        for_llm({"messages": [{"role": "assistant", "audio": {"id": "audio_9"}}]}, None, {}, {})
    assert caught.value.param == "messages[0].audio.id"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"modalities": 5}, "modalities"),
        ({"modalities": "audio"}, "modalities"),
        ({"modalities": ["audio"], "audio": {"voice": "alloy", "format": "docx"}}, "audio.format"),
    ],
)
def test_audio_that_is_asked_for_wrongly_is_named(body: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        spoken_answer(body)
    assert caught.value.param == param


@pytest.mark.parametrize("part", [{"type": "input_audio"}, {"type": "input_audio", "input_audio": {"data": 5}}])
def test_an_audio_part_without_data_is_named(part: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        audio_parts([{"role": "user", "content": [text("?"), part]}])
    assert caught.value.param == "messages[0].content[1].input_audio"


def test_text_alone_asks_for_no_speech() -> None:
    assert spoken_answer({"modalities": ["text"]}) is None
    assert spoken_answer({}) is None


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"audio": {"id": "audio_9", "transcript": "A bird.", "data": "UklGRg==", "expires_at": 1}, "content": None}, "A bird."),
        ({"audio": {"id": "audio_9", "transcript": ""}, "content": "A bird."}, "A bird."),
        ({"audio": {"id": "audio_9"}, "content": [text("A bird.")]}, [text("A bird.")]),
        ({"audio": {"id": "audio_1", "transcript": "A lie."}, "content": "Another."}, "It is a bird."),
    ],
)  # fmt: skip
def test_an_expired_answer_that_comes_with_its_words_is_taken_by_them(
    message: dict[str, object], content: object
) -> None:
    messages = [{"role": "assistant", "refusal": None, **message}]
    sent = for_llm({"messages": messages}, None, {}, {"audio_1": "It is a bird."})
    assert sent["messages"] == [{"role": "assistant", "refusal": None, "content": content}]
