"""Clients that take one byte of speech and go."""

from __future__ import annotations

import itertools
import json
from typing import Any

from speaches.audio.formats import FORMATS
from tests.api.conftest import MakeApp
from tests.api.serving import Footprint, Serving, serving
from tests.fakes import FakeEngines

TIMES = 200
SENTENCES = "This is a sentence of seven words. " * 300
SPEECH, CAPTIONS = "POST /v1/audio/speech", "POST /v1/audio/speech/captions"
ASKED: list[tuple[str, dict[str, Any]]] = [
    *((SPEECH, {"response_format": name}) for name in FORMATS),
    (SPEECH, {"stream_format": "sse"}),
    (SPEECH, {"speed": 0.5, "sample_rate": 8_000, "response_format": "wav"}),
    (CAPTIONS, {"stream": True}),
    (CAPTIONS, {"stream": True, "caption_format": "vtt"}),
]


async def leave_after_a_byte(server: Serving, head: str, fields: dict[str, Any], request_id: str) -> None:
    body = json.dumps({"input": SENTENCES} | fields).encode()
    async with server.send(head, body, content_type="application/json", x_request_id=request_id) as connection:
        assert "200 OK" in await connection.head()
        await connection.reader.readexactly(1)
    assert await server.log.ended(request_id) == 200  # that is what the client was told
    assert server.users() == 0


async def test_two_hundred_that_leave_after_one_byte_leave_nothing_behind(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    async with serving(make_app(speech_cache_bytes=10_000_000)) as server, server.client() as client:
        for number, (head, fields) in enumerate(ASKED):  # threads come as they are needed, and stay
            await leave_after_a_byte(server, head, fields, f"first-{number}")
        await idle(server)
        before = await Footprint.before()
        for number, (head, fields) in zip(range(TIMES), itertools.cycle(ASKED), strict=False):
            await leave_after_a_byte(server, head, fields, f"leaves-{number}")
        await idle(server)
        await before.is_all()
        assert len(engines.voice.pieces) < (TIMES + len(ASKED)) * 150  # of 300 sentences each
        assert server.log.problems() == server.log.tracebacks() == []
        engines.voice.pieces.clear()
        assert (await client.post("/v1/audio/speech", json={"input": "Now."})).status_code == 200
        assert [piece.text for piece in engines.voice.pieces] == ["Now."]


async def idle(server: Serving) -> None:
    """Wait for the call that was running to end."""
    async with server.client() as client:
        while any(loaded.scheduler and loaded.scheduler.busy for loaded in server.state.models.pool.loaded()):
            await client.get("/health")
