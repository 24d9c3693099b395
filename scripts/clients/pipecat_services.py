"""Pipecat: its four OpenAI services in pipelines without a transport: frames go in, frames come out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
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
    WS_URL,
    audible,
    checked,
    chunks,
    finish,
    quiet,
    recorded,
    same,
    spoken,
    words,
)
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMRunFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner

logger.remove()
logger.add(sys.stderr, level="WARNING")


class Watch(BaseObserver):
    """All frames, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self._seen: set[int] = set()
        self._changed = asyncio.Condition()

    async def on_push_frame(self, data: FramePushed) -> None:
        if data.frame.id in self._seen:
            return
        self._seen.add(data.frame.id)
        self.frames.append(data.frame)
        async with self._changed:
            self._changed.notify_all()

    def all(self, kind: type) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, state: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(lambda: state() or self.all(ErrorFrame))
        except TimeoutError:
            raise AssertionError(f"in vain; heard {self.heard()!r}, said {self.said()!r}") from None
        assert not self.all(ErrorFrame), self.all(ErrorFrame)
        return state()

    def speech(self) -> bytes:
        return b"".join(frame.audio for frame in self.all(TTSAudioRawFrame))

    def said(self) -> str:
        return "".join(frame.text for frame in self.all(TTSTextFrame))

    def is_done_speaking(self) -> bool:
        """An interruption may throw away the frame that says so; of an answer that was spoken to its end it comes last."""
        kinds = [type(frame) for frame in self.frames if isinstance(frame, (TTSAudioRawFrame, TTSStoppedFrame))]
        return bool(kinds) and kinds[-1] is TTSStoppedFrame

    def heard(self) -> str:
        return " ".join(frame.text for frame in self.all(TranscriptionFrame))


class Run:
    """A pipeline that runs."""

    def __init__(self, worker: PipelineWorker, watch: Watch) -> None:
        self.worker, self.watch = worker, watch

    async def send(self, *frames: Frame) -> None:
        await self.worker.queue_frames(list(frames))

    async def say(self, *pcm: bytes) -> None:
        """In real time."""
        for chunk in chunks(b"".join(pcm)):
            await self.send(InputAudioRawFrame(audio=chunk, sample_rate=WIRE_RATE, num_channels=1))
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(*processors: Any) -> Any:
    watch, started = Watch(), asyncio.Event()
    params = PipelineParams(audio_in_sample_rate=WIRE_RATE, audio_out_sample_rate=WIRE_RATE)
    worker = PipelineWorker(
        Pipeline(list(processors)), params=params, observers=[watch], enable_rtvi=False, cancel_on_idle_timeout=False
    )

    @worker.event_handler("on_pipeline_started")
    async def _(worker: Any, frame: Any) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    task = asyncio.create_task(runner.run())
    try:
        await asyncio.wait_for(started.wait(), PATIENCE)
        yield Run(worker, watch)
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(asyncio.shield(task), PATIENCE)
        assert not watch.all(ErrorFrame), watch.all(ErrorFrame)
    finally:
        if not task.done():
            await worker.cancel()
        await task


# --- Recognisers and voices ---


async def transcribes_by_rest() -> None:
    async with running(OpenAISTTService(api_key=KEY, base_url=f"{URL}/v1")) as run:
        await run.send(VADUserStartedSpeakingFrame())
        await run.say(recorded("weather"))
        await run.send(VADUserStoppedSpeakingFrame())
        await run.watch.until(lambda: run.watch.all(TranscriptionFrame))
    same(run.watch.heard(), SPOKEN["weather"])


async def transcribes_when_told() -> None:
    stt = OpenAIRealtimeSTTService(api_key=KEY, base_url=f"{WS_URL}/v1/realtime")
    async with running(stt) as run:
        for turn, name in enumerate(("hello", "story"), start=1):
            await run.send(VADUserStartedSpeakingFrame())
            await run.say(recorded(name))
            await run.send(VADUserStoppedSpeakingFrame())
            await run.watch.until(lambda wanted=turn: len(run.watch.all(TranscriptionFrame)) == wanted)
    same(run.watch.heard(), f"{SPOKEN['hello']} {SPOKEN['story']}")


async def transcribes_by_server_vad() -> None:
    settings = OpenAIRealtimeSTTService.Settings(model="gpt-live-transcribe", noise_reduction="near_field")
    stt = OpenAIRealtimeSTTService(
        api_key=KEY, base_url=f"{WS_URL}/v1/realtime", turn_detection={"type": "server_vad"}, settings=settings
    )
    async with running(stt) as run:
        await run.say(quiet(0.5), recorded("hello"), quiet(1.5), recorded("story"), quiet(1.5))
        await run.watch.until(lambda: len(run.watch.all(TranscriptionFrame)) == 2)
    same(run.watch.heard(), f"{SPOKEN['hello']} {SPOKEN['story']}")
    assert run.watch.all(InterimTranscriptionFrame)


async def speaks() -> None:
    async with running(OpenAITTSService(api_key=KEY, base_url=f"{URL}/v1")) as run:
        await run.send(TTSSpeakFrame(GREETING))
        await run.watch.until(run.watch.is_done_speaking)
    spoken(run.watch.speech(), GREETING)


# --- The realtime model ---


@asynccontextmanager
async def conversing(*messages: str, **audio_input: Any) -> Any:
    weather = FunctionSchema(
        name="get_weather", description="The weather.", properties={"city": {"type": "string"}}, required=["city"]
    )
    properties = events.SessionProperties(
        audio=events.AudioConfiguration(
            input=events.AudioInput(transcription=events.InputAudioTranscription(), **audio_input)
        )
    )
    llm = OpenAIRealtimeLLMService(
        api_key=KEY,
        base_url=f"{WS_URL}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(system_instruction="Be brief.", session_properties=properties),
    )
    called: list[Any] = []

    async def get_weather(params: Any) -> None:
        called.append(params.arguments)
        await params.result_callback({"weather": "nice"})

    llm.register_function("get_weather", get_weather)
    context = LLMContext([{"role": "user", "content": text} for text in messages], ToolsSchema([weather]))
    pair = LLMContextAggregatorPair(context)
    async with running(pair.user(), llm, pair.assistant()) as run:
        run.called, run.context = called, context
        await run.send(LLMRunFrame())
        yield run


async def answers_text() -> None:
    async with conversing("Hello.") as run:
        await run.watch.until(run.watch.is_done_speaking)
    same(run.watch.said(), GREETING)
    spoken(run.watch.speech(), GREETING)


async def uses_a_tool() -> None:
    async with conversing(SPOKEN["weather"]) as run:
        await run.watch.until(run.watch.is_done_speaking)
    assert run.called == [{"city": "London"}]
    same(run.watch.said(), FORECAST)
    audible(run.watch.speech(), FORECAST)


async def converses(detection: Any) -> None:
    async with conversing("Hello.", turn_detection=detection) as run:
        watch = run.watch
        await watch.until(watch.is_done_speaking)
        await run.say(quiet(0.5), recorded("story"), quiet(1.5))
        await watch.until(lambda: "Good morning" in watch.said())
        await run.say(quiet(0.7), recorded("meeting"), quiet(1.5))
        await watch.until(lambda: words(watch.said())[-len(words(FAREWELL)) :] == words(FAREWELL))
        await watch.until(watch.is_done_speaking)
    same(watch.heard(), f"{SPOKEN['story']} {SPOKEN['meeting']}")
    assert watch.all(InterruptionFrame)
    asked = [message["content"] for message in run.context.get_messages() if message["role"] == "user"]
    assert [words(text) for text in asked] == [words(text) for text in ("Hello.", SPOKEN["story"], SPOKEN["meeting"])]


async def is_driven_by_hand() -> None:
    """As with a VAD of Pipecat's own: it clears, commits and asks for responses, and cancels what may have ended."""
    async with conversing("Hello.", turn_detection=False) as run:
        await run.watch.until(run.watch.is_done_speaking)
        await run.send(InterruptionFrame(), UserStartedSpeakingFrame())
        await run.say(recorded("meeting"))
        await run.send(UserStoppedSpeakingFrame())
        await run.watch.until(lambda: run.watch.said().endswith(FAREWELL))
        await run.watch.until(run.watch.is_done_speaking)
    same(run.watch.heard(), SPOKEN["meeting"])


async def main() -> None:
    for what, part in [
        ("OpenAISTTService", transcribes_by_rest()),
        ("OpenAIRealtimeSTTService, told when to commit", transcribes_when_told()),
        ("OpenAIRealtimeSTTService, server VAD", transcribes_by_server_vad()),
        ("OpenAITTSService", speaks()),
        ("OpenAIRealtimeLLMService: text in, speech out", answers_text()),
        ("OpenAIRealtimeLLMService: a tool", uses_a_tool()),
        ("OpenAIRealtimeLLMService: speech, barge-in, server VAD", converses(events.TurnDetection())),
        ("OpenAIRealtimeLLMService: speech, barge-in, semantic VAD", converses(events.SemanticTurnDetection())),
        ("OpenAIRealtimeLLMService: turns by hand", is_driven_by_hand()),
    ]:
        with checked(what):
            await part


asyncio.run(main())
finish()
