"""What is still to be played of the answers, where the server itself plays them: filled by answers, emptied in real time by a track.

No clock and no I/O: time is the samples that the track takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from speaches.realtime.audio import WIRE_RATE

if TYPE_CHECKING:
    from speaches.engines.base import Samples

AHEAD = 5 * WIRE_RATE  # samples of one answer that may wait to be played; then its synthesis waits


@dataclass
class _Speech:
    """One answer's."""

    chunks: deque[Samples] = field(default_factory=deque)
    waiting: int = 0
    """Samples in `chunks`."""
    played: int = 0
    is_whole: bool = False
    """Whether nothing will be added."""

    def move_to(self, out: Samples) -> int:
        """Fill `out` as far as there is something; returns how far."""
        place = 0
        while self.chunks and place < len(out):
            chunk = self.chunks.popleft()
            count = min(len(chunk), len(out) - place)
            out[place : place + count] = chunk[:count]
            place += count
            if count < len(chunk):
                self.chunks.appendleft(chunk[count:])
        self.waiting -= place
        self.played += place
        return place


class Playback:
    """The answers in the order in which they began to speak, one after the other. All audio is float32 at 24 kHz."""

    def __init__(self) -> None:
        self._speeches: dict[str, _Speech] = {}
        """By the ids of their responses, first come first."""
        self._thrown_away: set[str] = set()
        """Responses of which no more is to be heard, while they still come."""
        self._ended: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._taken = asyncio.Event()

    def add(self, response_id: str, samples: Samples) -> bool:
        """More of an answer. Returns whether it will be heard: not where the answer was thrown away."""
        if response_id in self._thrown_away:
            return False
        speech = self._speeches.setdefault(response_id, _Speech())
        speech.chunks.append(samples)
        speech.waiting += len(samples)
        return True

    async def room(self, response_id: str) -> None:
        """Wait until little of this answer waits."""
        while (speech := self._speeches.get(response_id)) is not None and speech.waiting >= AHEAD:
            self._taken.clear()
            await self._taken.wait()

    def finish(self, response_id: str) -> None:
        """Nothing will be added to this answer; what there is of it is played."""
        self._thrown_away.discard(response_id)
        if speech := self._speeches.get(response_id):
            speech.is_whole = True
            self._settle(response_id, speech)

    def clear(self, response_id: str) -> None:
        """Throw away what was not played of this answer, and what is still to come of it."""
        if speech := self._speeches.pop(response_id, None):
            if not speech.is_whole:
                self._thrown_away.add(response_id)
            self._ended.put_nowait((response_id, speech.played))
            self._taken.set()

    def take(self, count: int) -> Samples:
        """What is to be heard next, shape (count,); silence where there is nothing to say."""
        out = np.zeros(count, np.float32)
        place = 0
        for response_id, speech in list(self._speeches.items()):
            place += speech.move_to(out[place:])
            if not self._settle(response_id, speech):
                break  # the next one begins when this one has ended
        self._taken.set()
        return out

    async def ended(self) -> tuple[str, int]:
        """The next answer that was played to its end or thrown away: its response's id, and how many samples were played."""
        return await self._ended.get()

    def _settle(self, response_id: str, speech: _Speech) -> bool:
        """Whether all of it was played; then it leaves."""
        if speech.waiting or not speech.is_whole:
            return False
        del self._speeches[response_id]
        self._ended.put_nowait((response_id, speech.played))
        return True
