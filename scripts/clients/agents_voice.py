"""openai-agents: its voice pipeline, with transcriptions by REST and streamed over a WebSocket, and streamed speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from agents import set_tracing_disabled
from agents.voice import (
    AudioInput,
    OpenAIVoiceModelProvider,
    StreamedAudioInput,
    VoicePipeline,
    VoicePipelineConfig,
    VoiceWorkflowBase,
)
from checks import FAREWELL, GREETING, KEY, SPOKEN, URL, audible, checked, chunks, finish, quiet, recorded, same, spoken

set_tracing_disabled(True)


class Attendant(VoiceWorkflowBase):
    """Remembers what it heard, and has two answers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, transcription: str) -> AsyncIterator[str]:
        self.heard.append(transcription)
        yield FAREWELL if "meeting" in transcription.lower() else GREETING


def pipeline(attendant: Attendant, **models: str) -> VoicePipeline:
    provider = OpenAIVoiceModelProvider(api_key=KEY, base_url=f"{URL}/v1")
    config = VoicePipelineConfig(model_provider=provider, tracing_disabled=True)
    return VoicePipeline(workflow=attendant, config=config, **models)


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, np.int16)


async def speech_of(result: object) -> bytes:
    speech, problems = [], []
    async for event in result.stream():  # type: ignore[attr-defined]
        if event.type == "voice_stream_event_audio" and event.data is not None:
            speech.append(event.data.tobytes())
        elif event.type == "voice_stream_event_error":
            problems.append(event.error)
    assert not problems, problems
    return b"".join(speech)


async def one_recording() -> None:
    attendant = Attendant()
    result = await pipeline(attendant).run(AudioInput(buffer=samples(recorded("hello"))))
    spoken(await speech_of(result), GREETING)
    (heard,) = attendant.heard
    same(heard, SPOKEN["hello"])


async def a_stream(stt_model: str) -> None:
    """Two turns; the second is cut off by the end of the stream, without silence after it."""
    attendant, source = Attendant(), StreamedAudioInput()
    result = await pipeline(attendant, stt_model=stt_model).run(source)
    hearing = asyncio.create_task(speech_of(result))
    for chunk in chunks(quiet(0.5) + recorded("hello") + quiet(3) + recorded("meeting")):
        await source.add_audio(samples(chunk))
        await asyncio.sleep(0.1)
    await source.add_audio(None)  # type: ignore[arg-type]
    speech = await asyncio.wait_for(hearing, 60)
    same(" ".join(attendant.heard), f"{SPOKEN['hello']} {SPOKEN['meeting']}")
    audible(speech, f"{GREETING} {FAREWELL}")


async def main() -> None:  # one event loop: the provider's HTTP client is shared by all pipelines
    with checked("one recording, by REST"):
        await one_recording()
    for model in ("gpt-transcribe", "gpt-4o-transcribe"):
        with checked(f"a stream of two turns, {model}"):
            await a_stream(model)


asyncio.run(main())
finish()
