"""Windows of one recording -> segments: which language, what was said before, what to believe. Keeps the engine's workers busy."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Hypothesis, Segment, SpeechToText, Window
from speaches.transcription.doubts import is_doubtful, is_loop, likelihood
from speaches.transcription.gaps import believable, fill, gaps
from speaches.transcription.phantoms import NO_ACTIVITY, PhantomFilter, is_phantom

if TYPE_CHECKING:
    from speaches.scheduling import Request
    from speaches.transcription.windowing import HeardWindow, Recording

RUN_AHEAD = 2  # windows that wait for a worker, beyond those that workers can take at once
SURE = 0.5
"""From this probability on, the first window tells the language of the recording."""
UNSURE_WINDOWS = 4
"""How many windows are asked for the language when the first is not sure."""
CONTEXT_CHARS = 800  # of what was said before; Whisper takes about 220 tokens of it
TOO_WARM = 0.5
"""Text made at a higher temperature is too uncertain to go on from (openai/whisper: prompt_reset_on_temperature)."""

SHORTEST_LOOP = 4 * SAMPLE_RATE  # a shorter window is not cut in halves
MOST_DEPTH = 3  # how often a part of a part is heard again

Heard: TypeAlias = "tuple[HeardWindow, asyncio.Task[Hypothesis]]"


@dataclass
class _Failed:
    error: BaseException


class Hearing:
    """Has the windows of one recording heard, and gives their segments in order.

    Args:
        request: The recording's place in the engine's scheduler.
        recording: Told the language as soon as it is known.
        context: Whether each window is told what was said before.
    """

    def __init__(
        self,
        request: Request[Window, Hypothesis],
        options: DecodeOptions,
        engine: SpeechToText,
        recording: Recording,
        *,
        context: bool,
    ) -> None:
        self._request = request
        self._recording = recording
        self._options = options
        self._context = context
        self._prompt = options.prompt
        self._said = ""
        """What was heard in the last window, where the next is told of it."""
        self._ahead: asyncio.Queue[Heard | _Failed | None] = asyncio.Queue(
            1 if context else engine.workers * engine.batch_size + RUN_AHEAD
        )
        self._samples: Counter[str] = Counter()
        """Samples of speech by language."""
        self._tasks: set[asyncio.Task[Hypothesis]] = set()
        """Windows that are being heard."""
        self.phantoms = PhantomFilter()

    @property
    def language(self) -> str:
        """The language of most of the speech."""
        return self._options.language or (self._samples.most_common(1)[0][0] if self._samples else "en")

    async def segments(self, windows: AsyncGenerator[tuple[HeardWindow, Any], None]) -> AsyncGenerator[Segment, None]:
        """Yield segments, in order, each as soon as its window was heard."""
        feeding = asyncio.create_task(self._feed(windows))
        try:
            while (heard := await self._ahead.get()) is not None:
                if isinstance(heard, _Failed):
                    raise heard.error
                window, task = heard
                for segment in self._believed(window, await task):
                    yield segment
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _feed(self, windows: AsyncGenerator[tuple[HeardWindow, Any], None]) -> None:
        """Submit windows as fast as they can be prepared and the queue takes them."""
        try:
            async with contextlib.aclosing(windows):
                if self._options.language is None:
                    await self._settle_language(windows)
                async for window, features in windows:
                    task = self._begin(window, features, self._options)
                    await self._ahead.put((window, task))
                    if self._context:
                        self._go_on_from(window, await asyncio.shield(task))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await self._ahead.put(_Failed(error))
        else:
            await self._ahead.put(None)

    async def _settle_language(self, windows: AsyncGenerator[tuple[HeardWindow, Any], None]) -> None:
        """Find the main language by the first window, or the first few where it is not sure; put them into the queue."""
        probabilities: dict[str, float] = {}
        asked: list[tuple[HeardWindow, Any, asyncio.Task[Hypothesis], str]] = []
        failure: Exception | None = None
        try:
            async for window, features in windows:
                task = self._begin(window, features, self._options)
                heard = await asyncio.shield(task)
                asked.append((window, features, task, heard.language))
                spoken = window.activity >= NO_ACTIVITY  # silence is in Welsh
                if spoken:
                    known = probabilities.get(heard.language, 0.0)
                    probabilities[heard.language] = known + heard.language_probability
                if (spoken and heard.language_probability >= SURE) or len(asked) == UNSURE_WINDOWS:
                    break
        except Exception as error:  # after what was heard before it
            failure = error
        if asked:
            main = max(probabilities, key=lambda language: probabilities[language], default=None)
            for window, features, task, language in asked:
                if main is not None and language != main:
                    task = self._begin(window, features, replace(self._options, language=main))
                await self._ahead.put((window, task))
            self._recording.language = main
            # The recording may go over to another language: each window is listened to, but has to be sure of it.
            self._options = replace(self._options, likely=main)
        if failure is not None:
            raise failure
        if asked and self._context:
            self._go_on_from(window, await asyncio.shield(task))

    def _begin(self, window: HeardWindow, features: Any, options: DecodeOptions) -> asyncio.Task[Hypothesis]:
        # Submitted here and not in the task: the scheduler takes windows in the order of the recording.
        future = self._submit(window, features, options)
        task = asyncio.create_task(self._whole(window, future, options))
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Hypothesis]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: what failed after an earlier window had failed is nobody's to await

    def _submit(self, window: HeardWindow, features: Any, options: DecodeOptions) -> asyncio.Future[Hypothesis]:
        once = replace(options, temperatures=options.temperatures[:1], words=True)
        if window.activity < NO_ACTIVITY:  # nobody speaks, and a beam would follow several ways to say nothing
            once = replace(once, beam_size=1)
        return self._request.submit(Window(window.samples, once, features))

    async def _whole(
        self, window: HeardWindow, future: asyncio.Future[Hypothesis], options: DecodeOptions, depth: int = 0
    ) -> Hypothesis:
        """What is heard in a window, and in the stretches of speech in it that got no words at first."""
        heard = await self._doubted(window, await future, options, depth)
        missed = gaps(heard.segments, window.chances, len(window.samples) / SAMPLE_RATE) if depth < MOST_DEPTH else []
        if not missed:
            return heard
        options = replace(options, language=heard.language, prompt=self._prompt)
        parts = [window.part(*gap) for gap in missed]
        futures = [self._submit(part, None, options) for part in parts]
        segments = list(heard.segments)
        for gap, part, found in zip(missed, parts, futures, strict=True):
            again = await self._whole(part, found, options, depth + 1)
            known = [one for one in believable(again.segments) if not is_phantom(one, part.activity)]
            segments = fill(segments, gap, [one.moved(gap[0]) for one in known])
        return replace(heard, segments=tuple(segments))

    async def _doubted(self, window: HeardWindow, heard: Hypothesis, options: DecodeOptions, depth: int) -> Hypothesis:
        """The same, or something better where the text is a loop or improbable.

        A loop is heard again in halves, which ends it, and tells a phrase that somebody says again and again from one that Whisper does.
        """
        if window.activity < NO_ACTIVITY:
            return heard
        if is_loop(heard.segments) and len(window.samples) >= SHORTEST_LOOP:
            return await self._in_halves(window, heard, options, depth)
        if is_doubtful(heard.segments) and len(options.temperatures) > 1:
            warmer = replace(options, temperatures=options.temperatures[1:], words=True)
            again = await self._request.submit(Window(window.samples, warmer))
            return max((heard, again), key=lambda one: (not is_loop(one.segments), likelihood(one.segments)))
        return heard

    async def _in_halves(
        self, window: HeardWindow, heard: Hypothesis, options: DecodeOptions, depth: int
    ) -> Hypothesis:
        options = replace(options, language=heard.language, prompt=self._prompt)
        cut, end = window.middle, len(window.samples) / SAMPLE_RATE
        halves = [(0.0, window.part(0.0, cut)), (cut, window.part(cut, end))]
        futures = [self._submit(half, None, options) for _, half in halves]
        segments: list[Segment] = []
        for (start, half), future in zip(halves, futures, strict=True):
            part = await self._whole(half, future, options, depth)
            segments += [one.moved(start) for one in part.segments]
        return replace(heard, segments=tuple(segments))

    def _go_on_from(self, window: HeardWindow, before: Hypothesis) -> None:
        """Tell the next window what was said in this one, unless that is a guess or a loop, which it would only go on with."""
        segments = [segment for segment in before.segments if not is_phantom(segment, window.activity)]
        said = "".join(segment.text for segment in segments).strip()
        doubtful = not said or segments[-1].temperature > TOO_WARM or said == self._said
        self._said = said
        prompt = " ".join(filter(None, (self._prompt, "" if doubtful else said)))
        self._options = replace(self._options, prompt=prompt[-CONTEXT_CHARS:] or None)

    def _believed(self, window: HeardWindow, hypothesis: Hypothesis) -> list[Segment]:
        """The segments of a window that are not made up, with their times in the recording."""
        kept = [
            one for one in hypothesis.segments if self.phantoms.keeps(one, window.activity, window.speech_under(one))
        ]
        if kept:
            self._samples[hypothesis.language] += len(window.samples)
        return [window.times.segment(replace(segment, language=hypothesis.language)) for segment in kept]
