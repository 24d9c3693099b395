"""Sessions that end by the server: their time is over, it goes, or the client takes nothing and sends what is no use."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from speaches import serve
from speaches.realtime import outgoing
from tests.api.conftest import MakeApp
from tests.api.realtime_client import UPGRADE, Place, microphone, talking, text_item
from tests.api.serving import Footprint
from tests.chat.llm import SmallLlm, listening
from tests.fakes import PATIENCE
from tests.recordings import tone
from tests.test_serve import started

LONG = "This sentence is one of the many that it says. "  # a second of speech


class Unsent(deque[str]):
    """Remembers how long it was, and how large."""

    longest = 0
    most_chars = 0

    def append(self, one: str) -> None:
        super().append(one)
        Unsent.longest = max(Unsent.longest, len(self))
        Unsent.most_chars = max(Unsent.most_chars, sum(map(len, self)))


@asynccontextmanager
async def flooding(place: Place, size: int = 10_000) -> AsyncIterator[asyncio.Task[None]]:
    """A client that never reads makes the server write: so many bytes for each of its updates. Its task ends when it is let go."""
    update = json.dumps({"type": "session.update", "session": {"instructions": "x" * size}}).encode()
    frame = b"\x81\xfe" + len(update).to_bytes(2, "big") + bytes(4) + update  # masked with zeros
    async with place.server.connect(receive_buffer=4096) as raw:
        await raw.write(UPGRADE.format("mine").encode())
        assert "101" in await raw.head()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        task = asyncio.create_task(_floods(raw.writer, frame))
        yield task
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("size", [10_000, 60_000])
async def test_what_waits_for_a_client_that_never_reads_is_bounded(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Soon its own updates are not read any more."""
    monkeypatch.setattr(outgoing, "SEND_TIMEOUT", PATIENCE)
    monkeypatch.setattr(outgoing, "deque", Unsent)
    Unsent.longest = Unsent.most_chars = 0
    async with talking(make_app) as place, place.server.client() as client:
        async with flooding(place, size):
            while Unsent.longest < outgoing.MOST_UNSENT and Unsent.most_chars < outgoing.MOST_UNSENT_CHARS:
                await client.get("/health")
            for _ in range(50):  # the server has had the time to read on
                await client.get("/health")
        assert Unsent.longest <= outgoing.MOST_UNSENT
        assert Unsent.most_chars < outgoing.MOST_UNSENT_CHARS + 2 * size
        await place.server.log.ended("mine")
        assert place.server.log.problems() == []


async def test_a_client_that_never_reads_is_let_go(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "SEND_TIMEOUT", 0.3)
    monkeypatch.setattr(serve, "CLOSE_TIMEOUT", 0.1)
    async with talking(make_app) as place:
        async with place.client() as client:
            await client.is_alive()
        await place.is_empty()
        before = await Footprint.before()
        async with flooding(place) as flood:
            with pytest.raises(ConnectionError):  # the server breaks off, whatever was still to be sent
                await asyncio.wait_for(flood, PATIENCE)
            await place.server.log.ended("mine")
            await before.is_all(sockets=1)  # the client's own
        await place.is_empty()
        assert place.server.log.problems() == []


async def _floods(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


async def test_a_message_in_a_million_empty_parts_ends_the_connection(make_app: MakeApp) -> None:
    """They are no bytes, so no limit of bytes would hold."""
    async with talking(make_app) as place, place.server.connect() as raw:
        await raw.write(UPGRADE.format("mine").encode())
        assert "101" in await raw.head()
        await raw.write(b"\x01\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * serve.MOST_FRAGMENTS)
        assert (1009).to_bytes(2, "big") + b"too many fragments" in await raw.rest()
        await place.server.log.ended("mine")
        assert place.server.log.problems() == []


async def test_pings_of_a_client_that_never_reads_are_not_answered(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    begin = serve._WebSocket.connection_made

    def remembered(self: Any, transport: Any) -> None:
        made.append(self)
        begin(self, transport)

    monkeypatch.setattr(serve._WebSocket, "connection_made", remembered)
    ping = b"\x89\xfd" + bytes(4) + bytes(125)
    async with talking(make_app) as place, place.server.connect(receive_buffer=4096) as raw:
        await raw.write(UPGRADE.format("mine").encode())
        assert "101" in await raw.head()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            await raw.write(ping * 1000)  # 13 MB in all, of which the sockets hold a few
        assert made[0].transport.get_write_buffer_size() < 500_000


async def test_a_session_ends_when_its_time_is_over(make_app: MakeApp) -> None:
    async with talking(make_app, LONG * 9, realtime_session_seconds=0.4) as place, place.client() as client:
        with suppress(ConnectionClosed):  # on a slow machine it is over by now
            await client.send("response.create")
        events = await client.rest()
        assert events[-1]["type"] == "error"
        assert events[-1]["error"]["code"] == "session_expired"
        assert client.socket.close_code == 1000
        await place.is_empty()
        assert place.server.log.problems() == []


SERVE = """
from speaches.serve import serve
from speaches.settings import Settings
from tests.fakes import FakeEngines
engines = FakeEngines()
serve(engines.settings(Settings()), kinds=engines.kinds)
"""


async def test_a_server_that_goes_says_so(make_app: MakeApp) -> None:
    """With one session idle, one in speech, and one in an answer that will never end."""
    llm = SmallLlm(script=[LONG * 9, asyncio.Event()])
    async with (
        listening(llm) as url,
        started("-c", SERVE, SHUTDOWN_TIMEOUT="50", CHAT_COMPLETION_BASE_URL=url) as process,
    ):
        address = (await process.url()).replace("http:", "ws:") + "/v1/realtime"
        async with (
            connect(address, open_timeout=PATIENCE) as idle,
            connect(address, open_timeout=PATIENCE) as speaking,
            connect(address, open_timeout=PATIENCE) as answered,
        ):
            for audio in microphone(tone(440, 0.7, 24_000)):
                await speaking.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await answered.send(json.dumps({"type": "conversation.item.create", "item": text_item("Hello.")}))
            await answered.send(json.dumps({"type": "response.create"}))
            while json.loads(await answered.recv())["type"] != "response.output_audio.delta":
                pass
            process.tell(signal.SIGTERM)
            for socket in (idle, speaking, answered):
                with pytest.raises(ConnectionClosed):
                    async with asyncio.timeout(PATIENCE):
                        while True:
                            await socket.recv()
                assert socket.close_code == 1012
        assert await process.ends() == 0
        assert "Traceback" not in "\n".join(process.lines)
        await asyncio.wait_for(llm.left.wait(), PATIENCE)
