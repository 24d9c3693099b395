"""A recording -> segments of text: decode, find the speech, put it into windows, have them heard, in order.

The stages overlap: while the engine hears a window, the next ones are being prepared, but only a few, so that a slow reader of the text
holds a place in the queue and not the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from speaches.engines.base import DecodeOptions, Hypothesis, Segment, Window
from speaches.errors import InvalidRequest
from speaches.transcription.activity import ActivityOptions

if TYPE_CHECKING:
    from speaches.audio.decode import AudioLimits
    from speaches.concurrency import Threads
    from speaches.models.pool import Loaded
    from speaches.scheduling import Request
    from speaches.transcription.windowing import HeardWindow, Recording

RUN_AHEAD = 2  # windows that wait for a worker, beyond those that workers can take at once


@dataclass(frozen=True)
class Source:
    """A recording that was uploaded."""

    file: BinaryIO
    content_type: str = ""


@dataclass(frozen=True)
class TranscribeOptions:
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    vad_filter: bool = True
    """Whether what is not speech is left out."""
    activity: ActivityOptions = field(default_factory=lambda: ActivityOptions(max_speech_duration_s=30))


@dataclass
class Outcome:
    """What is known of a transcription when its last segment was given."""

    language: str = "en"
    """ISO 639-1, asked for or heard."""
    duration: float = 0.0
    """Seconds of audio."""
    speech_seconds: float = 0.0
    """Seconds of audio that were heard by the recogniser."""


def check(options: DecodeOptions, recogniser: Loaded) -> None:
    """Raise InvalidRequest for what the model can't do."""
    engine, model = recogniser.engine, recogniser.model.id
    if options.language is not None and options.language not in engine.languages:
        known = ", ".join(sorted(engine.languages))
        raise InvalidRequest(
            f"Model {model!r} does not understand the language {options.language!r}. It understands: {known}.",
            param="language",
            code="invalid_value",
        )
    if options.task == "translate" and not engine.translates:
        raise InvalidRequest(
            f"Model {model!r} can't translate; it hears only its own language.", param="model", code="unsupported_value"
        )


async def transcribe(
    source: Source,
    options: TranscribeOptions,
    outcome: Outcome,
    *,
    recogniser: Loaded,
    activity: Loaded,
    limits: AudioLimits,
    threads: Threads,
) -> AsyncGenerator[Segment, None]:
    """Yield the segments of a recording in order, each as soon as its window was heard; then `outcome` is complete.

    Leaving early cancels the windows that no worker has taken, and closes the file.
    """
    from speaches.audio.decode import AudioFile
    from speaches.transcription.windowing import Recording, all_windows, speech_windows

    assert recogniser.scheduler is not None
    recording = Recording()
    outcome.language = options.decode.language or "en"
    async with recogniser.scheduler.admit() as request:
        audio = await threads.run(AudioFile, source.file, limits, source.content_type)
        frames = activity.engine.stream()
        windows = (
            speech_windows(audio, frames, options.activity, recording)
            if options.vad_filter
            else all_windows(audio, frames, recording)
        )
        try:
            async with contextlib.aclosing(
                _hear(threads.iterate(windows), options.decode, outcome, request, recogniser)
            ) as segments:
                async for segment in segments:
                    yield segment
        finally:
            await threads.run(audio.close)
        _complete(outcome, recording)


def _complete(outcome: Outcome, recording: Recording) -> None:
    outcome.duration = recording.duration
    outcome.speech_seconds = round(min(recording.speech_seconds, recording.duration), 3)


async def _hear(
    windows: AsyncGenerator[HeardWindow, None],
    options: DecodeOptions,
    outcome: Outcome,
    request: Request[Window, Hypothesis],
    recogniser: Loaded,
) -> AsyncGenerator[Segment, None]:
    """Keep the workers busy with windows, and give their segments in order."""
    most = recogniser.engine.workers * recogniser.engine.batch_size + RUN_AHEAD
    ahead: deque[tuple[HeardWindow, asyncio.Future[Hypothesis]]] = deque()
    async with contextlib.aclosing(windows):
        async for window in windows:
            ahead.append((window, request.submit(Window(window.samples, options))))
            if options.language is None:
                # The first window tells the language, and then it holds for the rest.
                hypothesis = await ahead[0][1]
                options = replace(options, language=hypothesis.language)
            outcome.language = str(options.language)
            while len(ahead) >= most or (ahead and ahead[0][1].done()):
                for segment in await _next(ahead):
                    yield segment
        while ahead:
            for segment in await _next(ahead):
                yield segment


async def _next(ahead: deque[tuple[HeardWindow, asyncio.Future[Any]]]) -> list[Segment]:
    window, heard = ahead.popleft()
    hypothesis: Hypothesis = await heard
    return [window.times.segment(segment) for segment in hypothesis.segments]
