"""Conversations of OpenAI's own SDK with a server. Each event must be of its union, strictly, and in a legal order."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import openai
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.api.conftest import MakeApp
from tests.api.realtime_client import PUSH_TO_TALK, TEXT, TRANSCRIBED, Place, microphone, quiet, talking, text_item
from tests.api.serving import samples
from tests.chat.llm import DONE, Step, chunk, finish, usage
from tests.fakes import PATIENCE, RECOGNISER_ID, FakeEngines
from tests.realtime.legality import Legality
from tests.recordings import tone

ANSWER = "The sky is blue today."
SPEECH = microphone(tone(440, 0.7, 24_000))
SILENCE = microphone(quiet(0.8))


@dataclass
class Call:
    """A connection of the SDK, and what came over it."""

    connection: AsyncRealtimeConnection
    legality: Legality = field(default_factory=Legality)
    events: list[Any] = field(default_factory=list)

    async def until(self, event_type: str) -> Any:
        """The next event of a type, as the SDK's own object."""
        while True:
            data = await asyncio.wait_for(self.connection.recv_bytes(), PATIENCE)
            self.legality.see(json.loads(data))
            self.events.append(self.connection.parse_event(data))
            if self.events[-1].type == event_type:
                return self.events[-1]

    def types(self) -> list[str]:
        """The types so far; what repeats itself once."""
        types = [event.type for event in self.events]
        return [one for number, one in enumerate(types) if number == 0 or types[number - 1] != one]

    async def hears(self, chunks: list[str]) -> None:
        for audio in chunks:
            await self.connection.input_audio_buffer.append(audio=audio)

    async def update(self, **session: Any) -> Any:
        await self.connection.session.update(session=cast(Any, {"type": "realtime", **session}))
        return await self.until("session.updated")


@contextlib.asynccontextmanager
async def calling(place: Place, **options: Any) -> AsyncIterator[Call]:
    async with (
        openai.AsyncOpenAI(base_url=f"{place.server.url}/v1", api_key="none", max_retries=0) as sdk,
        sdk.realtime.connect(**options) as connection,
    ):
        call = Call(connection)
        await call.until("session.created")
        yield call


async def test_a_spoken_conversation(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.says = "What colour is the sky?"
    async with talking(make_app, ANSWER) as place, calling(place, model="gpt-realtime") as call:
        assert call.events[0].session.model == "gpt-realtime"
        await call.update(**TRANSCRIBED)
        for _ in range(2):
            call.events.clear()
            await call.hears(SPEECH + SILENCE)
            completed = await call.until("conversation.item.input_audio_transcription.completed")
            assert completed.transcript == "What colour is the sky?"
            done = await call.until("response.done")
            await call.until("rate_limits.updated")
            assert done.response.status == "completed"
            assert done.response.output[0].content[0].transcript == ANSWER
            assert done.response.usage.input_token_details.text_tokens == 30
        assert call.types() == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
        ]
        page = place.server.state.metrics.page(place.server.state.models).decode()
        seconds = {
            dict(labels)["kind"]: value for labels, value in samples(page, "speaches_audio_seconds_total").items()
        }
        assert seconds["spoken"] == pytest.approx(1.0) and 1.4 < seconds["heard"] < 3.5
        said = [message["content"] for message in place.llm.asked[1]["messages"][1:]]
        assert said == ["What colour is the sky?", ANSWER, "What colour is the sky?"]


async def test_push_to_talk(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, ANSWER) as place, calling(place, model="gpt-realtime") as call:
        await call.update(**PUSH_TO_TALK)
        await call.hears(SILENCE)
        await call.connection.input_audio_buffer.clear()
        await call.until("input_audio_buffer.cleared")
        await call.hears(SPEECH)
        await call.connection.input_audio_buffer.commit()
        committed = await call.until("input_audio_buffer.committed")
        await call.connection.response.create()
        done = await call.until("response.done")
        assert done.response.output[0].content[0].transcript == ANSWER
        assert not any("speech" in name for name in call.types())
        await call.connection.conversation.item.retrieve(item_id=committed.item_id)
        item = (await call.until("conversation.item.retrieved")).item
        assert item.content[0].transcript == "hello"
        (window,) = engines.recogniser.heard
        assert len(window.samples) == pytest.approx(0.7 * 16_000, abs=200)


async def test_text_in_and_text_out(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, ANSWER) as place, calling(place, model="gpt-realtime") as call:
        await call.update(instructions="Be brief.", **TEXT)
        await call.connection.conversation.item.create(item=text_item("Hello."))  # type: ignore[arg-type]
        await call.connection.response.create(response={"metadata": {"client_event_id": "mine"}})
        done = await call.until("response.done")
        assert done.response.metadata == {"client_event_id": "mine"}
        assert done.response.output[0].content[0].text.strip() == ANSWER
        assert (
            "".join(event.delta for event in call.events if event.type == "response.output_text.delta").strip()
            == ANSWER
        )
        assert place.llm.asked[0]["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello."},
        ]
        assert engines.voice.pieces == []


TOOL = {"type": "function", "name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}


def calls_a_tool() -> list[Step]:
    def part(index: int, arguments: str, **function: Any) -> dict[str, Any]:
        call = {"index": index, "function": {"arguments": arguments, **function}}
        return chunk({"tool_calls": [call | ({"id": f"call_{index}", "type": "function"} if function else {})]})

    first, second = part(0, "", name="weather"), part(1, '{"city": "Oslo"}', name="weather")
    return [first, part(0, '{"city": '), part(0, '"Rome"}'), second, finish("tool_calls"), usage(), DONE]


async def test_tools(make_app: MakeApp) -> None:
    async with talking(make_app, *calls_a_tool()) as place, calling(place, model="gpt-realtime") as call:
        await call.update(tools=[TOOL], tool_choice="auto")
        await call.connection.conversation.item.create(item=text_item("How is the weather?"))  # type: ignore[arg-type]
        await call.connection.response.create()
        calls = (await call.until("response.done")).response.output
        assert [(one.name, one.arguments) for one in calls] == [
            ("weather", '{"city": "Rome"}'),
            ("weather", '{"city": "Oslo"}'),
        ]
        assert place.llm.asked[0]["tools"][0]["function"]["name"] == "weather"
        place.llm.script = [ANSWER, finish(), DONE]
        for one in calls:
            output: Any = {"type": "function_call_output", "call_id": one.call_id, "output": "Sunny."}
            await call.connection.conversation.item.create(item=output)
        await call.connection.response.create()
        assert (await call.until("response.done")).response.output[0].content[0].transcript == ANSWER
        told = place.llm.asked[1]["messages"][-3:]
        assert [one["id"] for one in told[0]["tool_calls"]] == [message["tool_call_id"] for message in told[1:]]


async def test_a_response_beside_the_conversation(make_app: MakeApp) -> None:
    async with talking(make_app, ANSWER) as place, calling(place, model="gpt-realtime") as call:
        await call.connection.conversation.item.create(item=text_item("Secret."))  # type: ignore[arg-type]
        await call.until("conversation.item.done")
        call.events.clear()
        beside: Any = {
            "conversation": "none",
            "input": [text_item("Only this.")],
            "output_modalities": ["text"],
            "instructions": "Sum it up.",
        }
        await call.connection.response.create(response=beside)
        done = await call.until("response.done")
        assert done.response.conversation_id is None
        assert not any(name.startswith("conversation.item") for name in call.types())
        assert [one["content"] for one in place.llm.asked[0]["messages"]] == ["Sum it up.", "Only this."]


async def test_items_are_made_found_cut_and_deleted(make_app: MakeApp) -> None:
    async with talking(make_app, ANSWER) as place, calling(place, model="gpt-realtime") as call:
        items = call.connection.conversation.item
        await items.create(item=text_item("Second.", id="item_two"))  # type: ignore[arg-type]
        await items.create(item=text_item("First.", id="item_one"), previous_item_id="root")  # type: ignore[arg-type]
        assert (await call.until("conversation.item.done")).item.id == "item_two"
        assert (await call.until("conversation.item.done")).previous_item_id is None
        await items.retrieve(item_id="item_one")
        assert (await call.until("conversation.item.retrieved")).item.content[0].text == "First."
        await items.delete(item_id="item_one")
        await call.until("conversation.item.deleted")
        await items.retrieve(item_id="item_one", event_id="rci_item_one")
        error = (await call.until("error")).error
        assert (error.code, error.event_id) == ("item_retrieve_invalid_item_id", "rci_item_one")
        await call.connection.response.create()
        answer = (await call.until("response.done")).response.output[0]
        await items.truncate(item_id=answer.id, content_index=0, audio_end_ms=200)
        await call.until("conversation.item.truncated")
        await items.retrieve(item_id=answer.id)
        kept = (await call.until("conversation.item.retrieved")).item.content[0].transcript
        assert ANSWER.startswith(kept) and 0 < len(kept) < len(ANSWER)
        await items.truncate(item_id=answer.id, content_index=0, audio_end_ms=60_000, event_id="t")
        assert (await call.until("error")).error.event_id == "t"


async def test_a_response_is_cancelled(make_app: MakeApp) -> None:
    never = asyncio.Event()
    async with (
        talking(make_app, "Once upon a time there was a bird. It ", never) as place,
        calling(place, model="gpt-realtime") as call,
    ):
        await call.connection.response.create()
        await call.until("response.output_audio.delta")
        await call.connection.response.cancel()
        response = (await call.until("response.done")).response
        assert (response.status, response.status_details.reason) == ("cancelled", "client_cancelled")
        await asyncio.wait_for(place.llm.left.wait(), PATIENCE)
        await call.connection.response.cancel(event_id="again")
        error = (await call.until("error")).error
        assert (error.code, error.event_id) == ("response_cancel_not_active", "again")
        assert error.message.startswith("Cancellation failed")


@pytest.mark.parametrize("named", [True, False])
async def test_a_transcription_session(make_app: MakeApp, engines: FakeEngines, named: bool) -> None:
    query: dict[str, Any] = {"intent": "transcription", "language": "de"}
    query |= {"model": RECOGNISER_ID} if named else {}
    async with talking(make_app) as place, calling(place, extra_query=query) as call:
        session = call.events[0].session
        assert session.type == "transcription"
        assert session.audio.input.transcription.model == (RECOGNISER_ID if named else None)
        update: Any = {"type": "transcription", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        await call.connection.session.update(session=update)
        await call.until("session.updated")
        await call.hears(SPEECH + SILENCE)
        completed = await call.until("conversation.item.input_audio_transcription.completed")
        assert completed.transcript == "hello"
        assert completed.usage.seconds > 0.7
        assert {options.language for options in engines.recogniser.asked} == {"de"}
        await call.connection.response.create(event_id="no")
        assert (await call.until("error")).error.event_id == "no"
        assert place.llm.asked == []
