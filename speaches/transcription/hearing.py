"""Windows of one recording -> segments: which language, what was said before, what to believe. Keeps the engine's workers busy."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.engines.base import DecodeOptions, Hypothesis, Segment, SpeechToText, Window
from speaches.transcription.phantoms import PhantomFilter, is_phantom

if TYPE_CHECKING:
    from speaches.scheduling import Request
    from speaches.transcription.windowing import HeardWindow

RUN_AHEAD = 2  # windows that wait for a worker, beyond those that workers can take at once
SURE = 0.5
"""From this probability on, the first window tells the language of the recording."""
UNSURE_WINDOWS = 4
"""How many windows are asked for the language when the first is not sure."""
CONTEXT_CHARS = 800  # of what was said before; Whisper takes about 220 tokens of it
TOO_WARM = 0.5
"""Text made at a higher temperature is too uncertain to go on from (openai/whisper: prompt_reset_on_temperature)."""

Heard: TypeAlias = "tuple[HeardWindow, asyncio.Future[Hypothesis]]"


@dataclass
class _Failed:
    error: BaseException


class Hearing:
    """Has the windows of one recording heard, and gives their segments in order.

    Args:
        request: The recording's place in the engine's scheduler.
        context: Whether each window is told what was said before.
    """

    def __init__(
        self, request: Request[Window, Hypothesis], options: DecodeOptions, engine: SpeechToText, *, context: bool
    ) -> None:
        self._request = request
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
                window, future = heard
                for segment in self._believed(window, await future):
                    yield segment
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])

    async def _feed(self, windows: AsyncGenerator[tuple[HeardWindow, Any], None]) -> None:
        """Submit windows as fast as they can be prepared and the queue takes them."""
        try:
            async with contextlib.aclosing(windows):
                if self._options.language is None:
                    await self._settle_language(windows)
                async for window, features in windows:
                    future = self._submit(window, features, self._options)
                    await self._ahead.put((window, future))
                    if self._context:
                        self._go_on_from(window, await asyncio.shield(future))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await self._ahead.put(_Failed(error))
        else:
            await self._ahead.put(None)

    async def _settle_language(self, windows: AsyncGenerator[tuple[HeardWindow, Any], None]) -> None:
        """Find the main language by the first window, or the first few where it is not sure; put them into the queue."""
        probabilities: dict[str, float] = {}
        asked: list[tuple[HeardWindow, Any, asyncio.Future[Hypothesis], str]] = []
        failure: Exception | None = None
        try:
            async for window, features in windows:
                future = self._submit(window, features, self._options)
                heard = await asyncio.shield(future)
                probabilities[heard.language] = probabilities.get(heard.language, 0.0) + heard.language_probability
                asked.append((window, features, future, heard.language))
                if heard.language_probability >= SURE or len(asked) == UNSURE_WINDOWS:
                    break
        except Exception as error:  # after what was heard before it
            failure = error
        if asked:
            main = max(probabilities, key=lambda language: probabilities[language])
            for window, features, future, language in asked:
                if language != main:
                    future = self._submit(window, features, replace(self._options, language=main))
                await self._ahead.put((window, future))
            # The recording may go over to another language: each window is listened to, but has to be sure of it.
            self._options = replace(self._options, likely=main)
        if failure is not None:
            raise failure
        if asked and self._context:
            self._go_on_from(window, await asyncio.shield(future))

    def _submit(self, window: HeardWindow, features: Any, options: DecodeOptions) -> asyncio.Future[Hypothesis]:
        return self._request.submit(Window(window.samples, options, features))

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
        kept = [segment for segment in hypothesis.segments if self.phantoms.keeps(segment, window.activity)]
        if kept:
            self._samples[hypothesis.language] += len(window.samples)
        return [window.times.segment(replace(segment, language=hypothesis.language)) for segment in kept]
