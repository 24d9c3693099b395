"""The user speaks while an answer is sent: it stops at once, and what was not sent was never said."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.conftest import MakeApp
from tests.api.realtime_client import TRANSCRIBED, Client, Place, talking
from tests.chat.llm import DONE, finish
from tests.fakes import PATIENCE, FakeEngines

LONG = "This sentence is one of the many that it says. "  # a second of speech
CHUNK = 9600  # bytes of an audio delta


async def asks(client: Client) -> str:
    """Have it begin to answer; the id of the response."""
    await client.update(**TRANSCRIBED)
    await client.types("Tell me a story.")
    await client.send("response.create")
    response_id: str = (await client.until("response.created"))["response"]["id"]
    return response_id


async def interrupts(client: Client, response_id: str) -> None:
    """Speak, and see that the answer ends there and then."""
    await client.speaks()
    await client.until("input_audio_buffer.speech_started")
    first = len(client.events)
    done = await client.until("response.done")
    after = [event["type"] for event in client.events[first:]]
    assert not any(name.endswith("delta") for name in after), after
    assert done["response"]["id"] == response_id
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


async def goes_on(place: Place, client: Client, engines: FakeEngines) -> list[str]:
    """The user's turn is answered as any; what the LLM was told by then."""
    engines.voice.gate.open()
    place.llm.script = ["Right away.", finish(), DONE]
    await client.is_quiet()
    done = await client.until("response.done")
    assert done["response"]["status"] == "completed"
    assert done["response"]["output"][0]["content"][0]["transcript"] == "Right away."
    return [message["content"] for message in place.llm.asked[-1]["messages"][1:]]


async def test_while_the_answer_is_paced(make_app: MakeApp, engines: FakeEngines) -> None:
    """Thirty seconds are written and spoken; a little over one has left, and on a busy machine a few more."""
    async with talking(make_app, LONG * 30) as place, place.client() as client:
        response_id = await asks(client)
        await client.until("response.output_audio.delta", times=5)
        await interrupts(client, response_id)
        sent = len(client.said(response_id)) / 48_000
        assert 1.0 <= sent <= 15
        (item,) = client.all("response.done")[-1]["response"]["output"]
        assert item["status"] == "incomplete"
        transcript = item["content"][0]["transcript"]
        told = await goes_on(place, client, engines)
        assert told == ["Tell me a story.", transcript, "hello"]
        assert (LONG * 30).startswith(transcript)
        assert len(transcript.split()) == pytest.approx(sent * 10, abs=2)


async def test_while_the_llm_writes(make_app: MakeApp, engines: FakeEngines) -> None:
    """Its request is closed, so that it stops."""
    async with talking(make_app, LONG, LONG, asyncio.Event()) as place, place.client() as client:
        response_id = await asks(client)
        await client.until("response.output_audio.delta")
        assert not place.llm.left.is_set()
        await interrupts(client, response_id)
        await asyncio.wait_for(place.llm.left.wait(), PATIENCE)
        await goes_on(place, client, engines)


async def test_before_a_word_was_written(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, asyncio.Event()) as place, place.client() as client:
        response_id = await asks(client)
        await asyncio.wait_for(place.llm.reached.wait(), PATIENCE)
        await interrupts(client, response_id)
        assert client.all("response.done")[-1]["response"]["output"] == []
        await asyncio.wait_for(place.llm.left.wait(), PATIENCE)
        assert await goes_on(place, client, engines) == ["Tell me a story.", "hello"]


async def test_while_the_voice_speaks(make_app: MakeApp, engines: FakeEngines) -> None:
    """A call into an engine can't be stopped, but nobody waits for it: the engine is free as soon as it ends."""
    engines.voice.gate.close()
    async with talking(make_app, LONG * 5) as place, place.client() as client:
        response_id = await asks(client)
        await engines.voice.gate.reached()
        await interrupts(client, response_id)
        assert client.said() == b""
        assert await goes_on(place, client, engines) == ["Tell me a story.", "hello"]
        assert engines.voice.gate.inside == 0
        assert len(engines.voice.pieces) <= 3, "it did not go on to speak what nobody wants to hear"
    assert place.server.log.problems() == []


async def test_a_user_who_must_not_interrupt_is_heard_after_the_answer(make_app: MakeApp) -> None:
    patient = {"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}}
    async with talking(make_app, LONG) as place, place.client() as client:
        await client.update(**patient)
        await client.types("Tell me a story.")
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.speaks()
        await client.is_quiet()
        for _ in range(2):
            done = await client.until("response.done")
            assert done["response"]["status"] == "completed"
        assert len(client.said()) == 2 * 48_000


async def test_ten_times_in_a_row(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, LONG * 3) as place, place.client() as client:
        await client.update(**TRANSCRIBED)
        for number in range(10):
            await client.speaks()
            await client.is_quiet()
            await client.until("response.created")
            assert len(client.all("response.done")) == number
            await client.until("response.output_audio.delta")
        await client.until("response.done")
        await client.send("response.cancel")
        await client.is_alive()
    await place.is_empty()
    assert len(place.llm.asked) == 10
