"""Where an answer's speech goes: in events to a client that plays it, or into a track that the server plays in real time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from speaches.realtime.audio import WIRE_RATE, WireEncoder
from speaches.realtime.pace import Pace

if TYPE_CHECKING:
    from speaches.concurrency import Threads
    from speaches.engines.base import Samples
    from speaches.realtime.playback import Playback
    from speaches.realtime.session import Session


class Outlet(Protocol):
    """Takes one answer's speech."""

    async def send(self, samples: Samples) -> None:
        """Shape (n,), float32, 24 kHz. Returns when there is room for more."""
        ...

    async def finish(self) -> None:
        """That was all."""
        ...


class EventOutlet:
    """Encodes, and sends no faster than the client can play.

    Args:
        audio_format: `audio/pcm`, `audio/pcmu` or `audio/pcma`.
        changed: To be called after each call into the session.
        room: Waits while the client is behind with reading what was sent.
    """

    def __init__(
        self,
        response_id: str,
        audio_format: str,
        session: Session,
        threads: Threads,
        changed: Callable[[], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._response_id = response_id
        self._format = audio_format
        self._session = session
        self._threads = threads
        self._changed = changed
        self._room = room
        self._pace = Pace()
        self._encoder: WireEncoder | None = None

    async def send(self, samples: Samples) -> None:
        if self._encoder is None:
            self._encoder = await self._threads.run(WireEncoder, self._format)
        await self._send(self._encoder.push(samples), len(samples))

    async def finish(self) -> None:
        if self._encoder is not None and (rest := await self._threads.run(self._encoder.finish)):
            await self._send(rest, 0)

    async def _send(self, audio: bytes, samples: int) -> None:
        await self._room()
        await asyncio.sleep(self._pace.delay(monotonic()))
        self._pace.sent(samples / WIRE_RATE, monotonic())
        self._session.response_audio(self._response_id, base64.b64encode(audio).decode(), samples)
        self._changed()


class TrackOutlet:
    """Queues speech to be played; what is queued counts as sent, until the playback tells how much of it was heard."""

    def __init__(self, response_id: str, playback: Playback, session: Session, changed: Callable[[], None]) -> None:
        self._response_id = response_id
        self._playback = playback
        self._session = session
        self._changed = changed

    async def send(self, samples: Samples) -> None:
        await self._playback.room(self._response_id)
        if self._playback.add(self._response_id, samples):
            self._session.response_audio(self._response_id, "", len(samples))
            self._changed()

    async def finish(self) -> None:
        """The driver tells the playback, also of an answer that broke off."""
