"""LiveKit agents: its OpenAI recogniser (REST and Realtime), voice and realtime model, without a room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from checks import (
    FAREWELL,
    FORECAST,
    GREETING,
    KEY,
    PATIENCE,
    SPOKEN,
    URL,
    WIRE_RATE,
    audible,
    checked,
    chunks,
    finish,
    quiet,
    recorded,
    same,
    spoken,
)
from livekit import rtc
from livekit.agents import function_tool, llm, stt, utils
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

logging.basicConfig(level=logging.WARNING)
BASE_URL = f"{URL}/v1"


def frame(pcm: bytes) -> rtc.AudioFrame:
    return rtc.AudioFrame(pcm, WIRE_RATE, 1, len(pcm) // 2)


async def say(push: Callable[[rtc.AudioFrame], None], *pcm: bytes) -> None:
    """In real time."""
    for chunk in chunks(b"".join(pcm)):
        push(frame(chunk))
        await asyncio.sleep(0.1)


@function_tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"nice in {city}"


# --- Recogniser and voice ---


async def transcribes(**options: Any) -> None:
    recogniser = openai.STT(base_url=BASE_URL, api_key=KEY, **options)
    event = await recogniser.recognize(frame(recorded("weather")))
    same(event.alternatives[0].text, SPOKEN["weather"])
    await recogniser.aclose()


async def transcribes_a_stream(**options: Any) -> None:
    recogniser = openai.STT(base_url=BASE_URL, api_key=KEY, use_realtime=True, **options)
    stream, finals, kinds = recogniser.stream(), [], set()
    speaking = asyncio.create_task(
        say(stream.push_frame, quiet(0.5), recorded("hello"), quiet(2), recorded("story"), quiet(2))
    )
    async with asyncio.timeout(PATIENCE):
        async for event in stream:
            kinds.add(event.type)
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                finals.append(event.alternatives[0].text)
                if len(finals) == 2:
                    break
    await speaking
    await stream.aclose()
    await recogniser.aclose()
    same(" ".join(finals), f"{SPOKEN['hello']} {SPOKEN['story']}")
    assert stt.SpeechEventType.INTERIM_TRANSCRIPT in kinds, kinds


async def speaks(**options: Any) -> None:
    voice = openai.TTS(base_url=BASE_URL, api_key=KEY, **options)
    async with voice.synthesize(GREETING) as stream:
        whole = await stream.collect()
    await voice.aclose()
    assert whole.sample_rate == WIRE_RATE
    spoken(bytes(whole.data), GREETING)


# --- The realtime model ---


class Answer:
    """One generation, read to its end."""

    def __init__(self) -> None:
        self.text, self.speech = "", b""
        self.calls: list[llm.FunctionCall] = []
        self.message_id: str | None = None

    async def read(self, generation: llm.GenerationCreatedEvent) -> Answer:
        async with asyncio.timeout(PATIENCE):
            async for message in generation.message_stream:
                self.message_id = message.message_id
                await asyncio.gather(self._read_text(message.text_stream), self._hear(message.audio_stream))
            async for call in generation.function_stream:
                self.calls.append(call)
        return self

    async def _read_text(self, stream: Any) -> None:
        async for text in stream:
            self.text += text

    async def _hear(self, stream: Any) -> None:
        async for one in stream:
            self.speech += bytes(one.data)


class Told:
    """All that a session tells."""

    def __init__(self, session: Any) -> None:
        self.errors: list[Any] = []
        self.transcripts: list[str] = []
        self.wire: list[dict[str, Any]] = []
        self.speech_started = asyncio.Event()
        self._came = asyncio.Event()
        self._generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        session.on("error", self.errors.append)
        session.on("generation_created", self._generations.put_nowait)
        session.on("input_speech_started", lambda _: self.speech_started.set())
        session.on("openai_server_event_received", self._receive)
        session.on("input_audio_transcription_completed", self._heard)

    def _receive(self, event: dict[str, Any]) -> None:
        self.wire.append(event)
        self._came.set()

    def _heard(self, event: Any) -> None:
        if event.is_final:
            self.transcripts.append(event.transcript)

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE):
            generation = await self._generations.get()
        return await Answer().read(generation)

    async def until(self, event_type: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not (found := [event for event in self.wire if event["type"] == event_type]):
                self._came.clear()
                await self._came.wait()
        return found[-1]


@asynccontextmanager
async def conversing(**options: Any) -> AsyncIterator[tuple[Any, Told]]:
    model = openai.realtime.RealtimeModel(base_url=BASE_URL, api_key=KEY, **options)
    session = model.session()
    told = Told(session)
    await session.update_instructions("Be brief.")
    await session.update_tools([get_weather])
    try:
        yield session, told
        assert not told.errors, told.errors
    finally:
        await session.aclose()
        await model.aclose()


async def types(session: Any, *texts: str) -> None:
    context = session.chat_ctx.copy()
    for text in texts:
        context.add_message(role="user", content=text)
    await session.update_chat_ctx(context)


async def answers_text() -> None:
    async with conversing() as (session, told):
        await types(session, "Good morning.", "Hello.")
        await session.generate_reply(instructions="Greet.")
        answer = await told.answer()
    same(answer.text, GREETING)
    spoken(answer.speech, GREETING)


async def answers_in_text() -> None:
    async with conversing(modalities=["text"]) as (session, told):
        await types(session, SPOKEN["meeting"])
        await session.generate_reply()
        answer = await told.answer()
    same(answer.text, FAREWELL)
    assert not answer.speech


async def uses_a_tool() -> None:
    async with conversing() as (session, told):
        await types(session, SPOKEN["weather"])
        await session.generate_reply()
        (call,) = (await told.answer()).calls
        assert (call.name, call.arguments) == ("get_weather", '{"city": "London"}')
        context = session.chat_ctx.copy()
        output = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="nice", is_error=False)
        context.items.append(output)
        await session.update_chat_ctx(context)
        await session.generate_reply()
        answer = await told.answer()
    same(answer.text, FORECAST)
    audible(answer.speech, FORECAST)


async def converses(**options: Any) -> None:
    """Speech, an answer, and another turn that interrupts it."""
    async with conversing(**options) as (session, told):
        await say(session.push_audio, quiet(0.5), recorded("story"), quiet(1))
        story = asyncio.create_task(told.answer())
        await told.until("response.output_audio.delta")
        told.speech_started.clear()
        interrupting = asyncio.create_task(say(session.push_audio, quiet(0.7), recorded("meeting"), quiet(1.5)))
        await asyncio.wait_for(told.speech_started.wait(), PATIENCE)
        session.interrupt()  # LiveKit's own way at each interruption; the server has cancelled already
        cut = await story
        session.truncate(message_id=cut.message_id, modalities=["audio"], audio_end_ms=500)
        farewell = await told.answer()
        await interrupting
        await told.until("conversation.item.truncated")
        kept = session.chat_ctx.get_by_id(cut.message_id)
    assert kept is not None
    assert cut.text.startswith("Good morning") and "Maria" not in cut.text, cut.text
    same(farewell.text, FAREWELL)
    same(" ".join(told.transcripts), f"{SPOKEN['story']} {SPOKEN['meeting']}")


async def turns_by_hand() -> None:
    async with conversing(turn_detection=None) as (session, told):
        await say(session.push_audio, recorded("hello"))
        session.commit_audio()
        await session.generate_reply()
        answer = await told.answer()
        await told.until("conversation.item.input_audio_transcription.completed")
        session.clear_audio()
        await told.until("input_audio_buffer.cleared")
    same(answer.text, GREETING)
    same(told.transcripts[0], SPOKEN["hello"])


async def main() -> None:
    server_vad = ServerVad(type="server_vad", silence_duration_ms=500, create_response=True, interrupt_response=True)
    async with utils.http_context.open():
        for what, part in [
            ("STT, REST", transcribes()),
            (
                "STT, REST, gpt-transcribe with languages and keywords",
                transcribes(model="gpt-transcribe", language=["en", "es"], keywords=["London"]),
            ),
            ("STT, REST, whisper-1 (verbose)", transcribes(model="whisper-1")),
            ("STT, Realtime, server VAD", transcribes_a_stream()),
            ("STT, Realtime, a VAD of LiveKit's", transcribes_a_stream(model="gpt-realtime-whisper")),
            ("TTS, its defaults (mp3 in events)", speaks()),
            ("TTS, tts-1, wav", speaks(model="tts-1", response_format="wav")),
            ("RealtimeModel: text in, speech out", answers_text()),
            ("RealtimeModel: text in, text out", answers_in_text()),
            ("RealtimeModel: a tool", uses_a_tool()),
            ("RealtimeModel: speech, barge-in, truncation, semantic VAD", converses()),
            ("RealtimeModel: speech, barge-in, truncation, server VAD", converses(turn_detection=server_vad)),
            ("RealtimeModel: turns by hand", turns_by_hand()),
        ]:
            with checked(what):
                await part


asyncio.run(main())
finish()
