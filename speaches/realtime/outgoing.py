"""Events on their way to one client."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

MOST_UNSENT = 256  # events that wait for a client which does not read; then its session waits for it
MOST_UNSENT_CHARS = 4 * 1024**2  # of them together: a few small requests ask for much, such as items of 192 KiB
SEND_TIMEOUT = 30.0  # seconds that one event may take to leave; then the client is taken for gone


class Outgoing:
    """What is still to be sent. It is for those who make the client's events many, or large, to wait for `room` before."""

    def __init__(self) -> None:
        self._unsent: deque[str] = deque()
        self._unsent_chars = 0
        self._changed = asyncio.Event()
        """Set when there is something to send, or nothing will be any more."""
        self._sent = asyncio.Event()
        """Set when something has left."""
        self._is_last = False
        """Whether nothing comes after what is unsent."""

    def put(self, event: dict[str, Any]) -> None:
        self._unsent.append(json.dumps(event, ensure_ascii=False))
        self._unsent_chars += len(self._unsent[-1])
        self._changed.set()

    def end(self) -> None:
        """Nothing will be added."""
        self._is_last = True
        self._changed.set()

    async def room(self) -> None:
        """Wait until the client has read most of what it was sent."""
        while len(self._unsent) >= MOST_UNSENT or self._unsent_chars >= MOST_UNSENT_CHARS:
            self._sent.clear()
            await self._sent.wait()

    async def write(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Send all of it, up to the `end`. The only writer, so events leave in the order in which they were put.

        Raises:
            TimeoutError: If one does not leave in time.
        """
        while True:
            while self._unsent:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await send(self._unsent[0])
                self._unsent_chars -= len(self._unsent.popleft())
                self._sent.set()
            if self._is_last:
                return
            self._changed.clear()
            await self._changed.wait()
