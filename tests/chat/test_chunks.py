"""A spoken answer as OpenAI's chunks, and as its SDK puts them together."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk, ParsedChatCompletion
from pydantic import TypeAdapter

from speaches.chat.answers import Delta, ToolCall
from speaches.chat.chunks import LARGEST, SILENCE, WHOLE, SpokenChunks
from tests.chat.llm import USAGE


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def put_together(chunks: list[dict[str, Any]]) -> ParsedChatCompletion[None]:
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(TypeAdapter(ChatCompletionChunk).validate_python(chunk, strict=True))
    return state.get_final_completion()


def test_an_answer_in_openais_order() -> None:
    chunks = SpokenChunks("llama")
    made = [
        *chunks.written(Delta("Hello.", id="chatcmpl-1")),
        *chunks.spoken(bytes(12)),
        *chunks.written(Delta(" Bye.")),
        *chunks.written(Delta(finish_reason="length", usage=USAGE)),
        *chunks.spoken(bytes(6)),
        *chunks.rest(),
        *chunks.end(1234, USAGE),
    ]
    assert deltas(made) == [
        {"role": "assistant", "content": None, "audio": {"id": chunks.audio_id, "transcript": ""}},
        {"audio": {"transcript": "Hello."}},
        {"audio": {"data": "A" * 16}},
        {"audio": {"transcript": " Bye."}},
        {"audio": {"data": "A" * 8}},
        {"audio": {"expires_at": 1234}},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in made[:-1]] == [None] * 6 + ["length"]
    assert made[-1]["choices"] == [] and made[-1]["usage"] == USAGE
    assert {chunk["id"] for chunk in made} == {"chatcmpl-1"}


def test_the_sdk_puts_it_together_again() -> None:
    chunks = SpokenChunks("llama")
    pcm = bytes(range(250)) * 4
    made = [*chunks.written(Delta("One. ")), *chunks.spoken(pcm[:334]), *chunks.written(Delta("Two."))]
    made += [*chunks.spoken(pcm[334:]), *chunks.rest(), *chunks.end(1234, None)]
    answer = put_together(made)
    audio: Any = answer.choices[0].message.audio
    assert (audio.id, audio.transcript, audio.expires_at) == (chunks.audio_id, "One. Two.", 1234)
    assert base64.b64decode(audio.data, validate=True) == pcm + bytes(2)
    assert answer.choices[0].finish_reason == "stop"


def test_each_chunk_of_data_can_be_decoded_by_itself() -> None:
    chunks = SpokenChunks("llama")
    made = [*chunks.written(Delta("Hello."))]
    for size in (2, 4, 10, 100_000, 0, 8):
        made += chunks.spoken(bytes(size))
    made += chunks.rest()
    data = [delta["audio"]["data"] for delta in deltas(made) if "data" in delta.get("audio", {})]
    sizes = [len(base64.b64decode(one, validate=True)) for one in data]
    assert all(0 < size <= LARGEST and size % WHOLE == 0 for size in sizes)
    assert sum(sizes) == chunks.bytes_spoken == 100_026


def test_an_answer_that_can_not_be_said_is_a_little_silence() -> None:
    chunks = SpokenChunks("llama")
    chunks.written(Delta("..."))
    assert deltas(chunks.rest()) == [{"audio": {"data": base64.b64encode(bytes(SILENCE)).decode()}}]


def test_an_answer_that_only_calls_a_tool_has_no_audio() -> None:
    chunks = SpokenChunks("llama")
    made = [
        *chunks.written(Delta(tool_calls=(ToolCall(0, "call_1", "weather", '{"city":'),))),
        *chunks.written(Delta(tool_calls=(ToolCall(0, arguments='"Rome"}'),), finish_reason="tool_calls")),
        *chunks.rest(),
        *chunks.end(None, None),
    ]
    assert not any("audio" in delta for delta in deltas(made))
    message = put_together(made).choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.function is not None
    assert (call.id, call.type, call.function.name) == ("call_1", "function", "weather")
    assert call.function.arguments == '{"city":"Rome"}'


def test_words_may_follow_thoughts_and_calls() -> None:
    chunks = SpokenChunks("llama")
    made = [*chunks.written(Delta(reasoning="Hm.")), *chunks.written(Delta("Yes.")), *chunks.written(Delta(" No."))]
    assert deltas(made) == [
        {"role": "assistant", "content": None},
        {"reasoning_content": "Hm."},
        {"audio": {"id": chunks.audio_id, "transcript": "Yes."}},
        {"audio": {"transcript": " No."}},
    ]


def test_an_answer_of_nothing_still_has_a_role_and_an_end() -> None:
    chunks = SpokenChunks("llama")
    made = [*chunks.rest(), *chunks.end(None, None)]
    assert deltas(made) == [{"role": "assistant", "content": None}, {}]
    assert made[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("delta", [Delta(refusal="No."), Delta("a", finish_reason="stop"), Delta(usage=USAGE)])
def test_every_chunk_is_valid_by_the_sdks_types(delta: Delta) -> None:
    chunks = SpokenChunks("llama")
    for one in [*chunks.written(delta), *chunks.end(1, chunks.usage)]:
        TypeAdapter(ChatCompletionChunk).validate_python(one, strict=True)


def test_what_else_the_llm_tells_goes_along() -> None:
    chunks = SpokenChunks("llama")
    logprobs: dict[str, Any] = {"content": [], "refusal": None}
    made = [
        *chunks.written(Delta("Hello.", logprobs=logprobs)),
        *chunks.written(Delta(more={"annotations": [{"type": "x"}]})),
        *chunks.written(Delta(logprobs=logprobs)),
    ]
    assert deltas(made)[1:] == [{"audio": {"transcript": "Hello."}}, {"annotations": [{"type": "x"}]}, {}]
    assert [chunk["choices"][0].get("logprobs") for chunk in made] == [None, logprobs, None, logprobs]
