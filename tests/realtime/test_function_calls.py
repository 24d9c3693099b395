"""The LLM asks the client to call functions, and answers with what comes of it."""

from __future__ import annotations

import json
from typing import Any

from speaches.errors import Unavailable
from tests.realtime.talking import Talk

TOOL = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
CALL = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


def asking(**session: Any) -> Talk:
    talk = Talk(tools=[TOOL], **session)
    talk.types("How is the weather?")
    talk.send("response.create")
    talk.sent()
    return talk


def test_a_function_is_called_and_its_result_answered() -> None:
    talk = asking()
    work = talk.asked_to_respond()
    assert work.tools == (
        {"type": "function", "function": {key: TOOL[key] for key in ("name", "description", "parameters")}},
    )
    assert work.tool_choice is None
    talk.session.response_call(work.response_id, "0", "weather", '{"in":', "call_abc")
    talk.session.response_call(work.response_id, "0", "", '"Rome"}')
    talk.finishes(work.response_id, "tool_calls")
    events = talk.took()
    assert [event["type"] for event in events] == CALL
    done = events[4]
    assert (done["name"], done["arguments"], done["call_id"]) == ("weather", '{"in":"Rome"}', "call_abc")
    assert events[7]["response"]["output"] == [events[6]["item"]]
    assert events[6]["item"]["status"] == "completed"

    result = {"type": "function_call_output", "call_id": "call_abc", "output": "sunny"}
    talk.send("conversation.item.create", item=result)
    assert talk.sent() == ["conversation.item.added", "conversation.item.done"]
    talk.send("response.create")
    assert talk.asked_to_respond().messages[2:] == (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_abc", "type": "function", "function": {"name": "weather", "arguments": '{"in":"Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_abc", "content": "sunny"},
    )


def test_several_functions_are_called_in_one_response_after_what_is_said() -> None:
    talk = asking()
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "Let me look.", 400)
    talk.session.response_call(work.response_id, "0", "weather", "{", "a")
    talk.session.response_call(work.response_id, "1", "weather", "[", "b")
    talk.session.response_call(work.response_id, "0", "", "}")  # some LLM servers write them side by side
    talk.session.response_call(work.response_id, "1", "", "]")
    talk.finishes(work.response_id, "tool_calls")
    output = talk.one("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert [item["arguments"] for item in output[1:]] == ["{}", "[]"]
    for call_id in ("b", "a"):
        talk.send(
            "conversation.item.create",
            item={"type": "function_call_output", "call_id": call_id, "output": f"of {call_id}"},
        )
    talk.send("response.create")
    told = talk.asked_to_respond().messages[2:]
    assert told[0]["content"] == "Let me look." and [call["id"] for call in told[0]["tool_calls"]] == ["a", "b"]
    assert [message["content"] for message in told[1:]] == ["of a", "of b"]


def test_call_ids_that_clients_could_not_keep_apart_are_replaced() -> None:
    talk = asking()
    work = talk.asked_to_respond()
    for key, call_id in enumerate(["call_0", "call_0", "x" * 60, None, ""]):
        talk.session.response_call(work.response_id, str(key), "weather", "{}", call_id)
    talk.finishes(work.response_id, "tool_calls")
    ids = [item["call_id"] for item in talk.one("response.done")["response"]["output"]]
    assert ids[0] == "call_0" and len(set(ids)) == 5 and all(len(call_id) <= 32 for call_id in ids)
    talk.send("response.create")
    work = talk.asked_to_respond()
    talk.session.response_call(work.response_id, "0", "weather", "{}", "call_0")
    assert talk.one("conversation.item.added")["item"]["call_id"] != "call_0", "used by an earlier response"


def test_calls_beside_the_conversation_are_kept_apart_too() -> None:
    talk = Talk(tools=[TOOL])
    talk.send("response.create", response={"conversation": "none"})
    work = talk.asked_to_respond()
    for key in "01":
        talk.session.response_call(work.response_id, key, "weather", "{}", "same")
    talk.finishes(work.response_id, "tool_calls")
    first, second = talk.one("response.done")["response"]["output"]
    assert first["call_id"] == "same" != second["call_id"]


def test_half_a_call_is_not_made() -> None:
    talk = asking()
    work = talk.asked_to_respond()
    talk.session.response_call(work.response_id, "0", "weather", '{"in":', "a")
    talk.session.response_failed(work.response_id, Unavailable("The LLM died."))
    events = talk.took()
    assert "response.function_call_arguments.done" not in [event["type"] for event in events]
    assert events[-2]["response"]["output"][0]["status"] == "incomplete"
    talk.send("response.create")
    assert len(talk.asked_to_respond().messages) == 2, "nor is the LLM told of it"


def test_a_choice_of_function_goes_to_the_llm_in_its_own_form() -> None:
    talk = asking(tool_choice={"type": "function", "name": "weather"})
    assert talk.asked_to_respond().tool_choice == {"type": "function", "function": {"name": "weather"}}
    talk = asking(tool_choice="none")
    assert talk.asked_to_respond().tool_choice == "none"


def test_a_call_without_a_result_is_told_as_such() -> None:
    talk = asking()
    work = talk.asked_to_respond()
    talk.session.response_call(work.response_id, "0", "weather", "", "a")
    talk.finishes(work.response_id)
    talk.types("Never mind.")
    talk.send("response.create")
    told = talk.asked_to_respond().messages[2:]
    assert json.loads(told[0]["tool_calls"][0]["function"]["arguments"]) == {}
    assert told[1]["role"] == "tool" and told[1]["content"]
    assert told[2]["content"] == "Never mind."
