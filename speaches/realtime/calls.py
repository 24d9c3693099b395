"""The WebRTC calls under way. No request waits for their end, so they are kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol


class HasEnd(Protocol):
    def hang_up(self) -> None: ...


class Calls:
    """By their ids, each with the task that sees to it until it has ended."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[HasEnd, asyncio.Task[None]]] = {}

    def begin(self, call_id: str, call: HasEnd, life: Coroutine[Any, Any, None]) -> None:
        """See to a call. `life` comes to its end soon after the call is hung up."""
        task = asyncio.create_task(life, name=call_id)
        self._under_way[call_id] = call, task
        task.add_done_callback(lambda _: self._under_way.pop(call_id))

    def hang_up(self, call_id: str) -> bool:
        """End a call. Returns whether there is one with this id."""
        if call_id not in self._under_way:
            return False
        self._under_way[call_id][0].hang_up()
        return True

    async def close(self) -> None:
        """End all of them, and wait until they have."""
        under_way = list(self._under_way.values())
        for call, _ in under_way:
            call.hang_up()
        await asyncio.gather(*(task for _, task in under_way))
