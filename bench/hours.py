"""The server's memory while one session of the Realtime API hears hours, fed as fast as it takes them.

python -m bench.hours       # serves engines that take no time, for `memory`
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.serving import server
from bench.talking import RATE, append, sentence, websocket
from speaches.engines import espeak, silero
from speaches.engines.base import SAMPLE_RATE, Hypothesis, Segment, Task, Window, Word
from speaches.engines.description import Description
from speaches.serve import serve
from speaches.settings import Settings

if TYPE_CHECKING:
    from speaches.engines.base import DecodeOptions, Samples

BLOCK = RATE // 10  # samples of one append: 100 ms
TICKS = 6  # times that memory is looked at in an hour
WARM = 120  # seconds of audio before: models load, caches fill
GAP = 1.0  # seconds between sentences
TALK = (
    "What is the weather in London today?",
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    "My name is Anna and I live in Paris.",
)


class QuickRecogniser:
    """Hears "hello" every half second."""

    languages: Sequence[str] = ("en",)
    translates = False
    workers = 1
    batch_size = 1

    def prepare(self, samples: Samples, options: DecodeOptions) -> None:
        """It takes samples."""

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        return [self._hypothesis(len(window.samples) / SAMPLE_RATE) for window in windows]

    def batch_key(self, window: Window) -> object:
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _hypothesis(self, seconds: float) -> Hypothesis:
        words = tuple(Word(" hello", start / 2, start / 2 + 0.5, 0.9) for start in range(int(seconds * 2)))
        return Hypothesis((Segment(" hello" * len(words), 0.0, seconds, words=words),), "en")


class QuickKind:
    NAME = "quick"
    TASK = Task.STT
    BUILTIN = ("bench/quick",)
    PATTERNS: tuple[str, ...] = ()

    def recognises(self, folder: Path) -> bool:
        return False

    def describe(self, folder: Path | None) -> Description:
        return Description(("en",))

    def load(self, folder: Path | None, settings: Settings) -> QuickRecogniser:
        return QuickRecogniser()


async def memory(hours: float) -> None:
    print("| resident, MB, after | silence | talk |\n|---|---|---|")
    columns, notes = [], []
    for what in (np.zeros(GRAIN, np.float32), talk()):
        with server(("-m", "bench.hours"), DEFAULT_STT_MODEL="bench/quick") as (address, pid):
            resident, note = await feed(address, pid, what, hours)
            columns.append(resident)
            notes.append(note)
    for number, row in enumerate(zip(*columns, strict=True)):
        minutes = number * hours * 60 / TICKS
        print(f"| {minutes:.0f} min | " + " | ".join(f"{kilobytes / 1024:.1f}" for kilobytes in row) + " |")
    print(
        "\n" + "\n".join(f"{what}: {note}" for what, note in zip(("Silence", "Talk"), notes, strict=True)), flush=True
    )


GRAIN = 60 * RATE  # samples that are fed over and over: a minute, or about that


def talk() -> Any:
    gap = np.zeros(int(GAP * RATE), np.float32)
    once = np.concatenate([part for text in TALK for part in (sentence(text).samples, gap)])
    return np.tile(once, GRAIN // len(once))


async def feed(address: str, pid: int, what: Samples, hours: float) -> tuple[list[int], str]:
    """Kilobytes of the server after each part of the time, and a sentence on what happened."""
    hiss = np.random.default_rng(0).standard_normal(len(what)).astype(np.float32) * 0.0005
    events = [append((what + hiss)[start : start + BLOCK]) for start in range(0, len(what) // BLOCK * BLOCK, BLOCK)]
    counts: dict[str, int] = {}
    async with websocket(address) as socket:
        listening = asyncio.create_task(_count(socket, counts))
        detection = {"type": "server_vad", "create_response": False}
        hears = {"transcription": {"model": "bench/quick", "language": "en"}, "turn_detection": detection}
        await socket.send(
            json.dumps({"type": "session.update", "session": {"type": "realtime", "audio": {"input": hears}}})
        )
        sent = await _send(socket, events, 0, WARM * RATE)
        resident, items, started = [_resident(pid)], counts.get("conversation.item.done", 0), time.perf_counter()
        for _ in range(TICKS):
            sent = await _send(socket, events, sent, int(hours * 3600 * RATE / TICKS))
            resident.append(_resident(pid))
        seconds = time.perf_counter() - started
        items = counts.get("conversation.item.done", 0) - items
        listening.cancel()
    note = f"{hours:g} h in {seconds:.0f} s ({hours * 3600 / seconds:.0f}x), {items} items, {counts.get('error', 0)} errors"
    return resident, note + (f", {(resident[-1] - resident[0]) / items:.1f} kB an item" if items else "")


async def _send(socket: Any, events: Sequence[str], sent: int, samples: int) -> int:
    """Returns how many events have been sent in all. The last one has been heard when this returns."""
    ends = sent + samples // BLOCK
    while sent < ends:
        await socket.send(events[sent % len(events)])
        sent += 1
    return sent


async def _count(socket: Any, counts: dict[str, int]) -> None:
    async for message in socket:
        name = json.loads(message)["type"]
        counts[name] = counts.get(name, 0) + 1


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    serve(Settings(), kinds=[QuickKind(), silero, espeak])
