"""Clients from before September 2025: the beta's events and none of today's."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.typing import Subprotocol

from speaches.realtime.dialects import EVENTS, UNKNOWN_TO_BETA
from tests.api.conftest import MakeApp
from tests.api.realtime_client import Client, talking, text_item

BETA_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
ANSWER = "The sky is blue today."
HEADER: dict[str, Any] = {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}
SUBPROTOCOLS: dict[str, Any] = {
    "subprotocols": [
        Subprotocol("realtime"),
        Subprotocol("openai-insecure-api-key.k"),
        Subprotocol("openai-beta.realtime-v1"),
    ]
}


def check(client: Client) -> None:
    """All that it was sent is of the beta, and only of the beta."""
    for event in client.events:
        BETA_EVENT.validate_python(event, strict=True)
        assert event["type"] not in {*EVENTS, *UNKNOWN_TO_BETA}


@pytest.mark.parametrize("options", [HEADER, SUBPROTOCOLS], ids=["header", "subprotocol"])
async def test_a_spoken_conversation(make_app: MakeApp, options: dict[str, Any]) -> None:
    async with talking(make_app, ANSWER) as place, place.client(beta=True, **options) as client:
        session = {
            "modalities": ["audio", "text"],
            "instructions": "Be brief.",
            "voice": "alloy",
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "fake/recogniser"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
            "temperature": 0.7,
            "max_response_output_tokens": 500,
        }
        await client.send("session.update", session=session)
        told = (await client.until("session.updated"))["session"]
        assert {name: told[name] for name in session if name not in ("turn_detection", "modalities")} == {
            name: value for name, value in session.items() if name not in ("turn_detection", "modalities")
        }
        await client.speaks()
        await client.is_quiet()
        done = await client.until("response.done")
        check(client)
        assert done["response"]["output"][0]["content"][0] == {"type": "audio", "transcript": ANSWER}
        assert len(client.said()) == 5 * 4800
        assert place.llm.asked[0]["max_tokens"] == 500 and place.llm.asked[0]["temperature"] == 0.7
        types = client.sent()
        assert types.index("conversation.item.created") > types.index("input_audio_buffer.committed")
        assert "response.audio_transcript.delta" in types and "response.audio.done" in types


async def test_text_tools_and_errors(make_app: MakeApp) -> None:
    async with talking(make_app, ANSWER) as place, place.client(beta=True, **HEADER) as client:
        await client.send("conversation.item.create", item=text_item("Hello."))
        await client.send("response.create", response={"modalities": ["text"], "max_output_tokens": 9})
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["type"] == "text"
        assert "response.text.delta" in client.sent()
        assert place.llm.asked[0]["max_tokens"] == 9
        wrong = {"turn_detection": {"type": "ears"}}
        await client.send("session.update", session=wrong, event_id="mine")
        error = await client.error()
        assert error["param"].startswith("session.turn_detection") and error["event_id"] == "mine"
        await client.send("response.create", response={"output_audio_format": "mp3"})
        assert (await client.error())["param"] == "response.output_audio_format"
        check(client)


async def test_a_transcription_session(make_app: MakeApp) -> None:
    path = "/v1/realtime?intent=transcription"
    async with talking(make_app) as place, place.client(path, beta=True, **HEADER) as client:
        assert client.sent() == ["transcription_session.created"]
        session = {
            "input_audio_format": "g711_alaw",
            "input_audio_transcription": {"model": "fake/recogniser", "language": "de"},
            "turn_detection": None,
        }
        await client.send("transcription_session.update", session=session)
        told = (await client.until("transcription_session.updated"))["session"]
        assert {name: told[name] for name in session} == session
        await client.send("input_audio_buffer.append", audio=base64.b64encode(b"\x35\xb5" * 4000).decode())
        await client.send("input_audio_buffer.commit")
        done = await client.until("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "hello" and done["usage"]["seconds"] == pytest.approx(1.0, abs=0.01)
        for event in client.events[2:]:
            BETA_EVENT.validate_python(event, strict=True)


async def test_without_a_word_of_the_beta_it_is_todays(make_app: MakeApp) -> None:
    """Another beta's header, of which clients send several, changes nothing."""
    async with (
        talking(make_app, ANSWER) as place,
        place.client(additional_headers={"OpenAI-Beta": "assistants=v2"}) as client,
    ):
        await client.types("Hello.")
        await client.send("response.create")
        await client.until("response.done")
        assert "response.output_audio.delta" in client.sent()
        assert not {*EVENTS.values()} & {*client.sent()}
