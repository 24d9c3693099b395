"""A client of the Realtime API on a real WebSocket, which checks everything that it is sent.

async with talking(make_app, "Hello there.") as place, place.client() as client:
    await client.speaks()
    await client.is_quiet()
    await client.until("response.done")
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from speaches.audio.pcm import from_pcm16, to_pcm16
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, serving
from tests.chat.llm import DONE, SmallLlm, Step, finish, listening, usage, written
from tests.fakes import PATIENCE
from tests.realtime.legality import Legality
from tests.recordings import tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

RATE = 24_000  # Hz of PCM on the wire
CHUNK = RATE // 10  # samples that a client sends at once
PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None}}}
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "fake/recogniser"}}}}
TEXT = {"output_modalities": ["text"]}

UPGRADE = (
    "GET /v1/realtime HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nx-request-id: {}\r\n\r\n"
)
"""The request for a WebSocket, by hand; with its id."""


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def microphone(samples: Samples) -> list[str]:
    """What a client appends, from samples at 24 kHz."""
    return [base64_of(to_pcm16(samples[start : start + CHUNK])) for start in range(0, len(samples), CHUNK)]


def quiet(seconds: float) -> Samples:
    """At 24 kHz."""
    return np.zeros(round(seconds * RATE), np.float32)


def text_item(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}


@dataclass
class Client:
    """One connection: what it sends by name, and what it was sent."""

    socket: ClientConnection
    legality: Legality | None
    """None for the beta's dialect."""
    events: list[dict[str, Any]] = field(default_factory=list)

    # --- It sends ---

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": event_type, **fields}))

    async def update(self, **session: Any) -> dict[str, Any]:
        """Change the session, and wait until it has."""
        await self.send("session.update", session={"type": "realtime", **session})
        return await self.until("session.updated")

    async def plays(self, samples: Samples) -> None:
        """What the microphone hears, at 24 kHz, as fast as it will go."""
        for audio in microphone(samples):
            await self.send("input_audio_buffer.append", audio=audio)

    async def speaks(self, seconds: float = 0.7) -> None:
        await self.plays(tone(440, seconds, RATE))

    async def is_quiet(self, seconds: float = 0.8) -> None:
        await self.plays(quiet(seconds))

    async def types(self, text: str) -> None:
        await self.send("conversation.item.create", item=text_item(text))

    # --- It is sent ---

    async def next(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))
        if self.legality is not None:
            self.legality.see(event)
        self.events.append(event)
        return event

    async def until(self, event_type: str, times: int = 1) -> dict[str, Any]:
        """Read on to the next event of a type."""
        for _ in range(times):
            while (event := await self.next())["type"] != event_type:
                pass
        return event

    async def error(self) -> dict[str, Any]:
        error: dict[str, Any] = (await self.until("error"))["error"]
        return error

    async def rest(self) -> list[dict[str, Any]]:
        """All events until the server closes."""
        first = len(self.events)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.events[first:]

    async def is_alive(self) -> None:
        """A session that lives answers an update."""
        await self.update()

    def sent(self) -> list[str]:
        """The types of all events so far."""
        return [event["type"] for event in self.events]

    def all(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == event_type]

    def said(self, response_id: str | None = None) -> bytes:
        """The audio of all answers so far, or of one."""
        deltas = [
            event
            for event in self.events
            if event["type"] in ("response.output_audio.delta", "response.audio.delta")
            and response_id in (None, event["response_id"])
        ]
        return b"".join(base64.b64decode(event["delta"], validate=True) for event in deltas)

    def heard(self) -> Samples:
        return from_pcm16(self.said())


@dataclass
class Place:
    """A server and its LLM."""

    server: Serving
    llm: SmallLlm
    request_ids: list[str] = field(default_factory=list)
    """Of all connections that were opened."""

    @property
    def url(self) -> str:
        return self.server.url.replace("http:", "ws:")

    @contextlib.asynccontextmanager
    async def client(
        self, path: str = "/v1/realtime?model=gpt-realtime", *, beta: bool = False, **options: Any
    ) -> AsyncIterator[Client]:
        """A connection, whose session has been created. In the beta's dialect events are not checked."""
        options |= {"max_size": 2**18, "max_queue": None, "compression": None, "open_timeout": PATIENCE}
        async with connect(self.url + path, **options) as socket:
            assert socket.response is not None
            self.request_ids.append(socket.response.headers["x-request-id"])
            client = Client(socket, None if beta else Legality())
            await client.next()
            yield client

    async def is_empty(self) -> None:
        """Wait until all connections have ended; then nothing of any session may be left."""
        for request_id in self.request_ids:
            await self.server.log.ended(request_id)
        assert self.server.state.sessions == 0
        assert self.server.users() == 0
        assert tasks_of_sessions() == []


def tasks_of_sessions() -> list[str]:
    """The names of the tasks of all sessions under way."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name in ("read", "write") or name.startswith(("transcribe_", "listen_", "resp_"))]


@contextlib.asynccontextmanager
async def talking(make_app: MakeApp, *script: Step, **settings: Any) -> AsyncIterator[Place]:
    """A server whose LLM answers with one text, or by a script."""
    if len(script) == 1 and isinstance(script[0], str):
        script = (*written(script[0]), finish(), usage(), DONE)
    llm = SmallLlm(script=script)
    async with listening(llm) as url, serving(make_app(chat_completion_base_url=url, **settings)) as server:
        yield Place(server, llm)
