"""What a client may get wrong over the wire: each mistake is an error event with its id, and the session goes on."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.api.conftest import MakeApp
from tests.api.realtime_client import PUSH_TO_TALK, RATE, TEXT, TRANSCRIBED, base64_of, talking, text_item
from tests.chat.llm import DONE, Step, finish
from tests.fakes import FakeActivity, FakeEngines, FakeFrames, Gate

FIRST = "The first sentence is here. "
SPEECH = base64_of(bytes(4800))


def append(audio: Any, **more: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": audio, **more}


NOT_EVENTS = {
    "": "invalid_json",
    "{": "invalid_json",
    "hello": "invalid_json",
    '{"type": "response.create"': "invalid_json",
    "[" * 100_000: "invalid_json",
    '{"a":' * 50_000: "invalid_json",
    "9" * 10_000: "invalid_json",
    '{"type": ' + "[" * 40 + "]" * 40 + "}": "invalid_value",
    "5": "invalid_type",
    "null": "invalid_type",
    '"session.update"': "invalid_type",
    "[]": "invalid_type",
    "{}": "missing_required_parameter",
    '{"type": null}': "missing_required_parameter",
    '{"type": 5}': "invalid_value",
    '{"type": "session.create"}': "invalid_value",
    '{"type": "\\ud83d"}': "invalid_value",
    '{"type": ' + '"x"' * 30_000 + "}": "invalid_json",
    '{"type": "' + "x" * 100_000 + '"}': "invalid_value",
}


async def test_what_is_no_event(make_app: MakeApp) -> None:
    async with talking(make_app) as place, place.client() as client:
        for message, code in NOT_EVENTS.items():
            for sent in (message, message.encode()):
                await client.socket.send(sent)
                error = await client.error()
                assert (error["type"], error["code"]) == ("invalid_request_error", code), message[:60]
                assert len(error["message"]) < 600
        for data in (b"\xff\xfe\xfd", b"\x00", bytes(1000), "{".encode("utf-32")):
            await client.socket.send(data)
            assert (await client.error())["code"] in ("invalid_json", "invalid_type"), data[:9]
        await client.is_alive()
        assert place.server.log.problems() == []


async def test_events_may_come_as_bytes(make_app: MakeApp) -> None:
    async with talking(make_app) as place, place.client() as client:
        await client.socket.send(json.dumps({"type": "session.update", "session": {"instructions": "Bytes."}}).encode())
        assert (await client.until("session.updated"))["session"]["instructions"] == "Bytes."


HUGE = 10**400
WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    (append(None), "missing_required_parameter", "audio"),
    (append(5), "invalid_type", "audio"),
    (append([SPEECH]), "invalid_type", "audio"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    (append("AAA"), "invalid_base64", "audio"),
    (append("AAAAA"), "invalid_base64", "audio"),
    (append("AA=A"), "invalid_base64", "audio"),
    (append("AAAA\nAAAA"), "invalid_base64", "audio"),
    (append("data:audio/wav;base64,AAAA"), "invalid_base64", "audio"),
    (append("\u00e4" * 8), "invalid_base64", "audio"),
    (append("\ud83d"), "invalid_base64", "audio"),
    (append("_-" * 70_000), "invalid_base64", "audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "output_audio_buffer.clear"}, "invalid_value", None),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "response.cancel", "response_id": 5}, "invalid_type", "response_id"),
    ({"type": "response.create", "response": 5}, "invalid_type", "response"),
    ({"type": "response.create", "response": {"input": "x"}}, "invalid_type", "response.input"),
    (
        {"type": "response.create", "response": {"max_output_tokens": HUGE}},
        "invalid_value",
        "response.max_output_tokens",
    ),
    ({"type": "response.create", "response": {"metadata": {"a": 5}}}, "invalid_type", "response.metadata.a"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": []}, "invalid_type", "session"),
    ({"type": "session.update", "session": {"tools": {}}}, "invalid_type", "session.tools"),
    (
        {"type": "session.update", "session": {"instructions": "x" * 2_000_000}},
        "session_too_large",
        "session.instructions",
    ),
    ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
    ({"type": "conversation.item.create", "item": {"type": "poem"}}, "invalid_value", "item.type"),
    ({"type": "conversation.item.create", "item": text_item("x"), "previous_item_id": "no"}, "", "previous_item_id"),
    ({"type": "conversation.item.create", "item": text_item("x", id="\ud83d" * 300)}, "", "item.id"),
    ({"type": "conversation.item.retrieve", "item_id": "no"}, "item_retrieve_invalid_item_id", "item_id"),
    ({"type": "conversation.item.retrieve", "item_id": HUGE}, "invalid_type", "item_id"),
    ({"type": "conversation.item.delete", "item_id": "no"}, "item_delete_invalid_item_id", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "no", "content_index": 0, "audio_end_ms": 0},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    (
        {"type": "conversation.item.truncate", "item_id": "no", "content_index": -1, "audio_end_ms": HUGE},
        "",
        "content_index",
    ),
]


async def test_events_that_are_wrong_in_every_way(make_app: MakeApp) -> None:
    async with talking(make_app, "Hello.") as place, place.client() as client:
        for number, (event, code, param) in enumerate(WRONG):
            await client.socket.send(json.dumps({**event, "event_id": f"mine_{number}"}))
            error = await client.error()
            assert error["event_id"] == f"mine_{number}", (event, error)
            assert code in ("", error["code"]), (event, error)
            assert error["param"] == param, (event, error)
        assert client.sent() == ["session.created"] + ["error"] * len(WRONG)
        await client.update(**TEXT)
        await client.send("response.create")
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        assert place.server.log.problems() == []


async def test_events_of_too_many_parts_are_not_even_read(make_app: MakeApp) -> None:
    """A million values would keep Python busy for seconds, in whatever thread."""
    recordings = [{"type": "input_audio", "audio": ""}] * 65
    item = {"type": "message", "role": "user", "content": recordings}
    async with talking(make_app) as place, place.client() as client:
        messages = (
            "[" + "0," * 2_000_000 + "0]",
            '{"a": [' + "{}," * 100_000 + "{}]}",
            '{"a": [' + '"\\",",' * 30_000 + "0]}",
        )
        for message in messages:
            for sent in (message, message.encode()):
                await client.socket.send(sent)
                assert (await client.error())["code"] == "event_too_large"
        await client.send("conversation.item.create", item=item, event_id="many")
        error = await client.error()
        assert (error["code"], error["event_id"]) == ("event_too_large", "many")
        table = '1,"2",3,' * 15_000  # the result of a function, say
        output = {"type": "function_call_output", "call_id": "c", "output": table}
        await client.send("conversation.item.create", item=output)
        assert (await client.until("conversation.item.done"))["item"]["output"] == table


@pytest.mark.parametrize("event_id", [5, None, [], {"a": 1}, "x" * 10_000, "\ud83d", "\0", HUGE, 1e999])
async def test_ids_of_events_may_be_anything(make_app: MakeApp, event_id: Any) -> None:
    async with talking(make_app) as place, place.client() as client:
        for event in (append("?"), {"type": "response.cancel"}):
            await client.socket.send(json.dumps({**event, "event_id": event_id}))
            assert (await client.error())["event_id"] in (None, "\ufffd", " ")
        await client.is_alive()


async def test_bytes_may_be_cut_within_a_sample(make_app: MakeApp, engines: FakeEngines) -> None:
    pcm = (np.sin(np.arange(RATE) / 10) * 20_000).astype("<i2").tobytes()
    async with talking(make_app) as place, place.client() as client:
        await client.update(**PUSH_TO_TALK)
        for start in range(0, len(pcm), 2401):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 2401]).decode())
        await client.send("input_audio_buffer.commit")
        item = (await client.until("conversation.item.done"))["item"]
        await client.send("response.create")
        await client.until("response.done")
        (window,) = engines.recogniser.heard
        expected = np.sin(np.arange(0, RATE, 1.5) / 10) * 20_000 / 32768
        assert item["status"] == "completed"
        assert np.abs(window.samples[200:-200] - expected[200 : len(window.samples) - 200]).max() < 0.01


class GatedActivity(FakeActivity):
    """Judges long stretches only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def stream(self) -> FakeFrames:
        super().stream()
        gate = self.gate

        class Frames(FakeFrames):
            def probabilities(self, samples: Any) -> Any:
                with gate:
                    return super().probabilities(samples)

        return Frames()


async def test_fifteen_mebibytes_at_once_hold_nobody_up(make_app: MakeApp, engines: FakeEngines) -> None:
    """Five minutes of audio in one event, as much as OpenAI takes. While it is worked on others are answered."""
    engines.activity = engines.activity_kind.engine = activity = GatedActivity()
    activity.gate.close()
    samples = 15 * 2**20 * 3 // 4 // 2
    async with talking(make_app) as place, place.client() as client, place.client() as other:
        await client.update(**TRANSCRIBED)
        await client.send("input_audio_buffer.append", audio=base64_of(bytes(samples * 2)))
        await activity.gate.reached()
        await other.is_alive()
        async with place.server.client() as http:
            assert (await http.get("/health")).status_code == 200
        activity.gate.open()
        await client.speaks()
        started = await client.until("input_audio_buffer.speech_started")
        assert started["audio_start_ms"] == pytest.approx(samples * 1000 / RATE - 300, abs=100)


async def test_a_message_that_is_larger_still_ends_the_connection(make_app: MakeApp) -> None:
    async with talking(make_app) as place:
        async with place.client() as client:
            with pytest.raises(ConnectionClosed):
                await client.send("input_audio_buffer.append", audio="A" * (25 * 2**20))
                await client.next()
            assert client.socket.close_code == 1009
        await place.is_empty()
        async with place.client() as client:
            await client.is_alive()
        assert place.server.log.problems() == []


async def test_a_thousand_items(make_app: MakeApp) -> None:
    """No more are kept than there is room for, and duplicate ids are refused; the conversation still works."""
    async with talking(make_app, "Hello.") as place, place.client() as client:
        await client.update(**TEXT)
        send = asyncio.create_task(_create(client, 1000))
        refused = 0
        while len(client.all("conversation.item.done")) + refused < 1000:
            refused += (await client.next())["type"] == "error"
        await send
        await client.send("conversation.item.create", item=text_item("Twice.", id="item_999"), event_id="again")
        error = await client.error()
        assert error["event_id"] == "again"
        assert error["code"] in ("item_create_duplicate_item_id", "conversation_full")
        await client.send("response.create")
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        assert place.llm.asked[0]["messages"][-1]["content"].startswith("Number ")


async def _create(client: Any, count: int) -> None:
    for number in range(count):
        await client.send("conversation.item.create", item=text_item(f"Number {number}.", id=f"item_{number}"))


async def test_updates_in_the_middle_of_a_response(make_app: MakeApp) -> None:
    """They hold from the next one on; formats too, so that no client gets half an answer in another codec."""
    more = asyncio.Event()
    script: list[Step] = [FIRST + "And ", more, "here is the second.", finish(), DONE]
    async with talking(make_app, *script) as place, place.client() as client:
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        changes: list[dict[str, Any]] = [
            {"instructions": "New."},
            TEXT,
            {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
        ]
        for change in changes:
            await client.update(**change)
        await client.send("response.create", event_id="twice")
        assert (await client.error())["code"] == "conversation_already_has_active_response"
        more.set()
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        assert len(client.said()) == 10 * 4800
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["type"] == "output_text"
        assert place.llm.asked[1]["messages"][0] == {"role": "system", "content": "New."}
