"""A client of the Realtime API whose microphone runs in real time: what it says, and when it hears what."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from speaches.audio.pcm import from_pcm16, to_pcm16
from speaches.audio.resample import resample
from speaches.engines import espeak
from tests import speaker

if TYPE_CHECKING:
    from speaches.engines.base import Samples

RATE = 24_000  # Hz on the wire
CHUNK = RATE // 50  # samples: 20 ms, as browsers and phones send
GRID = 8 * CHUNK  # five frames of the detector: what starts on it meets the same frames each time
AUDIBLE = 0.01  # of full scale: speech ends with the last sample above
HISS = 0.0005  # of full scale: no microphone is silent
PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class Sentence:
    """What a user says."""

    text: str
    samples: Samples
    """shape (n,), float32, 24 kHz, from the first audible sample to the last."""
    words: tuple[float, ...]
    """When each word is over, in seconds."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


@functools.cache
def sentence(text: str, rate: int = 160) -> Sentence:
    """espeak-ng says it, the same in every run."""
    said = resample(from_pcm16(speaker.spoken(text, "en-us", rate)), espeak.SAMPLE_RATE, RATE)
    audible = np.flatnonzero(np.abs(said) > AUDIBLE)
    first, last = int(audible[0]), int(audible[-1]) + 1
    starts = [start - first / RATE for _, start in speaker.word_starts(text, "en-us", rate)]
    return Sentence(text, said[first:last], (*starts[1:], (last - first) / RATE))


@dataclass(frozen=True)
class Said:
    """A sentence and when it was said."""

    sentence: Sentence
    start: float
    """By `time.perf_counter`, as all times here."""

    @property
    def end(self) -> float:
        return self.start + self.sentence.seconds


@dataclass
class Heard:
    """An event and when it came, without its audio."""

    at: float
    event: dict[str, Any] = field(repr=False)

    @property
    def type(self) -> str:
        return str(self.event["type"])


class Client:
    """One session. Audio leaves chunk by chunk when a microphone would have it, silence between the sentences; events are kept."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._to_say = np.empty(0, np.float32)
        """What follows `_position`, without the hiss."""
        self._position = 0
        """Samples sent so far."""
        self.began = 0.0
        """When the microphone went on."""
        self._hiss = np.random.default_rng(0).standard_normal(GRID).astype(np.float32) * HISS
        self._news = asyncio.Event()
        self.heard: list[Heard] = []
        self.late: list[float] = []
        """How much later than a microphone's each chunk left, in seconds."""

    async def tell(self, event_type: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": event_type, **fields}))

    def say(self, what: Sentence) -> Said:
        """Begin to say it, after what is still to be said. It starts on the grid."""
        begins = -(-(self._position + len(self._to_say)) // GRID) * GRID
        pause = np.zeros(begins - self._position - len(self._to_say), np.float32)
        self._to_say = np.concatenate((self._to_say, pause, what.samples))
        return Said(what, self.began + begins / RATE)

    async def until(self, *types: str, since: float = 0.0, where: Callable[[Heard], bool] = lambda one: True) -> Heard:
        """The first event of these types that came since then. Waits for it.

        Raises:
            RuntimeError: If it does not come, or anything has failed.
        """
        ends = time.perf_counter() + PATIENCE
        while time.perf_counter() < ends:
            for one in self.heard:
                if (error := failure(one.event)) is not None:
                    raise RuntimeError(f"the server says: {error}")
                if one.at >= since and one.type in types and where(one):
                    return one
            self._news.clear()
            if self._socket.close_code is not None:
                raise RuntimeError(
                    f"the server has ended the session: {self._socket.close_code} {self._socket.close_reason}"
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 1)
        raise RuntimeError(
            f"no {' or '.join(types)} came after {PATIENCE:g} s, only {[one.type for one in self.heard][-10:]}"
        )

    def all(self, event_type: str, since: float = 0.0, until: float = float("inf")) -> list[Heard]:
        return [one for one in self.heard if one.type == event_type and since <= one.at < until]

    async def speak(self) -> None:
        """The microphone."""
        self.began = time.perf_counter()
        while True:
            due = self.began + (self._position + CHUNK) / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            place = self._position % GRID
            chunk = self._hiss[place : place + CHUNK].copy()
            said, self._to_say = self._to_say[:CHUNK], self._to_say[CHUNK:]
            chunk[: len(said)] += said
            self._position += CHUNK
            self.late.append(time.perf_counter() - due)
            await self._socket.send(append(chunk))

    async def listen(self) -> None:
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == "response.output_audio.delta":
                event["delta"] = len(event["delta"])
            self.heard.append(Heard(time.perf_counter(), event))
            self._news.set()


def failure(event: Mapping[str, Any]) -> Any:
    """What the server says has gone wrong, in an event of its own or with a turn or an answer; None where nothing has."""
    if event["type"] in ("error", "conversation.item.input_audio_transcription.failed"):
        return event["error"]
    if event["type"] == "response.done" and event["response"]["status"] == "failed":
        return event["response"]["status_details"].get("error", "the response has failed")
    return None


def append(samples: Samples) -> str:
    """The event that sends samples at 24 kHz."""
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(to_pcm16(samples)).decode()})


def websocket(address: str) -> Any:
    """A connection to a session of the server at an HTTP address."""
    url = address.replace("http", "ws", 1) + "/v1/realtime?model=bench"
    return connect(url, max_size=None, compression=None, max_queue=None)


@contextlib.asynccontextmanager
async def session(address: str, settings: dict[str, Any]) -> AsyncIterator[Client]:
    """A session with these settings, its microphone on."""
    async with websocket(address) as socket:
        client = Client(socket)
        tasks = [asyncio.create_task(client.listen())]
        try:
            await client.tell("session.update", session={"type": "realtime", **settings})
            await client.until("session.updated")
            tasks.append(asyncio.create_task(client.speak()))
            await asyncio.sleep(0)
            yield client
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
