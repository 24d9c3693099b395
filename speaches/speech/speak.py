"""Text -> speech -> bytes: pieces to the engine one ahead of the reader, and one encoder for the whole answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from speaches.audio.encode import streaming_encoder, whole_encoder
from speaches.audio.formats import SPEECH_RATE
from speaches.concurrency import tripped_over
from speaches.engines.base import Piece, SpokenWord, TextToSpeech, Utterance, Voice
from speaches.text.markup import MOST_PAUSED, Part, Pause
from speaches.text.sentences import LONGEST, pieces, steps

if TYPE_CHECKING:
    from speaches.audio.resample import Resampler
    from speaches.concurrency import Threads
    from speaches.engines.base import Samples
    from speaches.models.pool import Loaded
    from speaches.scheduling import Request

    Work: TypeAlias = tuple[str, asyncio.Future[Utterance]] | Pause

RUN_AHEAD = 2  # pieces that are spoken before the reader has taken the one before
# Encoded ahead of the rest of the first piece: a long clause takes an mp3 encoder tens of milliseconds. AAC needs most, 130 ms at 24 kHz.
HEAD_SECONDS = 0.14
_WITHIN = re.compile(r"[,;、，；،؛—–-][\"'”’»)\]]*$")  # what the first piece ends with where it is only a clause
# Seconds of silence between pieces for each second of speech, and MOST_PAUSED besides: more than any text of sentences has. Ten seconds
# after each of a thousand letters would be hours.
SILENCE_SHARE = 3.0
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
    pause: float | None = None
    """Seconds of silence between pieces, at normal speed; None for the engine's own."""
    timed: bool = False
    """Whether the words are to carry their times."""


@dataclass(frozen=True)
class Spoken:
    """The next stretch of an answer."""

    samples: Samples
    """shape (n,), float32, at `SpeakOptions.sample_rate`."""
    text: str = ""
    """The piece that it speaks; empty for silence, and for what the resampler had left."""
    words: tuple[SpokenWord, ...] = ()
    """With times from the start of the answer, where the options ask for them."""
    estimated: bool = False
    """Whether these times are guessed."""


async def parts_of(
    text: str, threads: Threads, *, normalise: bool = True, language: str | None = None
) -> AsyncGenerator[Part]:
    """The pieces of a text as they are needed, found in a thread a step at a time: the next one of a strange text may be long in coming."""
    async with contextlib.aclosing(threads.iterate(steps(text, normalise=normalise, language=language))) as found:
        async for part in found:
            if part is not None:
                yield part


async def speak(
    parts: Iterable[Part] | AsyncIterator[Part], options: SpeakOptions, model: Loaded, threads: Threads
) -> AsyncGenerator[Spoken]:
    """Yield the speech of pieces of text, in order, as soon as each is made.

    Pieces may come as slowly as an LLM writes them: what was made is not held back for them. Leaving early cancels the pieces that the
    engine has not begun.
    """
    assert model.scheduler is not None
    coming = aiter(parts) if isinstance(parts, AsyncIterator) else _at_once(parts)
    first = await anext(coming, None)  # a place in the engine is taken only once there is something to say
    if first is None:
        return
    timeline = await threads.run(_Timeline, model.engine, options)
    async with model.scheduler.admit() as request, _Ahead(request, timeline.piece) as ahead:
        ahead.feed(first, coming)
        async for work in ahead:
            if isinstance(work, Pause):
                yield await threads.run(timeline.silence, work.seconds)
            else:
                text, made = work
                yield await threads.run(timeline.speech, text, await made)
    yield Spoken(await threads.run(timeline.rest))


async def _at_once(parts: Iterable[Part]) -> AsyncIterator[Part]:
    for part in parts:
        yield part


class _Ahead:
    """Gives pieces to the engine, at most RUN_AHEAD more than the reader has taken."""

    def __init__(self, request: Request[Piece, Utterance], piece: Piece) -> None:
        self._request = request
        self._piece = piece
        self._free = asyncio.Semaphore(RUN_AHEAD)
        self._made: asyncio.Queue[Work | Exception | None] = asyncio.Queue()
        self._feeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Ahead:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])

    def feed(self, first: Part, rest: AsyncIterator[Part]) -> None:
        self._feeding = asyncio.create_task(self._feed(first, rest))

    async def __aiter__(self) -> AsyncIterator[Work]:
        while (work := await self._made.get()) is not None:
            if isinstance(work, Exception):
                raise work
            yield work
            self._free.release()

    async def _feed(self, first: Part, rest: AsyncIterator[Part]) -> None:
        part: Part | None = first
        try:
            while part is not None:
                await self._free.acquire()
                self._made.put_nowait(part if isinstance(part, Pause) else (part, self._submitted(part)))
                part = await anext(rest, None)
            self._made.put_nowait(None)
        except (Exception, asyncio.CancelledError) as error:  # whatever the text trips over is for the reader to see
            self._made.put_nowait(tripped_over(error))

    def _submitted(self, text: str) -> asyncio.Future[Utterance]:
        return self._request.submit(replace(self._piece, text=text))


class _Timeline:
    """Puts utterances one after the other: stretched, with pauses between them, at the rate of the answer. Methods block."""

    def __init__(self, engine: TextToSpeech, options: SpeakOptions) -> None:
        from speaches.audio.resample import Resampler

        own = min(max(options.speed, engine.speeds[0]), engine.speeds[1])
        self.piece = Piece("", options.voice.id, own, options.language, options.timed)
        """What is asked of the engine, but for the text."""
        self._tempo = options.speed / own
        self._rate = engine.sample_rate
        self._pauses = tuple(pause / options.speed for pause in _pauses(engine.pause, options.pause))
        """Seconds after a piece that ends within a sentence, and after another."""
        self._resampler: Resampler = Resampler(engine.sample_rate, options.sample_rate)
        self._position = 0
        """Samples so far, at the engine's rate."""
        self._before = ""
        """The piece that was spoken last."""
        self._pause_left = MOST_PAUSED
        """Seconds that pauses in the text may still take. Requests that ask for more are refused; an LLM's text is spoken all the same."""
        self._silence_left = MOST_PAUSED
        """Seconds that pauses between pieces may still take."""

    def speech(self, text: str, utterance: Utterance) -> Spoken:
        """Stretch an utterance and put the pause before it."""
        import numpy as np

        from speaches.audio.stretch import stretch

        samples = stretch(utterance.samples, self._rate, self._tempo)
        if not len(samples):
            return Spoken(samples, text)
        seconds = min(self._pauses[not _WITHIN.search(self._before)], self._silence_left) if self._before else 0.0
        self._silence_left += SILENCE_SHARE * len(samples) / self._rate - seconds
        pause = np.zeros(round(seconds * self._rate), np.float32)
        self._before = text
        start = (self._position + len(pause)) / self._rate
        self._position += len(pause) + len(samples)
        words = tuple(_moved(word, start, self._tempo) for word in utterance.words)
        return Spoken(self._resampler.push(np.concatenate((pause, samples))), text, words, utterance.estimated)

    def silence(self, seconds: float) -> Spoken:
        """A pause that the text asks for, as far as there may be one."""
        import numpy as np

        seconds = min(seconds, self._pause_left)
        self._pause_left -= seconds
        samples = np.zeros(round(seconds * self._rate), np.float32)
        self._position += len(samples)
        return Spoken(self._resampler.push(samples))

    def rest(self) -> Samples:
        return self._resampler.finish()


def _pauses(own: float, asked: float | None) -> tuple[float, float]:
    """Seconds after a clause and after a sentence: what is asked for between sentences must not tear one apart."""
    return (own, own) if asked is None else (min(own, asked), asked)


def _moved(word: SpokenWord, start: float, tempo: float) -> SpokenWord:
    """A word of an utterance that starts at `start` and is played at `tempo`."""
    phonemes = tuple(
        replace(one, start=start + one.start / tempo, end=start + one.end / tempo) for one in word.phonemes
    )
    return replace(word, start=start + word.start / tempo, end=start + word.end / tempo, phonemes=phonemes)


async def encoded(answer: AsyncGenerator[Spoken], options: SpeakOptions, threads: Threads) -> AsyncGenerator[bytes]:
    """Encode an answer as it comes. Never empty, and never an empty item."""
    import numpy as np

    # While the first piece is spoken: FLAC's takes 4 ms.
    making = asyncio.create_task(threads.run(streaming_encoder, options.response_format, options.sample_rate))
    head = round(HEAD_SECONDS * options.sample_rate)
    heard, is_finished = 0, False
    try:
        async with contextlib.aclosing(answer):
            async for spoken in answer:
                blocks = (spoken.samples,) if heard else (spoken.samples[:head], spoken.samples[head:])
                heard += len(spoken.samples)
                encoder = await asyncio.shield(making)
                for block in blocks:
                    if len(block) and (data := await threads.run(encoder.push, block)):
                        yield data
        encoder = await asyncio.shield(making)
        if not heard:
            silence = np.zeros(round(SILENCE_SECONDS * options.sample_rate), np.float32)
            if data := await threads.run(encoder.push, silence):
                yield data
        data, is_finished = await threads.run(encoder.finish), True
        if data:
            yield data
    finally:
        if not is_finished:  # which closes it: the end of an answer waits for no thread that does nothing
            await threads.run((await making).close)


async def encoded_whole(answer: AsyncGenerator[Spoken], options: SpeakOptions, threads: Threads) -> bytes:
    """Encode all of it, with true lengths in its headers."""
    import numpy as np

    encoder = await threads.run(whole_encoder, options.response_format, options.sample_rate)
    heard = 0
    try:
        async with contextlib.aclosing(answer):
            async for spoken in answer:
                heard += len(spoken.samples)
                await threads.run(encoder.push, spoken.samples)
        if not heard:
            await threads.run(encoder.push, np.zeros(round(SILENCE_SECONDS * options.sample_rate), np.float32))
        return await threads.run(encoder.finish)
    finally:
        await threads.run(encoder.close)


def is_short(text: str, normalise: bool = True, language: str | None = None) -> bool:
    """Whether the speech of a text is one piece, so that nothing is gained by streaming it. `normalise`, `language` as in `pieces`."""
    if len(text) > 2 * LONGEST:  # all but certainly more, and looking for the end of a sentence could take long
        return False
    found = pieces(text, normalise=normalise, language=language)
    next(found, None)
    return next(found, None) is None
