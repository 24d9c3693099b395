"""Text -> samples -> bytes: pieces to the engine one ahead of the reader, and one encoder for the whole answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speaches.audio.encode import SPEECH_RATE, encode, streaming_encoder
from speaches.engines.base import Piece, TextToSpeech, Voice
from speaches.text.sentences import pieces

if TYPE_CHECKING:
    from speaches.audio.resample import Resampler
    from speaches.concurrency import Threads
    from speaches.engines.base import Samples
    from speaches.models.pool import Loaded

RUN_AHEAD = 2  # pieces that are spoken before the reader has taken the one before
SILENCE_SECONDS = 0.1  # what is heard of a text in which there is nothing to say, such as "..."


@dataclass(frozen=True)
class SpeakOptions:
    voice: Voice
    speed: float = 1.0
    """0.25 to 4.0; what the engine can't do itself is stretched."""
    language: str | None = None
    """BCP 47, where it differs from the voice's."""
    response_format: str = "mp3"
    sample_rate: int = SPEECH_RATE
    """Hz."""


async def speak(text: str, options: SpeakOptions, model: Loaded, threads: Threads) -> AsyncGenerator[Samples, None]:
    """Yield the speech of `text` in blocks of any length at `options.sample_rate`.

    Leaving early cancels the pieces that the engine has not begun.
    """
    from speaches.audio.resample import Resampler

    engine: TextToSpeech = model.engine
    assert model.scheduler is not None
    resampler = await threads.run(Resampler, engine.sample_rate, options.sample_rate)
    speed, tempo = _split_speed(options.speed, engine.speeds)
    async with model.scheduler.admit() as request:
        ahead: deque[asyncio.Future[Samples]] = deque()
        texts = pieces(text)
        first = True
        while True:
            while len(ahead) < RUN_AHEAD and (part := next(texts, None)) is not None:
                ahead.append(request.submit(Piece(part, options.voice.id, speed, options.language)))
            if not ahead:
                break
            samples = await ahead.popleft()
            pause = 0.0 if first else engine.pause / options.speed
            first = first and not len(samples)
            yield await threads.run(_finish, samples, engine.sample_rate, tempo, pause, resampler)
    yield await threads.run(resampler.finish)


def _split_speed(speed: float, speeds: tuple[float, float]) -> tuple[float, float]:
    """What of a speed the engine does, and what is left for stretching."""
    own = min(max(speed, speeds[0]), speeds[1])
    return own, speed / own


def _finish(samples: Samples, rate: int, tempo: float, pause: float, resampler: Resampler) -> Samples:
    """Stretch a piece, put the pause before it, and resample it as part of the stream."""
    import numpy as np

    from speaches.audio.stretch import stretch

    spoken = stretch(samples, rate, tempo)
    silence = np.zeros(round(pause * rate) if len(spoken) else 0, np.float32)
    return resampler.push(np.concatenate((silence, spoken)))


async def encoded(
    blocks: AsyncGenerator[Samples, None], options: SpeakOptions, threads: Threads
) -> AsyncGenerator[bytes, None]:
    """Encode a stream of samples as it comes. Never empty, and never an empty item."""
    import numpy as np

    encoder = await threads.run(streaming_encoder, options.response_format, options.sample_rate)
    heard = 0
    try:
        async with contextlib.aclosing(blocks):
            async for samples in blocks:
                heard += len(samples)
                if data := await threads.run(encoder.push, samples):
                    yield data
        if not heard:
            silence = np.zeros(round(SILENCE_SECONDS * options.sample_rate), np.float32)
            if data := await threads.run(encoder.push, silence):
                yield data
        if data := await threads.run(encoder.finish):
            yield data
    finally:
        await threads.run(encoder.close)


async def encoded_whole(blocks: AsyncGenerator[Samples, None], options: SpeakOptions, threads: Threads) -> bytes:
    """Encode all of it, with true lengths in its headers."""
    import numpy as np

    parts = []
    async with contextlib.aclosing(blocks):
        async for samples in blocks:
            parts.append(samples)
    whole = np.concatenate(parts)
    if not len(whole):
        whole = np.zeros(round(SILENCE_SECONDS * options.sample_rate), np.float32)
    return await threads.run(encode, options.response_format, options.sample_rate, whole)


def is_short(text: str) -> bool:
    """Whether the speech of a text is one piece, so that nothing is gained by streaming it."""
    found = pieces(text)
    next(found, None)
    return next(found, None) is None
