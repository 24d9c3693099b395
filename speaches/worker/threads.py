"""Blocking work, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from speaches.concurrency import wait_even_if_cancelled

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Call a function that takes milliseconds: a read, a write, some base64. A job that is cancelled still waits for it to end, so that
    no file is closed under it. (anyio's threads wait only for anyio's own cancellation; the SDK cancels tasks.)"""
    return await wait_even_if_cancelled(asyncio.get_running_loop().run_in_executor(None, function, *arguments))
