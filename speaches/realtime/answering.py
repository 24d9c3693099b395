"""One response: the LLM's answer, spoken piece by piece, handed to the session as it is to be sent."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speaches.chat.answers import Delta
from speaches.chat.speaking import spoken_answer
from speaches.engines.base import Task
from speaches.realtime.audio import WIRE_RATE
from speaches.speech.voices import resolve

if TYPE_CHECKING:
    from speaches.api.state import Server
    from speaches.engines.base import SpokenWord
    from speaches.realtime.outlets import Outlet
    from speaches.realtime.session import Session
    from speaches.realtime.work import Respond, Speech
    from speaches.speech.speak import Spoken

CHUNK = WIRE_RATE // 5  # samples of one audio delta: 200 ms, 13 kB of base64


class Answer:
    """Answers one Respond.

    Args:
        outlet: Where its speech goes.
        changed: To be called after each call into the session.
        room: Waits while the client is behind with reading what was sent.
    """

    def __init__(
        self,
        work: Respond,
        session: Session,
        server: Server,
        outlet: Outlet,
        changed: Callable[[], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._work = work
        self._session = session
        self._server = server
        self._outlet = outlet
        self._changed = changed
        self._room = room
        self._calls: list[Delta] = []
        """Deltas with function calls, which wait for the speech that goes before them."""
        self._last = Delta()
        """What is known of the end."""
        self._spoken = 0
        """Samples of the speech so far."""

    async def run(self) -> None:
        """Raises what the LLM or the voice model raises; the session has been told of what came before."""
        self._server.llm.check()
        async with contextlib.aclosing(self._server.llm.stream(self._request())) as deltas:
            if self._work.speech is None:
                async for delta in deltas:
                    self._take(delta)
                    if delta.text:
                        self._session.response_text(self._work.response_id, delta.text)
                    self._call([delta])
                    self._changed()
                    await self._room()
            else:
                await self._speak(deltas, self._work.speech)
        self._call(self._calls)
        self._session.response_finished(self._work.response_id, self._last.finish_reason, self._last.usage)
        self._changed()

    def _request(self) -> dict[str, Any]:
        work = self._work
        request: dict[str, Any] = {
            "model": self._server.llm.model or work.model,
            "messages": list(work.messages),
            "stream_options": {"include_usage": True},
            "max_tokens": work.max_tokens,
            "temperature": work.temperature,
            "reasoning_effort": work.reasoning_effort,
        }
        if work.tools:
            request |= {
                "tools": list(work.tools),
                "tool_choice": work.tool_choice,
                "parallel_tool_calls": work.parallel_tool_calls,
            }
        return {name: value for name, value in request.items() if value is not None}

    def _take(self, delta: Delta) -> None:
        self._last = replace(
            self._last,
            finish_reason=delta.finish_reason or self._last.finish_reason,
            usage=delta.usage or self._last.usage,
        )

    def _call(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            for call in delta.tool_calls:
                self._session.response_call(
                    self._work.response_id, str(call.index), call.name or "", call.arguments, call.id
                )

    async def _speak(self, deltas: Any, how: Speech) -> None:
        from speaches.speech.speak import SpeakOptions, speak

        server, default = self._server, self._server.settings.default_voice
        kept = await server.preset(how.voice)
        # The default is what a client gets that names none; a model that lacks it has one of its own.
        named = kept.voice if kept else None if how.voice == default else how.voice
        language = kept.language if kept else None
        speed = how.speed * (kept.speed or 1.0 if kept else 1.0)
        async with server.models.use(how.model or (kept.model if kept else None), Task.TTS) as loaded:
            aliases = server.settings.voice_aliases
            voice = resolve(named, loaded.engine, default=default, aliases=aliases, language=language)
            options = SpeakOptions(voice, speed, language, sample_rate=WIRE_RATE, timed=True)
            voiced = functools.partial(speak, options=options, model=loaded, threads=server.threads)
            answered = spoken_answer(deltas, voiced, language=language or voice.language)
            async with contextlib.aclosing(answered) as answer:
                async for one in answer:
                    if isinstance(one, Delta):
                        self._take(one)
                        if one.tool_calls:
                            self._calls.append(one)
                    else:
                        await self._say(one)
            await self._outlet.finish()

    async def _say(self, spoken: Spoken) -> None:
        """Send the transcript of a piece, then its audio."""
        if spoken.text:
            start = self._spoken / WIRE_RATE
            words = tuple(_moved(word, -start) for word in spoken.words)
            separator = " " if self._spoken else ""
            self._session.response_speech(
                self._work.response_id, f"{separator}{spoken.text}", len(spoken.samples), words
            )
            self._changed()
        self._spoken += len(spoken.samples)
        self._server.metrics.audio("spoken", len(spoken.samples) / WIRE_RATE)
        for start_of_chunk in range(0, len(spoken.samples), CHUNK):
            await self._outlet.send(spoken.samples[start_of_chunk : start_of_chunk + CHUNK])


def _moved(word: SpokenWord, by: float) -> SpokenWord:
    return replace(word, start=word.start + by, end=word.end + by)
