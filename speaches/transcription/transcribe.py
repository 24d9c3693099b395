"""A recording -> segments of text: decode, find the speech, put it into windows, have them heard, in order.

The stages overlap: while the engine hears a window, the next ones are being prepared, but only a few, so that a slow reader of the text
holds a place in the queue and not the engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from speaches.engines.base import DecodeOptions, Segment, SpeechToText
from speaches.errors import InvalidRequest
from speaches.transcription.activity import ActivityOptions
from speaches.transcription.hearing import Hearing

if TYPE_CHECKING:
    from speaches.audio.decode import AudioFile, AudioLimits
    from speaches.concurrency import Threads
    from speaches.models.pool import Loaded
    from speaches.transcription.windowing import HeardWindow, Recording


LONGEST_SPEECH = 15.0  # seconds that are not cut, so that every window can be a short one


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
    activity: ActivityOptions = field(default_factory=lambda: ActivityOptions(max_speech_duration_s=LONGEST_SPEECH))
    condition_on_previous_text: bool = False
    """Whether each window is told what was said before. Windows then wait for each other."""
    audio_track: int | None = None
    """Which audio track of the file, from 0; None is the one that a player plays."""


@dataclass
class Outcome:
    """What is known of a transcription when its last segment was given."""

    language: str = "en"
    """ISO 639-1: asked for, or heard for the most part."""
    duration: float = 0.0
    """Seconds of audio."""
    speech_seconds: float = 0.0
    """Seconds of audio that were heard by the recogniser."""
    phantoms: int = 0
    """Segments that were dropped as made up."""


def check(options: DecodeOptions, recogniser: Loaded) -> None:
    """Raise InvalidRequest for what the model can't do."""
    engine, model = recogniser.engine, recogniser.model.id
    for language in filter(None, (options.language, *options.candidates)):
        if language not in engine.languages:
            known = ", ".join(sorted(engine.languages))
            raise InvalidRequest(
                f"Model {model!r} does not understand the language {language!r}. It understands: {known}.",
                param="languages" if options.candidates else "language",
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
    from speaches.transcription.windowing import Recording, all_windows, speech_windows

    assert recogniser.scheduler is not None
    engine = recogniser.engine
    language = options.decode.language or (engine.languages[0] if len(engine.languages) == 1 else None)
    recording = Recording(language, options.decode.short_window)
    outcome.language = options.decode.language or "en"
    async with recogniser.scheduler.admit() as request, _opened(source, limits, threads, options.audio_track) as audio:
        frames = activity.engine.stream()
        windows = (
            speech_windows(audio, frames, options.activity, recording, one_language=options.decode.language is not None)
            if options.vad_filter
            else all_windows(audio, frames, recording)
        )
        prepared = threads.iterate(_prepared(windows, engine, options.decode, recording))
        hearing = Hearing(request, options.decode, engine, recording, context=options.condition_on_previous_text)
        async with contextlib.aclosing(hearing.segments(prepared)) as segments:
            async for segment in segments:
                yield segment
    _complete(outcome, recording, hearing)


@contextlib.asynccontextmanager
async def _opened(source: Source, limits: AudioLimits, threads: Threads, track: int | None) -> AsyncIterator[AudioFile]:
    """Open a recording, and close it: also where the reader leaves before it is open, and so never has it."""
    from speaches.audio.decode import AudioFile

    files = contextlib.ExitStack()

    def open_it() -> AudioFile:
        return files.enter_context(AudioFile(source.file, limits, source.content_type, track))

    try:
        yield await threads.run(open_it)
    finally:
        await threads.run(files.close)


def _prepared(
    windows: Generator[HeardWindow, None, None], engine: SpeechToText, options: DecodeOptions, recording: Recording
) -> Generator[tuple[HeardWindow, Any], None, None]:
    """Windows with their features, which are computed here so that the engine's threads need not."""
    with contextlib.closing(windows):
        for window in windows:
            yield window, engine.prepare(window.samples, replace(options, likely=recording.language))


def _complete(outcome: Outcome, recording: Recording, hearing: Hearing) -> None:
    outcome.language = hearing.language
    outcome.duration = recording.duration
    outcome.speech_seconds = round(min(recording.speech_seconds, recording.duration), 3)
    outcome.phantoms = hearing.phantoms.dropped
