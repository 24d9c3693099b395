"""What was heard in the audio of conversations: clients send a conversation whole each turn, and only its end is new."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speaches.concurrency import wait_even_if_cancelled

if TYPE_CHECKING:
    from speaches.transcription.transcribe import TranscribeOptions

MOST = 4096  # recordings that are remembered
MOST_CHARS = 4_000_000  # of their transcripts


@dataclass(frozen=True)
class Heard:
    text: str
    duration: float
    """Seconds of audio."""


@dataclass(frozen=True)
class Recording:
    """What a transcript depends on."""

    digest: bytes
    model: str
    options: TranscribeOptions

    @staticmethod
    def of(audio: bytes, model: str, options: TranscribeOptions) -> Recording:
        """Slow for megabytes: not for the event loop."""
        return Recording(hashlib.sha256(audio).digest(), model, options)


@dataclass
class _Hearing:
    task: asyncio.Task[Heard]
    waiting: int = 0


class Transcripts:
    """Transcripts of recordings. Bounded: what was not asked for the longest goes first."""

    def __init__(self, most: int = MOST, most_chars: int = MOST_CHARS) -> None:
        self._most = most
        self._most_chars = most_chars
        self._known: OrderedDict[Recording, Heard] = OrderedDict()
        self._chars = 0
        self._hearing: dict[Recording, _Hearing] = {}
        """What is being heard; a recording that many ask for at once is heard once."""

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, recording: Recording, hear: Callable[[], Awaitable[Heard]]) -> Heard:
        """What is said in a recording, by `hear` if it is not known. Hearing stops when nobody waits for it any more."""
        if known := self._known.get(recording):
            self._known.move_to_end(recording)
            return known
        hearing = self._hearing.get(recording)
        if hearing is None:
            hearing = self._hearing[recording] = _Hearing(asyncio.create_task(self._heard(recording, hear)))
        hearing.waiting += 1
        try:
            return await asyncio.shield(hearing.task)
        finally:
            hearing.waiting -= 1
            if not hearing.waiting:
                await self._leave(recording, hearing)

    async def _leave(self, recording: Recording, hearing: _Hearing) -> None:
        if self._hearing.get(recording) is hearing:
            del self._hearing[recording]
        hearing.task.cancel()
        await wait_even_if_cancelled(asyncio.gather(hearing.task, return_exceptions=True))

    async def _heard(self, recording: Recording, hear: Callable[[], Awaitable[Heard]]) -> Heard:
        heard = await hear()
        self._known[recording] = heard
        self._chars += len(heard.text)
        while len(self._known) > self._most or self._chars > self._most_chars:
            self._chars -= len(self._known.popitem(last=False)[1].text)
        return heard
