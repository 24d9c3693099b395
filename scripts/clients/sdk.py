"""The openai SDK: Realtime by its synchronous and asynchronous clients, streamed transcriptions, and chat with audio.

Each event of a session is validated against the SDK's own union of types, which the SDK itself does not do.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from checks import (
    FAREWELL,
    FORECAST,
    GREETING,
    KEY,
    PATIENCE,
    RECORDINGS,
    SPOKEN,
    STORY_BEGINS,
    URL,
    audible,
    checked,
    chunks,
    finish,
    quiet,
    recorded,
    same,
    spoken,
    understood,
)
from openai import AsyncOpenAI, AuthenticationError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter

EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
client, aclient = OpenAI(base_url=f"{URL}/v1", api_key=KEY), AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY)


def valid(event: Any) -> Any:
    """As the union of all events has it, with no type but the one that it says it is."""
    raw = event.to_dict()
    known = EVENTS.validate_python(raw)
    assert known.type == raw["type"]
    assert known.type != "error", raw
    return known


class Log:
    """The events of a session, all of them valid."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, event_type: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                self.events.append(event := valid(await self.connection.recv()))
                if event.type == event_type:
                    return event

    async def say(self, *pcm: bytes) -> None:
        """In real time."""
        for chunk in chunks(b"".join(pcm)):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
            await asyncio.sleep(0.1)

    def joined(self, event_type: str) -> str:
        return "".join(event.delta for event in self.events if event.type == event_type)

    def speech(self) -> bytes:
        return b"".join(
            base64.b64decode(event.delta) for event in self.events if event.type == "response.output_audio.delta"
        )


def typed(text: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


# --- Realtime ---


def text_in_speech_out_without_asyncio() -> None:
    speech, transcript = b"", ""
    with client.realtime.connect(model="gpt-realtime") as connection:
        assert valid(connection.recv()).type == "session.created"
        connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        assert valid(connection.recv()).session.instructions == "Be brief."
        connection.conversation.item.create(item=typed("Hello."))
        connection.response.create()
        for event in connection:
            event = valid(event)
            if event.type == "response.output_audio.delta":
                speech += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                transcript = event.transcript
            elif event.type == "response.done":
                assert event.response.status == "completed"
                break
    same(transcript, GREETING)
    spoken(speech, GREETING)


async def speech_in_speech_out(detection: str) -> None:
    async with aclient.realtime.connect(model="gpt-realtime") as connection:
        log = Log(connection)
        audio_input = {"transcription": {"model": "gpt-4o-mini-transcribe"}, "turn_detection": {"type": detection}}
        session: Any = {"type": "realtime", "audio": {"input": audio_input, "output": {"voice": "marin"}}}
        await connection.session.update(session=session)
        updated = await log.until("session.updated")
        assert updated.session.audio.input.turn_detection.type == detection
        await log.say(quiet(0.5), recorded("hello"), quiet(1.5))
        heard = await log.until("conversation.item.input_audio_transcription.completed")
        same(heard.transcript, SPOKEN["hello"])
        same(log.joined("conversation.item.input_audio_transcription.delta"), SPOKEN["hello"])
        done = await log.until("response.done")
        assert done.response.usage.output_token_details.audio_tokens > 0
    same(log.joined("response.output_audio_transcript.delta"), GREETING)
    spoken(log.speech(), GREETING)


async def text_alone() -> None:
    async with aclient.realtime.connect(model="gpt-realtime") as connection:
        log = Log(connection)
        await connection.conversation.item.create(item=typed(SPOKEN["meeting"]))
        await connection.response.create(response={"output_modalities": ["text"], "metadata": {"topic": "end"}})
        done = await log.until("response.done")
    assert done.response.metadata == {"topic": "end"}
    same(log.joined("response.output_text.delta"), FAREWELL)
    assert not log.speech()


async def a_tool() -> None:
    async with aclient.realtime.connect(model="gpt-realtime") as connection:
        log = Log(connection)
        tools: Any = TOOLS
        await connection.session.update(session={"type": "realtime", "tools": tools, "tool_choice": "auto"})
        await connection.conversation.item.create(item=typed(SPOKEN["weather"]))
        await connection.response.create()
        (call,) = (await log.until("response.done")).response.output
        assert (call.type, call.name, call.arguments) == ("function_call", "get_weather", '{"city": "London"}')
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "nice"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        await log.until("response.done")
    same(log.joined("response.output_audio_transcript.delta"), FORECAST)
    audible(log.speech(), FORECAST)


async def barge_in() -> None:
    async with aclient.realtime.connect(model="gpt-realtime") as connection:
        log = Log(connection)
        await connection.conversation.item.create(item=typed(SPOKEN["story"]))
        await connection.response.create()
        begun = await log.until("response.output_audio.delta")
        speaking = asyncio.create_task(log.say(quiet(0.2), recorded("meeting"), quiet(1.5)))
        await log.until("input_audio_buffer.speech_started")
        cancelled = (await log.until("response.done")).response
        assert (cancelled.status, cancelled.status_details.reason) == ("cancelled", "turn_detected")
        await connection.conversation.item.truncate(item_id=begun.item_id, content_index=0, audio_end_ms=400)
        await log.until("conversation.item.truncated")
        await connection.conversation.item.retrieve(item_id=begun.item_id)
        kept = (await log.until("conversation.item.retrieved")).item.content[0].transcript
        assert STORY_BEGINS.startswith(kept.strip()) and len(kept) < len(STORY_BEGINS), kept
        log.events.clear()
        await log.until("response.done")
        await speaking
    same(log.joined("response.output_audio_transcript.delta"), FAREWELL)


async def transcription() -> None:
    async with aclient.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        log = Log(connection)
        audio_input: Any = {"transcription": {"model": "gpt-4o-transcribe", "language": "en"}, "turn_detection": None}
        await connection.session.update(session={"type": "transcription", "audio": {"input": audio_input}})
        assert (await log.until("session.updated")).session.type == "transcription"
        await log.say(recorded("weather"))
        await connection.input_audio_buffer.commit()
        heard = await log.until("conversation.item.input_audio_transcription.completed")
    same(heard.transcript, SPOKEN["weather"])


async def a_client_secret() -> None:
    minted = await aclient.realtime.client_secrets.create(session={"type": "realtime", "instructions": "Sing."})
    browser = AsyncOpenAI(base_url=f"{URL}/v1", api_key=minted.value)
    async with browser.realtime.connect(model="gpt-realtime") as connection:
        assert valid(await connection.recv()).session.instructions == "Sing."


def a_wrong_key() -> None:
    try:
        OpenAI(base_url=f"{URL}/v1", api_key="wrong").models.list()
    except AuthenticationError as error:
        assert error.code == "invalid_api_key"
    else:
        raise AssertionError("a wrong key was taken")


# --- Audio and chat ---


def streamed_transcription() -> None:
    with (RECORDINGS / "story.wav").open("rb") as file:
        events = list(client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=file, stream=True))
    assert events[-1].type == "transcript.text.done"
    same(events[-1].text, SPOKEN["story"])
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text


def streamed_speech() -> None:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input=FAREWELL, response_format="pcm"
    ) as answer:
        audible(b"".join(answer.iter_bytes(1024)), FAREWELL)


def asked() -> list[Any]:
    recording = base64.b64encode((RECORDINGS / "hello.wav").read_bytes()).decode()
    return [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": recording, "format": "wav"}}]}]


def chat() -> None:
    answer = client.chat.completions.create(
        model="gpt-audio", modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}, messages=asked()
    )
    ChatCompletion.model_validate(answer.to_dict())
    audio = answer.choices[0].message.audio
    assert audio is not None
    same(audio.transcript, GREETING)
    understood(base64.b64decode(audio.data), GREETING)


def streamed_chat() -> None:
    speech, transcript = b"", ""
    chat = client.chat.completions.create(
        model="gpt-audio",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "pcm16"},
        messages=asked(),
        stream=True,
        stream_options={"include_usage": True},
    )
    usage = None
    for chunk in chat:
        ChatCompletionChunk.model_validate(chunk.to_dict())
        usage = chunk.usage or usage
        audio: dict[str, Any] = getattr(chunk.choices[0].delta, "audio", None) or {} if chunk.choices else {}
        audio = audio if isinstance(audio, dict) else audio.to_dict()
        speech += base64.b64decode(audio.get("data", ""))
        transcript += audio.get("transcript", "")
    same(transcript, GREETING)
    spoken(speech, GREETING)
    assert usage is not None and usage.total_tokens > 0


with checked("Realtime, synchronous: text in, speech out"):
    text_in_speech_out_without_asyncio()
for kind in ("server_vad", "semantic_vad"):
    with checked(f"Realtime, asynchronous: speech in, speech out, {kind}"):
        asyncio.run(speech_in_speech_out(kind))
with checked("Realtime: text in, text out, metadata"):
    asyncio.run(text_alone())
with checked("Realtime: a tool"):
    asyncio.run(a_tool())
with checked("Realtime: barge-in, truncate, retrieve"):
    asyncio.run(barge_in())
with checked("Realtime: transcription session, push to talk"):
    asyncio.run(transcription())
with checked("Realtime: client secret"):
    asyncio.run(a_client_secret())
with checked("a wrong key is refused"):
    a_wrong_key()
with checked("streamed transcription"):
    streamed_transcription()
with checked("streamed speech"):
    streamed_speech()
with checked("chat with audio"):
    chat()
with checked("chat with audio, streamed"):
    streamed_chat()
finish()
