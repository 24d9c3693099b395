"""LLM servers differ; what they mean is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from speaches.chat.answers import AnswerReader, Delta, LlmError, ToolCall, parsed, refused
from speaches.chat.chunks import SpokenChunks
from speaches.errors import BadGateway
from tests.chat.llm import USAGE, chunk, finish, usage


def read(*chunks: Any) -> list[Delta]:
    reader = AnswerReader()
    found = [reader.read(one if isinstance(one, str) else json.dumps(one)) for one in chunks]
    return [delta for delta in found if delta is not None]


def texts(*chunks: Any) -> list[str]:
    return [delta.text for delta in read(*chunks)]


def test_openais_own_stream_is_read() -> None:
    deltas = read(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hello"}),
        chunk({"content": " world."}),
        finish(),
        usage(),
        "[DONE]",
    )
    assert [delta.text for delta in deltas] == ["Hello", " world.", "", ""]
    assert [delta.finish_reason for delta in deltas] == [None, None, "stop", None]
    assert deltas[-1].usage == USAGE
    assert (deltas[0].id, deltas[0].model) == ("chatcmpl-llm", "llama")


@pytest.mark.parametrize(
    "empty",
    [
        chunk({"role": "assistant"}),
        chunk({"content": None}),
        {"choices": []},
        {"choices": None},
        {},
        {"choices": [None, 5, "x"]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": "Hi"}]},
        {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
        {"choices": [{"index": 0, "delta": {"content": 5, "tool_calls": "x", "refusal": {}}, "finish_reason": {}}]},
        {"error": None, "usage": None, "id": [], "model": {}},
    ],
)
def test_a_chunk_with_nothing_in_it_is_no_delta(empty: dict[str, Any]) -> None:
    assert read(empty) == []


def test_thoughts_are_not_the_answer() -> None:
    deltas = read(chunk({"reasoning_content": "Hm."}), chunk({"reasoning": "Well."}), chunk({"content": "Yes."}))
    assert [(delta.reasoning, delta.text) for delta in deltas] == [("Hm.", ""), ("Well.", ""), ("", "Yes.")]


def test_content_in_parts_is_put_together() -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "image"}, 5, {"type": "text", "text": " you."}]
    assert texts(chunk({"content": parts})) == ["Hello you."]


def test_nothing_is_said_after_the_end() -> None:
    assert texts(chunk({"content": "Last."}, "stop"), chunk({"content": "Too late."})) == ["Last."]


@pytest.mark.parametrize(
    ("told", "meant"), [("length", "length"), ("eos", "stop"), ("end_turn", "stop"), ("tool_calls", "tool_calls")]
)
def test_reasons_to_finish_are_openais(told: str, meant: str) -> None:
    (delta,) = read(finish(told))
    assert delta.finish_reason == meant


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        (USAGE | {"cost": 0.1}, USAGE | {"cost": 0.1}),
        ({"prompt_tokens": "1", "completion_tokens": 2}, None),
        ({"total_tokens": 3}, None),
        (5, None),
    ],
)
def test_usage_has_all_three_counts(told: Any, meant: dict[str, Any] | None) -> None:
    (delta,) = read(chunk({"content": "Hi"}, usage=told))
    assert delta.usage == meant


# --- Tool calls ---


def calls(*deltas: dict[str, Any]) -> list[ToolCall]:
    return [call for delta in read(*(chunk({"tool_calls": [one]}) for one in deltas)) for call in delta.tool_calls]


def call(arguments: Any = "", **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    return {"function": {"arguments": arguments} | ({"name": name} if name else {})} | more


def test_tool_calls_come_in_stretches() -> None:
    assert calls(
        call(index=0, id="call_1", name="weather"),
        call('{"city":', index=0),
        call('"Rome"}', index=0),
        call("{}", index=1, id="call_2", name="time"),
    ) == [
        ToolCall(0, "call_1", "weather"),
        ToolCall(0, arguments='{"city":'),
        ToolCall(0, arguments='"Rome"}'),
        ToolCall(1, "call_2", "time", "{}"),
    ]


def test_an_id_and_a_name_that_are_repeated_are_given_once() -> None:
    assert calls(call("{", index=0, id="call_1", name="f"), call("}", index=0, id="call_1", name="f")) == [
        ToolCall(0, "call_1", "f", "{"),
        ToolCall(0, arguments="}"),
    ]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    found = calls(call("{", id="a", name="f"), call("}"), call("{}", id="b", name="g"), call(" ", id="a", index=None))
    assert [one.index for one in found] == [0, 0, 1, 0]


def test_arguments_that_are_an_object_become_json() -> None:
    assert calls(call({"city": "Rome"}, index=0, id="a", name="f"))[0].arguments == '{"city": "Rome"}'


@pytest.mark.parametrize("wrong", [5, "x", None, [], {"function": 5}, {"index": -1}, {"index": True}, {"id": {}}])
def test_a_call_of_wrong_types_is_no_exception(wrong: Any) -> None:
    assert len(calls(wrong)) <= 1


# --- Answers that are not streamed ---


def test_a_whole_answer_is_one_delta() -> None:
    message = {"role": "assistant", "content": "Hello.", "tool_calls": [call("{}", id="a", name="f", type="function")]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    assert AnswerReader().whole(answer) == Delta(
        "Hello.", tool_calls=(ToolCall(0, "a", "f", "{}"),), finish_reason="tool_calls", usage=USAGE
    )


# --- Errors ---


@pytest.mark.parametrize(
    ("body", "status", "message", "code"),
    [
        ({"error": {"message": "Overloaded.", "code": 529}}, 529, "Overloaded.", "529"),
        ({"error": {"message": "Filtered.", "type": "x", "code": "content"}}, 502, "Filtered.", "content"),
        ({"error": "Out of memory."}, 502, "Out of memory.", None),
        ({"error": {"code": 7}}, 502, "{'code': 7}", "7"),
    ],
)
def test_an_error_in_the_stream_is_the_llms(body: dict[str, Any], status: int, message: str, code: str | None) -> None:
    with pytest.raises(LlmError) as caught:
        read(chunk({"content": "So"}), body)
    assert (caught.value.status, caught.value.message, caught.value.code) == (status, message, code)


@pytest.mark.parametrize("rubbish", ["<html>", "{", "5", "[]", "null", "[" * 100_000])
def test_rubbish_is_no_answer(rubbish: str) -> None:
    with pytest.raises(BadGateway, match="CHAT_COMPLETION_BASE_URL"):
        parsed(rubbish)


@pytest.mark.parametrize(
    ("status", "body", "message", "kind"),
    [
        (429, b'{"error": {"message": "Slow down.", "type": "requests"}}', "Slow down.", "requests"),
        (400, b'{"object": "error", "message": "Too long.", "code": 400}', "Too long.", "invalid_request_error"),
        (500, b"<html>oh no</html>", "<html>oh no</html>", "server_error"),
        (503, b"", "The LLM answered with status 503.", "server_error"),
        (402, b"\xff", "\ufffd", "invalid_request_error"),
        (401, b"No.", "The LLM refused this server's key (CHAT_COMPLETION_API_KEY): No.", "invalid_request_error"),
        (429, b"No.", "No.", "rate_limit_error"),
        (422, b'{"detail": [{"msg": "bad role"}]}', "The LLM answered with status 422. [{'msg': 'bad role'}]", "invalid_request_error"),
        (400, b'[{"error": {"message": "No such role.", "status": "INVALID"}}]', "No such role.", "invalid_request_error"),
        (400, b'{"error": {"message": 5, "param": [], "code": {}}}', "5", "invalid_request_error"),
    ],
)  # fmt: skip
def test_a_refusal_keeps_its_status_and_words(status: int, body: bytes, message: str, kind: str) -> None:
    error = refused(status, body, "7")
    assert (error.status, error.message, error.type, error.retry_after) == (status, message, kind, 7.0)
    assert all(value is None or isinstance(value, str) for value in error.as_openai()["error"].values())


# --- Anything ---

NAMES = ["index", "id", "function", "name", "arguments", "text", "type", "message", "code", "delta", "content", "error"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def shaped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Chunks that are nearly right: what looks into them gets deep."""
    call = st.fixed_dictionaries({}, optional=dict.fromkeys(("index", "id", "function", "type"), inner))
    said = {"content": inner, "reasoning": inner, "refusal": inner, "tool_calls": st.lists(call | inner, max_size=2)}
    choice = {
        "index": st.just(0) | inner,
        "finish_reason": inner,
        "delta": st.fixed_dictionaries({}, optional=said) | inner,
    }
    chunk = {
        "id": inner,
        "model": inner,
        "usage": inner,
        "choices": st.lists(st.fixed_dictionaries({}, optional=choice), max_size=2) | inner,
    }
    return st.fixed_dictionaries({}, optional={**chunk, "error": inner})


@given(st.lists(shaped(json_values) | json_values, max_size=4))
def test_whatever_comes_is_a_delta_or_an_error_of_the_llm(chunks: list[Any]) -> None:
    reader, made = AnswerReader(), SpokenChunks("llama")
    try:
        for one in chunks:
            if delta := reader.read(json.dumps(one)):
                for sent in [*made.written(delta), *made.end(1, None)]:
                    TypeAdapter(ChatCompletionChunk).validate_python(sent, strict=True)
    except (BadGateway, LlmError) as error:
        assert error.status >= 400 and error.message


def test_a_refused_key_is_not_the_users() -> None:
    error = refused(401, b'{"error": {"message": "No such key: sk-llm.", "code": "invalid_api_key"}}', None)
    error.hide("sk-llm")
    error.hide("s")  # what people set where none is asked for
    assert error.code == "llm_unauthorized"
    assert (
        str(error) == error.message == "The LLM refused this server's key (CHAT_COMPLETION_API_KEY): No such key: ***."
    )


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("1.5", 1.5), ("9" * 400, 86_400.0), ("inf", 86_400.0), ("0", None), ("-1", None), ("nan", None), ("", None),
     (None, None), ("Fri, 20 Nov 2026 18:00:00 GMT", None)],
)  # fmt: skip
def test_how_long_to_wait_is_a_number_that_can_be_sent(told: str | None, seconds: float | None) -> None:
    assert refused(429, b"", told).retry_after == seconds


def test_a_status_that_is_none_is_a_502() -> None:
    assert refused(999, b"x", None).status == 502


def test_thoughts_in_the_text_are_not_the_answer() -> None:
    deltas = read(*(chunk({"content": text}) for text in ("<th", "ink>Hm", ".</thi", "nk>\n", "\nYes", ".")), finish())
    assert "".join(delta.text for delta in deltas) == "Yes."
    assert "".join(delta.reasoning for delta in deltas) == "Hm."


@pytest.mark.parametrize("end", [finish(), "[DONE]", chunk({"content": ""}, "length")])
def test_what_was_held_back_comes_at_the_end(end: Any) -> None:
    assert "".join(texts(chunk({"content": "a"}), end)) == "a"
    assert "".join(texts(chunk({"content": " <th"}), end)) == " <th"
    thoughts = read(chunk({"content": "<think>Hm.</thi"}), end)
    assert ("".join(one.reasoning for one in thoughts), "".join(one.text for one in thoughts)) == ("Hm.</thi", "")


def test_a_whole_answer_has_its_thoughts_apart() -> None:
    def whole(content: str) -> Delta:
        return AnswerReader().whole({"choices": [{"message": {"content": content}}]})

    assert whole("<think>Hm.</think>\n\nYes.") == Delta("Yes.", reasoning="Hm.", finish_reason="stop")
    assert whole("<think>Hm.") == Delta(reasoning="Hm.", finish_reason="stop")
    assert whole("<") == Delta("<", finish_reason="stop")


def test_what_else_a_chunk_has_is_kept() -> None:
    logprobs: dict[str, Any] = {"content": [], "refusal": None}
    cited = chunk(
        {"content": None, "annotations": [{"type": "url_citation"}], "provider": None, "audio": {"id": "theirs"}}
    )
    told = chunk({"content": "Hi"})
    told["choices"][0]["logprobs"] = logprobs
    (first, second) = read(cited, told)
    assert first.more == {"annotations": [{"type": "url_citation"}]}
    assert (second.text, second.logprobs, second.more) == ("Hi", logprobs, {})
