"""The LLM's deltas -> the same deltas, and between them the speech of what they say, while the LLM still writes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from speaches.chat.answers import Delta
from speaches.concurrency import tripped_over, wait_even_if_cancelled
from speaches.errors import BadGateway, SpeachesError
from speaches.text.markup import Part
from speaches.text.sentences import BLOCK, Splitter

if TYPE_CHECKING:
    from speaches.speech.speak import Spoken

    Voice: TypeAlias = Callable[[AsyncIterator[Part]], AsyncGenerator[Spoken]]
    """Speaks parts as they come: `functools.partial(speak, options=..., model=..., threads=...)`."""
    Made: TypeAlias = asyncio.Queue[Delta | Spoken | Exception | None]
    """None when one of the two, text or speech, is at its end."""

LONGEST_TEXT = 1_000_000  # characters of an answer
READ_AHEAD = 4096  # deltas that wait for the reader: it may be busy playing, and the next sentence has to be ready then
SPOKEN_AHEAD = 2  # stretches of speech that do
STALL = 0.15  # seconds without a delta, after which a sentence that seems to be whole is spoken without the next one's first word
UNUSUAL = 3  # times as long as the LLM takes for a delta: one that is always slow has not stalled, and "example." may still get its "com"


async def spoken_answer(
    deltas: AsyncGenerator[Delta], voice: Voice, *, language: str | None = None, longest: int = LONGEST_TEXT
) -> AsyncGenerator[Delta | Spoken]:
    """Yield each delta as it comes and each stretch of speech as it is made, both in order.

    The text does not wait for its speech, and a sentence is spoken as soon as it is written. Leaving early closes both `deltas` and the
    speech.

    Args:
        language: BCP 47, which the text is read in: addresses and emphasis are not spoken as they are written.

    Raises:
        What either of them raises. Where it is the LLM, the sentences that it has finished are spoken before.
        BadGateway: If the answer does not end after `longest` characters, which wait in memory to be spoken.
    """
    made: Made = asyncio.Queue(READ_AHEAD)
    free = asyncio.Semaphore(SPOKEN_AHEAD)
    parts, ended = Parts(Splitter(language=language)), asyncio.Event()
    works = (
        functools.partial(_write, deltas, longest, made, parts, ended),
        functools.partial(_speak, voice(parts.taken()), made, free, ended),
    )
    tasks = [asyncio.create_task(_to_its_end(work, made)) for work in works]
    running = len(tasks)
    try:
        while running:
            one = await made.get()
            if isinstance(one, Exception):
                raise one
            if one is None:
                running -= 1
                continue
            yield one
            if not isinstance(one, Delta):
                free.release()
    finally:
        for task in tasks:
            task.cancel()
        await wait_even_if_cancelled(asyncio.gather(*tasks, return_exceptions=True))


def too_long(longest: int) -> BadGateway:
    return BadGateway(f"The LLM's answer is longer than {longest} characters, the most this server speaks at once.")


async def _to_its_end(work: Callable[[], Awaitable[None]], made: Made) -> None:
    """Do the work, and put None, or what it trips over, behind all that it has made."""
    try:
        await work()
    except (Exception, asyncio.CancelledError) as error:  # for the reader to see
        await made.put(tripped_over(error))
    else:
        await made.put(None)


async def _write(deltas: AsyncGenerator[Delta], longest: int, made: Made, parts: Parts, ended: asyncio.Event) -> None:
    """Hand on the deltas, and their text in parts to speak."""
    length = 0
    try:
        async with contextlib.aclosing(deltas):
            async for delta in deltas:
                await made.put(delta)
                length += len(delta.text)
                if length > longest:
                    raise too_long(longest)
                await parts.add(delta)
    except SpeachesError:
        if length <= longest:
            parts.end(whole=False)
            await ended.wait()
        raise
    finally:
        parts.stop_waiting()
    parts.end()


async def _speak(speech: AsyncGenerator[Spoken], made: Made, free: asyncio.Semaphore, ended: asyncio.Event) -> None:
    try:
        async with contextlib.aclosing(speech):
            async for spoken in speech:
                await free.acquire()
                await made.put(spoken)
    finally:
        ended.set()


class Parts:
    """What is to be spoken, from an LLM that writes it in deltas."""

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter
        self._queue: asyncio.Queue[Part | None] = asyncio.Queue()
        self._began = 0.0
        self._count = 0
        """Of the deltas so far; the first came when it `began`."""
        self._stall: asyncio.TimerHandle | None = None

    async def add(self, delta: Delta) -> None:
        self.stop_waiting()
        for start in range(0, len(delta.text), BLOCK):
            self._put(self._splitter.push(delta.text[start : start + BLOCK]))
            await asyncio.sleep(0)  # others run in between
        if delta.finish_reason:  # the usage may yet come, a word no more
            self._put(self._splitter.finish())
        self._wait()

    def end(self, *, whole: bool = True) -> None:
        """There are no more deltas; of a text that is not `whole` only its sentences are spoken."""
        self._put([*(self._splitter.finish() if whole else self._splitter.rest()), None])

    async def taken(self) -> AsyncIterator[Part]:
        while (part := await self._queue.get()) is not None:
            yield part

    def stop_waiting(self) -> None:
        if self._stall is not None:
            self._stall.cancel()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._began = self._began or now
        pace = (now - self._began) / max(self._count, 1)
        self._count += 1
        self._stall = loop.call_later(max(STALL, UNUSUAL * pace), lambda: self._put(self._splitter.rest()))

    def _put(self, parts: Sequence[Part | None]) -> None:
        for part in parts:
            self._queue.put_nowait(part)
