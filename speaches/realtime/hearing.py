"""A turn of speech -> its text: for good when it is over, and quickly while it goes on."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speaches.engines.base import WINDOW_SAMPLES, DecodeOptions, Segment, Task, Window, Word
from speaches.transcription.phantoms import is_phantom
from speaches.transcription.transcribe import Outcome, Source, TranscribeOptions, check, transcribe

if TYPE_CHECKING:
    from speaches.api.state import Server
    from speaches.engines.base import Hypothesis, Samples
    from speaches.models.pool import Loaded
    from speaches.realtime.work import Hearing

CONTEXT_CHARS = 200  # of what was said before, as Macháček et al. (2023) prompt with


@dataclass(frozen=True)
class Heard:
    """What was said in a turn."""

    segments: tuple[Segment, ...]
    language: str
    """ISO 639-1."""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


async def hear(samples: Samples, how: Hearing, server: Server, *, logprobs: bool = False) -> Heard:
    """What is said in a whole turn of any length.

    Args:
        samples: shape (n,), float32, 16 kHz.
    """
    options = replace(_options(how), logprobs=logprobs)
    async with server.models.use(how.model, Task.STT) as recogniser:
        check(options, recogniser)
        if len(samples) > WINDOW_SAMPLES:
            return await _hear_long(samples, options, recogniser, server)
        heard = await _hear_window(samples, options, recogniser, server)
    # The turn's detector has found speech in it, or the client says that there is: only the recogniser's own doubt counts.
    kept = tuple(
        segment for segment in heard.segments if segment.text.strip() and not is_phantom(segment, activity=1.0)
    )
    return Heard(kept, heard.language)


async def listen(samples: Samples, how: Hearing, said_before: str, server: Server) -> list[Word]:
    """The words so far of a turn that goes on, with times from the start of the samples. Quick: one window, and no second try.

    Args:
        said_before: What was said before the samples. Nothing of what is in them: Whisper goes on after its prompt, and would skip it.
    """
    before = " ".join(filter(None, (how.prompt, said_before[-CONTEXT_CHARS:])))
    options = replace(_options(how), prompt=before or None, timestamps=False, words=True, temperatures=(0.0,))
    async with server.models.use(how.model, Task.STT) as recogniser:
        check(options, recogniser)
        heard = await _hear_window(samples[-WINDOW_SAMPLES:], options, recogniser, server)
    return [word for segment in heard.segments for word in segment.words]


def _options(how: Hearing) -> DecodeOptions:
    return DecodeOptions(
        language=how.language,
        candidates=how.languages,
        prompt=how.prompt,
        hotwords=", ".join(how.keywords) or None,
        short_window=True,
    )


async def _hear_window(samples: Samples, options: DecodeOptions, recogniser: Loaded, server: Server) -> Hypothesis:
    assert recogniser.scheduler is not None
    async with recogniser.scheduler.admit() as request:
        features = await server.threads.run(recogniser.engine.prepare, samples, options)
        heard: Hypothesis = await request.submit(Window(samples, options, features))
    return heard


async def _hear_long(samples: Samples, options: DecodeOptions, recogniser: Loaded, server: Server) -> Heard:
    """As a recording, which is cut into windows where nobody speaks."""
    recording = io.BytesIO(await server.threads.run(_wav, samples))
    outcome, kept = Outcome(), list[Segment]()
    async with server.models.use(None, Task.VAD) as activity:
        segments = transcribe(
            Source(recording),
            TranscribeOptions(decode=replace(options, short_window=False)),
            outcome,
            recogniser=recogniser,
            activity=activity,
            limits=server.audio_limits,
            threads=server.threads,
        )
        async with contextlib.aclosing(segments):
            kept = [segment async for segment in segments]
    return Heard(tuple(kept), outcome.language)


def _wav(samples: Samples) -> bytes:
    from speaches.audio.encode import encode
    from speaches.engines.base import SAMPLE_RATE

    return encode("wav", SAMPLE_RATE, samples)


def logprobs_of(segments: Sequence[Segment]) -> list[dict[str, object]]:
    """As `conversation.item.input_audio_transcription.completed` carries them."""
    return [
        {"token": one.token, "logprob": one.logprob, "bytes": list(one.bytes)}
        for segment in segments
        for one in segment.logprobs
    ]
