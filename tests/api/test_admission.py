"""Full servers, clients that leave, and clients that read slowly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from speaches.speech.speak import RUN_AHEAD
from tests.api.conftest import MakeApp
from tests.api.serving import Connection, Footprint, Serving, form, samples, serving
from tests.fakes import RECOGNISER_ID, VOICE_ID, FakeEngines
from tests.recordings import silence, tone, wav

TIMES = 50
URL = "/v1/audio/transcriptions"
SECOND = wav(tone(440, 1))
TWO_WINDOWS = wav(tone(440, 45, rate=8000), rate=8000)
SENTENCES = "This is a sentence of seven words. " * 200


def speech(text: str, **fields: Any) -> tuple[str, bytes, dict[str, str]]:
    return "POST /v1/audio/speech", json.dumps({"input": text} | fields).encode(), {"content_type": "application/json"}


def recording(audio: bytes = SECOND, **fields: str) -> tuple[str, bytes, dict[str, str]]:
    body, kind = form(
        *((name, value.encode()) for name, value in fields.items()), ("file", audio, "a.wav", "audio/wav")
    )
    return f"POST {URL}", body, {"content_type": kind}


@asynccontextmanager
async def sent(
    server: Serving, request: tuple[str, bytes, dict[str, str]], request_id: str
) -> AsyncIterator[Connection]:
    head, body, headers = request
    async with server.send(head, body, **headers, x_request_id=request_id) as connection:
        yield connection


@pytest.mark.parametrize("kind", ["stt", "tts"])
async def test_one_request_more_than_fit_gets_429_and_the_others_finish(
    make_app: MakeApp, engines: FakeEngines, kind: str
) -> None:
    gate = engines.recogniser.gate if kind == "stt" else engines.voice.gate
    path, model = (URL, RECOGNISER_ID) if kind == "stt" else ("/v1/audio/speech", VOICE_ID)
    body: dict[str, Any] = {"files": {"file": SECOND}} if kind == "stt" else {"json": {"input": "Hello."}}
    app = make_app(**{f"{kind}_concurrency": 2, f"{kind}_queue_size": 3})
    gate.close()
    async with serving(app) as server, server.client() as client:
        tasks = [asyncio.create_task(client.post(path, **body)) for _ in range(5)]
        await gate.reached()
        while await queued(server, model) < 3:  # each answer comes after what arrived before it
            pass
        for _ in range(3):
            full = await client.post(path, **body)
            assert (full.status_code, full.headers["retry-after"]) == (429, "1")
            error = full.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ping")).status_code == 200
        gate.open()
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * 5
        assert (await client.post(path, **body)).status_code == 200
        assert await queued(server, model) == server.users() == 0


async def queued(server: Serving, model: str) -> int:
    async with server.client() as client:
        page = (await client.get("/metrics")).text
    return round(samples(page, "speaches_model_queue").get((("model", model),), 0))


async def test_a_client_that_leaves_the_queue_gives_its_place_up(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.gate.close()
    async with serving(make_app(tts_concurrency=1, tts_queue_size=1)) as server, server.client() as client:
        first = asyncio.create_task(client.post("/v1/audio/speech", json={"input": "First."}))
        await engines.voice.gate.reached()
        for number in range(TIMES):
            async with sent(server, speech("Never."), f"leaves-{number}"):
                while not await queued(server, VOICE_ID):
                    pass
            assert await server.log.ended(f"leaves-{number}") == 499
        last = asyncio.create_task(client.post("/v1/audio/speech", json={"input": "Last."}))
        while not await queued(server, VOICE_ID):
            pass
        engines.voice.gate.open()
        assert [(await task).status_code for task in (first, last)] == [200, 200]
        assert [piece.text for piece in engines.voice.pieces] == ["First.", "Last."]
        left_well(server)


def left_well(server: Serving) -> None:
    """Nobody holds a model, and nothing went wrong in the log."""
    assert server.users() == 0
    assert server.log.problems() == server.log.tracebacks() == []


async def test_a_client_that_leaves_while_its_model_loads(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice_kind.gate.close()
    async with serving(make_app()) as server, server.client() as client:
        for number in range(TIMES):
            async with sent(server, speech("Never."), f"leaves-{number}"):
                if number == 0:
                    await engines.voice_kind.gate.reached()
                else:
                    await arrived(server)
            assert await server.log.ended(f"leaves-{number}") == 499
        engines.voice_kind.gate.open()  # the load goes on, and enters the pool
        assert (await client.post("/v1/audio/speech", json={"input": "Now."})).status_code == 200
        assert (engines.voice_kind.loads, [piece.text for piece in engines.voice.pieces]) == (1, ["Now."])
        left_well(server)


async def arrived(server: Serving) -> None:
    """Wait until a second request is being answered, besides the one that asks."""
    async with server.client() as client:
        while samples((await client.get("/metrics")).text, "speaches_requests_in_progress")[()] < 2:
            pass


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_client_that_leaves_while_a_window_is_heard(
    make_app: MakeApp, engines: FakeEngines, stream: str
) -> None:
    gate = engines.recogniser.gate
    async with serving(make_app()) as server, server.client() as client:
        await client.get("/health")
        before = await Footprint.before()
        for number in range(TIMES):
            gate.close()
            async with sent(server, recording(TWO_WINDOWS, stream=stream, language="en"), f"leaves-{number}"):
                await gate.reached()
            assert await server.log.ended(f"leaves-{number}") == 499
            assert server.users() == 0
            gate.open()
            await idle(server)
        assert len(engines.recogniser.calls) == TIMES  # no window after the one that ran
        assert Footprint.now().files <= before.files
        assert (await client.post(URL, files={"file": SECOND})).status_code == 200
        left_well(server)


async def idle(server: Serving) -> None:
    """Wait for the call that was running to end."""
    async with server.client() as client:
        while any(loaded.scheduler and loaded.scheduler.busy for loaded in server.state.models.pool.loaded()):
            await client.get("/health")


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}, {"response_format": "wav"}])
async def test_a_client_that_leaves_in_the_middle_of_speech(
    make_app: MakeApp, engines: FakeEngines, fields: dict[str, str]
) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for number in range(TIMES // 2):
            engines.voice.pieces.clear()
            async with sent(server, speech(SENTENCES, **fields), f"leaves-{number}") as connection:
                assert "200 OK" in await connection.head()
                await connection.reader.readexactly(100)
                engines.voice.gate.close()
            assert await server.log.ended(f"leaves-{number}") == 200  # that is what the client was told
            assert server.users() == 0
            engines.voice.gate.open()
            await idle(server)
            assert len(engines.voice.pieces) < 100
        assert (await client.post("/v1/audio/speech", json={"input": "Now."})).status_code == 200
        left_well(server)


async def test_a_client_that_leaves_before_the_first_byte_of_speech(make_app: MakeApp, engines: FakeEngines) -> None:
    gate = engines.voice.gate
    async with serving(make_app()) as server, server.client() as client:
        for number in range(TIMES):
            gate.close()
            async with sent(server, speech(SENTENCES), f"leaves-{number}"):
                await gate.reached()
            assert await server.log.ended(f"leaves-{number}") == 499
            gate.open()
            await idle(server)
        assert len(engines.voice.pieces) == TIMES  # none but the pieces that ran
        assert (await client.post("/v1/audio/speech", json={"input": "Now."})).status_code == 200
        left_well(server)


@pytest.mark.parametrize("head", ["POST /v1/audio/speech", f"POST {URL}"])
async def test_a_client_that_leaves_in_the_middle_of_its_upload(make_app: MakeApp, head: str) -> None:
    _, body, headers = recording(bytes(2_200_000)) if URL in head else speech(SENTENCES)
    async with serving(make_app()) as server:
        async with server.send(head, body[:10], **headers, x_request_id="first") as connection:
            pass
        await server.log.ended("first")
        before = await Footprint.before()
        for number in range(TIMES):
            lengthy = headers | {"content_length": str(len(body))}
            async with server.connect() as connection:
                lines = [f"{head} HTTP/1.1", "host: a", f"x-request-id: leaves-{number}"]
                lines += [f"{name.replace('_', '-')}: {value}" for name, value in lengthy.items()]
                await connection.write("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
                await arrived(server)
            assert await server.log.ended(f"leaves-{number}") == 499
        assert Footprint.now().files <= before.files
        left_well(server)


async def test_a_slow_reader_holds_the_engine_back(make_app: MakeApp, engines: FakeEngines) -> None:
    """What nobody has read is not spoken, but for what lies in the buffers of the connection."""
    text = "This is a sentence of seven words. " * 2000
    async with serving(make_app()) as server:
        async with server.connect(receive_buffer=4096) as connection:
            head, body, _ = speech(text, response_format="wav")
            lines = [f"{head} HTTP/1.1", "host: a", f"content-length: {len(body)}", "x-request-id: slow"]
            await connection.write("\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + body)
            assert "200 OK" in await connection.head()
            async with server.client() as client:
                while not any(one.flow.write_paused for one in server.connections):  # until all buffers are full
                    assert (await client.get("/health")).status_code == 200
                await idle(server)
                spoken = len(engines.voice.pieces)
                assert RUN_AHEAD < spoken < 500
                taken = len(await connection.reader.readexactly(2_000_000))
                assert taken == 2_000_000
                while len(engines.voice.pieces) == spoken:  # now it goes on
                    await client.get("/health")
        assert await server.log.ended("slow") == 200
        await idle(server)
        assert len(engines.voice.pieces) < 1500
        left_well(server)


async def test_silence_between_is_not_heard(make_app: MakeApp, engines: FakeEngines) -> None:
    quiet = wav(np.concatenate([tone(440, 2), silence(60), tone(440, 2)]))
    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(URL, files={"file": quiet}, data={"response_format": "verbose_json"})
        facts = answer.json()
        assert facts["duration"] == pytest.approx(64, abs=0.1)
        assert facts["speech_seconds"] == pytest.approx(5, abs=1)
        assert len(engines.recogniser.heard) == 1
