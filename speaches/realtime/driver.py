"""Where a session's rules meet socket, models and tasks: here, and only here.

A reader applies the client's events one after the other, a writer sends what the session makes of them, and each piece of work is a task.
All of them run on the event loop and call the session in between, never at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from speaches.concurrency import wait_even_if_cancelled
from speaches.engines.base import SAMPLE_RATE, Task
from speaches.errors import InvalidRequest, SpeachesError
from speaches.realtime.answering import Answer
from speaches.realtime.frames import Frames
from speaches.realtime.hearing import hear, listen, logprobs_of
from speaches.realtime.incoming import Incoming
from speaches.realtime.outgoing import SEND_TIMEOUT, Outgoing
from speaches.realtime.outlets import EventOutlet, Outlet, TrackOutlet
from speaches.realtime.reading import well_formed
from speaches.realtime.work import (
    Listen,
    MeasureEnding,
    Respond,
    StopPlaying,
    StopResponding,
    StopTranscribing,
    Transcribe,
    Work,
)

if TYPE_CHECKING:
    from speaches.api.state import Server
    from speaches.engines.base import Samples
    from speaches.realtime.dialects import Dialect
    from speaches.realtime.playback import Playback
    from speaches.realtime.session import Session

logger = logging.getLogger(__name__)

MOST_UNHEARD = 8  # turns that wait for the recogniser, with their audio; then the client waits too


class Channel(Protocol):
    """The client's end."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client has left."""
        ...

    async def send(self, text: str) -> None:
        """Raises OSError or the like when the client has left."""
        ...


class Media(Protocol):
    """Audio that goes beside the channel, both ways."""

    playback: Playback

    async def listen(self) -> Samples:
        """The client's audio goes on: shape (n,), float32, 16 kHz. Raises OSError when the client has left."""
        ...


class Driver:
    """Runs one session over a channel.

    Args:
        media: Given where the session's audio goes beside the channel.
    """

    def __init__(
        self, session: Session, channel: Channel, dialect: Dialect, server: Server, media: Media | None = None
    ) -> None:
        self._session = session
        self._channel = channel
        self._dialect = dialect
        self._server = server
        self._media = media
        self._frames = Frames(server)
        self._hearing = asyncio.Lock()
        self._incoming = Incoming(server.threads)
        self._outgoing = Outgoing()
        self._broken: asyncio.Future[None]
        """Holds a bug in our work, once there is one."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Work under way, by its id."""
        self._unheard: set[asyncio.Task[None]] = set()
        """Of these, the turns that are being transcribed."""

    async def run(self, seconds: float) -> None:
        """Until the client leaves, can't be reached, or `seconds` have passed. Then nothing of the session is left."""
        self._pump()
        self._broken = asyncio.get_running_loop().create_future()
        read = asyncio.create_task(self._read(), name="read")
        write = asyncio.create_task(self._outgoing.write(self._channel.send), name="write")
        beside = [asyncio.create_task(one, name="media") for one in self._beside()]
        sides: list[asyncio.Future[None]] = [read, write, self._broken, *beside]
        try:
            ended, _ = await asyncio.wait(sides, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                await self._stop_all([read, *beside, *self._tasks.values()])
                self._expire(seconds)
                await asyncio.wait([write], timeout=SEND_TIMEOUT)
        finally:
            results = await self._stop_all([*sides, *self._tasks.values()])
            await self._frames.close()
        for error in results[: len(sides)]:
            if isinstance(error, Exception) and not isinstance(error, (OSError, TimeoutError)):
                raise error

    async def _stop_all(self, tasks: Sequence[asyncio.Future[None]]) -> list[Any]:
        """Cancel, and wait for what they still have to put away."""
        for task in tasks:
            task.cancel()
        return await wait_even_if_cancelled(asyncio.gather(*tasks, return_exceptions=True))

    def _expire(self, seconds: float) -> None:
        """Say that it is over; what is unsent goes before."""
        self._session.refuse(
            InvalidRequest(
                f"The session has reached its longest duration of {seconds / 60:g} minutes.", code="session_expired"
            )
        )
        self._pump()
        self._outgoing.end()

    # --- The sides of the connection ---

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            await self._outgoing.room()
            await self._caught_up()
            try:
                await self._receive(message)
            except SpeachesError as error:
                self._session.refuse(error)
            self._pump()

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        return [] if self._media is None else [self._listen_to(self._media), self._follow(self._media.playback)]

    async def _listen_to(self, media: Media) -> None:
        failed = False
        while True:
            samples = await media.listen()
            await self._outgoing.room()
            try:
                await self._hear(samples)
                failed = False
            except SpeachesError as error:
                if not failed:  # the next frames will fail too, fifty of them in a second
                    self._session.refuse(error)
                failed = True
            self._pump()

    async def _follow(self, playback: Playback) -> None:
        while True:
            response_id, samples = await playback.ended()
            self._session.played(response_id, samples)
            self._pump()

    async def _caught_up(self) -> None:
        """Wait until most of what the client has said is heard: one that sends recordings would fill the memory with them."""
        while len(self._unheard) >= MOST_UNHEARD:
            await asyncio.wait(self._unheard, return_when=asyncio.FIRST_COMPLETED)

    def _pump(self) -> None:
        """Pass on what the session made of the last call."""
        for event in self._session.events_to_send():
            for one in self._dialect.to_client(event):
                self._outgoing.put(one)
        for work in self._session.work_to_do():
            self._start(work)

    # --- What the client sends ---

    async def _receive(self, message: str | bytes) -> None:
        event = self._dialect.from_client(await self._incoming.event(message))
        given = event if isinstance(event, dict) else {}
        try:
            if given.get("type") == "input_audio_buffer.append":
                await self._hear(await self._incoming.appended(given.get("audio"), self._session.input_format))
            else:
                self._session.receive(event, await self._incoming.embedded(event, self._session.input_format))
        except SpeachesError as error:
            self._session.refuse(error, well_formed(given.get("event_id")))

    async def _hear(self, samples: Samples) -> None:
        """The client's audio goes on: shape (n,), float32, 16 kHz."""
        session = self._session
        async with self._hearing:  # it may come through the channel and beside it
            wanted, denoised = session.detects_turns, session.noise_reduction is not None
            session.heard(samples, await self._frames.push(samples, wanted=wanted, denoised=denoised))

    # --- Work ---

    def _start(self, work: Work) -> None:
        match work:
            case Transcribe():
                task = self._begin(work.work_id, self._transcribe(work))
                self._unheard.add(task)
                task.add_done_callback(self._unheard.discard)
            case Listen():
                self._begin(work.work_id, self._listen(work))
            case Respond():
                self._begin(work.response_id, self._respond(work))
            case StopTranscribing():
                self._stop(work.work_id)
            case StopResponding():
                self._stop(work.response_id)
            case MeasureEnding():
                self._begin(f"ending at {work.heard_until_ms} ms", self._measure(work))
            case StopPlaying():
                assert self._media is not None
                self._media.playback.clear(work.response_id)

    def _begin(self, work_id: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks[work_id] = asyncio.create_task(work, name=work_id)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._tasks.get(task.get_name()) is task:
            del self._tasks[task.get_name()]
        if (bug := _bug_in(task)) and not self._broken.done():
            self._broken.set_exception(bug)  # the session would wait for this work for ever

    def _stop(self, work_id: str) -> None:
        if task := self._tasks.get(work_id):
            task.cancel()

    async def _transcribe(self, work: Transcribe) -> None:
        try:
            heard = await hear(work.samples, work.hearing, self._server, logprobs=work.logprobs)
        except Exception as error:
            self._session.transcription_failed(work.work_id, _told(error, work.work_id))
        else:
            self._server.metrics.audio("heard", len(work.samples) / SAMPLE_RATE)
            logprobs = logprobs_of(heard.segments) if work.logprobs else None
            self._session.transcribed(work.work_id, heard.text, language=heard.language, logprobs=logprobs)
        self._pump()

    async def _listen(self, work: Listen) -> None:
        started = monotonic()
        try:
            words = await listen(work.samples, work.hearing, work.prompt, self._server)
        except SpeachesError as error:  # the final transcript will say so
            logger.info("%s: nothing heard so far: %s", work.work_id, error)
            words = []
        except Exception:
            logger.exception("%s failed.", work.work_id)
            words = []
        self._session.hypothesis(work.work_id, words, took_ms=round((monotonic() - started) * 1000))
        self._pump()

    async def _measure(self, work: MeasureEnding) -> None:
        model = await self._server.models.first(Task.END_OF_TURN)
        if model is None:  # deleted meanwhile
            return
        try:
            async with self._server.models.pool.use(model) as judge:
                likelihood = await self._server.threads.run(judge.engine.likelihood_of_end, work.samples)
        except Exception:  # the words will have to do
            logger.exception("%s failed.", model.id)
        else:
            self._session.ending(likelihood, work.heard_until_ms)
            self._pump()

    async def _respond(self, work: Respond) -> None:
        try:
            await Answer(work, self._session, self._server, self._outlet(work), self._pump, self._outgoing.room).run()
        except Exception as error:
            self._session.response_failed(work.response_id, _told(error, work.response_id))
            self._pump()
        finally:
            if self._media is not None:
                self._media.playback.finish(work.response_id)

    def _outlet(self, work: Respond) -> Outlet:
        if self._media is not None:
            return TrackOutlet(work.response_id, self._media.playback, self._session, self._pump)
        audio_format = work.speech.format if work.speech else "audio/pcm"
        return EventOutlet(
            work.response_id, audio_format, self._session, self._server.threads, self._pump, self._outgoing.room
        )


def _bug_in(task: asyncio.Task[None]) -> BaseException | None:
    """Why work came to an end without an answer. None where it has answered, or was stopped."""
    if not task.cancelled():
        return task.exception()
    return None if task.cancelling() else RuntimeError(f"{task.get_name()} was cancelled by nobody.")


def _told(error: Exception, what: str) -> SpeachesError:
    """What a client is told of a failure. A bug is logged; it learns only where to look for it."""
    if isinstance(error, SpeachesError):
        return error
    logger.error("%s failed.", what, exc_info=error)
    return SpeachesError(f"The server failed. Its log has the reason under {what}.", code="internal_error")
