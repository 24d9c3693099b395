"""Does this server really work? The built-in voice speaks, the voice activity detector finds it, the built-in recogniser hears it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Hypothesis, Piece, Task, Window
from speaches.transcription.activity import FRAME_SIZE, ActivityOptions, Region, SpeechRegions

if TYPE_CHECKING:
    from speaches.concurrency import Threads
    from speaches.engines.base import Samples
    from speaches.models.models import Models

TEXT = "one two three four five"
# Found by trying: of 36 utterances at 130 to 150 words a minute PocketSphinx heard every word of this voice; of most others, not.
VOICE = Piece(TEXT, "en-us+f5", speed=140 / 175)
VOICE_MODEL = "speaches/espeak-ng"
RECOGNISER = "speaches/pocketsphinx-en-us"
ENOUGH_WORDS = 4
SILENCE = SAMPLE_RATE // 2  # samples around the speech, so that there is something to find it in
TOLERANCE = 0.25  # seconds by which the detector may be off


@dataclass
class Step:
    name: str
    ok: bool
    milliseconds: float
    detail: str


@dataclass
class SelfTest:
    models: Models
    threads: Threads
    steps: list[Step] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)

    async def run(self) -> None:
        """Take the steps; a step that fails ends the test."""
        speech = await self._step("speak", self._speak)
        if speech is not None and await self._step("find the speech", lambda: self._find(speech)):
            await self._step("hear the words", lambda: self._hear(speech))

    async def _step(self, name: str, work: Callable[[], Awaitable[tuple[Any, bool, str]]]) -> Any:
        started = time.perf_counter()
        try:
            result, ok, detail = await work()
        except Exception as error:
            result, ok, detail = None, False, f"{type(error).__name__}: {error}"
        self.steps.append(Step(name, ok, round((time.perf_counter() - started) * 1000, 1), detail))
        return result if ok else None

    async def _speak(self) -> tuple[Samples, bool, str]:
        async with self.models.use(VOICE_MODEL, Task.TTS) as voice:
            assert voice.scheduler is not None
            async with voice.scheduler.admit() as request:
                spoken = await request.submit(VOICE)
        samples, loud = await self.threads.run(_padded, spoken.samples, voice.engine.sample_rate)
        seconds = len(samples) / SAMPLE_RATE - 2 * SILENCE / SAMPLE_RATE
        return samples, loud > 0.05, f"{seconds:.2f} s of speech, peak {loud:.2f}"

    async def _find(self, speech: Samples) -> tuple[list[Region], bool, str]:
        async with self.models.use(None, Task.VAD) as activity:
            whole = speech[: len(speech) // FRAME_SIZE * FRAME_SIZE]
            probabilities = await self.threads.run(activity.engine.stream().probabilities, whole)
        regions = SpeechRegions(ActivityOptions(min_silence_duration_ms=200, speech_pad_ms=0))
        found = regions.push(probabilities) + regions.finish(len(speech))
        start, end = (found[0].start, found[-1].end) if found else (0, 0)
        wanted = (SILENCE, len(speech) - SILENCE)
        off = max(abs(start - wanted[0]), abs(end - wanted[1])) / SAMPLE_RATE
        return (
            found,
            off <= TOLERANCE,
            f"from {start / SAMPLE_RATE:.2f} to {end / SAMPLE_RATE:.2f} s, off by {off:.2f} s at most",
        )

    async def _hear(self, speech: Samples) -> tuple[str, bool, str]:
        async with self.models.use(RECOGNISER, Task.STT) as recogniser:
            assert recogniser.scheduler is not None
            async with recogniser.scheduler.admit() as request:
                heard: Hypothesis = await request.submit(Window(speech, DecodeOptions(language="en")))
        text = "".join(segment.text for segment in heard.segments).strip()
        right = sum(word in text.split() for word in TEXT.split())
        return text, right >= ENOUGH_WORDS, f"{text!r}: {right} of {len(TEXT.split())} words"


def _padded(spoken: Samples, rate: int) -> tuple[Samples, float]:
    """The speech at 16 kHz with silence around it, and its peak."""
    import numpy as np

    from speaches.audio.resample import resample

    samples = resample(spoken, rate, SAMPLE_RATE)
    return np.pad(samples, SILENCE), float(np.abs(samples).max(initial=0.0))
