"""POST /v1/audio/speech with fake engines: parameters, forms of the answer, turns, the cache."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from speaches.audio.formats import FORMATS
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, serving, sse
from tests.audio.files import decode
from tests.fakes import FakeEngines

URL = "/v1/audio/speech"
SHORT = "One two three."
LONG = "Number one is here. " * 40
LONG_SECONDS = 40 * 0.4
CACHE = 10_000_000  # bytes


@asynccontextmanager
async def speaking(make_app: MakeApp, **changes: Any) -> AsyncIterator[tuple[Serving, httpx.AsyncClient]]:
    async with serving(make_app(**changes)) as server, server.client() as client:
        yield server, client


async def said(client: httpx.AsyncClient, text: str = SHORT, **fields: Any) -> httpx.Response:
    answer = await client.post(URL, json={"input": text} | fields)
    assert answer.status_code == 200, answer.text
    return answer


def seconds_of(answer: httpx.Response) -> float:
    kind = answer.headers["content-type"]
    if kind == "audio/pcm":
        return len(answer.content) / 2 / 24_000
    if kind in ("audio/PCMU", "audio/PCMA"):
        return len(answer.content) / 8_000
    return len(decode(answer.content)) / 16_000


# --- Parameters ---


async def test_what_a_client_leaves_null_is_absent(make_app: MakeApp, engines: FakeEngines) -> None:
    names = (
        "model voice instructions response_format speed stream_format stream sample_rate language speaker pause_seconds"
    )
    async with speaking(make_app) as (_, client):
        for nothing in (None, ""):
            answer = await said(client, **dict.fromkeys([*names.split(), "normalize"], nothing))
            assert answer.headers["content-type"] == "audio/mpeg"
    assert [(piece.voice, piece.speed, piece.language) for piece in engines.voice.pieces] == [("ada", 1.0, None)] * 2


async def test_what_clients_send_besides_is_ignored(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app) as (_, client):
        await said(client, instructions="None", backend="openai", user="me", unheard_of={"a": [1]})
        await said(client, instructions="Speak in a cheerful and positive tone.")
    plain, cheerful = engines.voice.pieces
    assert plain == cheerful


async def test_speed_and_voice_reach_the_engine(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app) as (_, client):
        await said(client, voice="max", speed="1.5")
        await said(client, voice={"id": "max"}, speed=2)
    assert [(piece.voice, piece.speed) for piece in engines.voice.pieces] == [("max", 1.5), ("max", 2.0)]


async def test_a_language_may_be_written_as_a_locale(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app) as (_, client):
        await said(client, language="en_GB")
    assert [piece.language for piece in engines.voice.pieces] == ["en-GB"]


async def test_the_pause_between_sentences(make_app: MakeApp) -> None:
    async with speaking(make_app) as (_, client):
        for pause, seconds in ((None, 0.6), (0, 0.6), (0.5, 1.6), (10, 20.6)):
            answer = await said(client, "One two. Three four. Five six.", pause_seconds=pause, response_format="pcm")
            assert seconds_of(answer) == pytest.approx(seconds, abs=0.001)


async def test_pcm_has_24_khz_unless_another_rate_is_asked_for(make_app: MakeApp) -> None:
    async with speaking(make_app) as (_, client):
        assert len((await said(client, response_format="pcm")).content) == 0.3 * 24_000 * 2
        for rate in (8_000, 44_100, 48_000):
            answer = await said(client, response_format="pcm", sample_rate=rate)
            assert len(answer.content) / 2 / rate == pytest.approx(0.3, abs=0.002)


# --- Forms of the answer ---


@pytest.mark.parametrize("name", FORMATS)
async def test_each_format_streamed_whole_and_as_events_is_the_same_speech(make_app: MakeApp, name: str) -> None:
    async with speaking(make_app) as (_, client):
        streamed = await said(client, LONG, response_format=name)
        whole = await said(client, LONG, response_format=name, stream=False)
        events = await said(client, LONG, response_format=name, stream_format="sse")
    assert streamed.headers["content-type"] == whole.headers["content-type"] == FORMATS[name].content_type
    assert "content-length" not in streamed.headers
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert events.headers["content-type"].startswith("text/event-stream")
    if name == "opus":  # each Ogg stream has a random number
        assert len(b"".join(audio_of(events.text))) == len(streamed.content)
    else:
        assert b"".join(audio_of(events.text)) == streamed.content
    for answer in (streamed, whole):
        assert seconds_of(answer) == pytest.approx(LONG_SECONDS, abs=0.1)


def audio_of(events: str) -> list[bytes]:
    *deltas, done = sse(events)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    return [base64.b64decode(event["audio"], validate=True) for event in deltas]


@pytest.mark.parametrize("name", ["wav", "flac"])
@pytest.mark.parametrize("text", [SHORT, LONG])
async def test_the_length_in_the_header_is_true_where_it_is_known(make_app: MakeApp, name: str, text: str) -> None:
    seconds = 0.3 if text == SHORT else LONG_SECONDS
    async with speaking(make_app) as (_, client):
        answer = await said(client, text, response_format=name, stream=False)
        assert soundfile.info(io.BytesIO(answer.content)).duration == pytest.approx(seconds, abs=0.001)
        if text == SHORT:  # one piece is whole before anything can be sent
            assert (await said(client, text, response_format=name)).content == answer.content
            events = await said(client, text, response_format=name, stream_format="sse")
            assert b"".join(audio_of(events.text)) == answer.content


async def test_events_tell_what_was_used(make_app: MakeApp) -> None:
    async with speaking(make_app) as (_, client):
        *_, done = sse((await said(client, LONG, stream_format="sse")).text)
    usage = {"input_tokens": len(LONG) // 4, "output_tokens": round(LONG_SECONDS * 20)}
    usage["total_tokens"] = sum(usage.values())
    assert done == {"type": "speech.audio.done", "usage": usage, "token_usage": usage}


async def test_no_event_is_larger_than_a_client_reads(make_app: MakeApp) -> None:
    async with speaking(make_app) as (_, client):
        answer = await said(client, "word " * 50, response_format="pcm", stream_format="sse", speed=0.25)
    parts = audio_of(answer.text)
    assert len(b"".join(parts)) == 20 * 24_000 * 2
    assert max(len(line) for line in answer.text.splitlines()) < 65_536
    assert {len(part) % 2 for part in parts} == {0}


async def test_what_is_not_speech_is_a_short_silence(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.synthesize = nothing_said(engines)  # type: ignore[method-assign]
    async with speaking(make_app) as (_, client):
        for text in ("...", "?!", "🎉🎉🎉", "- - -", "\u200b."):
            answer = await said(client, text, response_format="pcm")
            assert 0.09 < seconds_of(answer) < 0.2
            assert not np.frombuffer(answer.content, "<i2").any()
            assert b"".join(audio_of((await said(client, text, stream_format="sse")).text))


def nothing_said(engines: FakeEngines) -> Any:
    says = engines.voice.synthesize

    def synthesize(piece: Any) -> Any:
        from dataclasses import replace

        return replace(says(piece), samples=np.empty(0, np.float32), words=())

    return synthesize


STRANGE = {
    "one word of a megabyte": "a" * 1_000_000,
    "a megabyte of dots": "." * 1_000_000,
    "control characters": "".join(map(chr, range(1, 32))) + "hello\x7f\x80",
    "right to left": "שלום עולם. مرحبا بالعالم! \u202eolleh\u202c",
    "half characters": "\ud83d hello \ude00",
    "combining marks": "Z" + "\u0301" * 5_000 + ".",
    "no end": "hello " * 20_000,
}


@pytest.mark.parametrize("what", STRANGE)
async def test_strange_text_is_spoken_and_others_do_not_wait(
    make_app: MakeApp, engines: FakeEngines, what: str
) -> None:
    """Only the beginning is read; what matters is that it comes, and that the server answers others meanwhile."""
    async with speaking(make_app) as (server, client):
        body = json.dumps({"input": STRANGE[what], "response_format": "wav"}).encode()
        async with server.send("POST /v1/audio/speech", body, content_type="application/json") as connection:
            assert "200 OK" in await connection.head()
            await connection.reader.readexactly(40)
            assert (await client.get("/health")).status_code == 200
        assert all(len(piece.text) <= 1_000 for piece in engines.voice.pieces)
        assert not any("\ud800" <= letter <= "\udfff" for piece in engines.voice.pieces for letter in piece.text)


# --- Turns ---


async def test_a_short_request_overtakes_a_long_one_after_a_piece(make_app: MakeApp, engines: FakeEngines) -> None:
    gate = engines.voice.gate
    async with speaking(make_app) as (server, client):
        gate.close()
        long = asyncio.create_task(said(client, "First, the long one begins. " + LONG))
        await gate.reached()
        short = asyncio.create_task(said(client, "Short."))
        while server.waiting() < 2:  # the long one's second piece, and the short one's only
            await client.get("/health")
        gate.open()
        await short
        await long
    spoken = [piece.text for piece in engines.voice.pieces]
    assert spoken.index("Short.") <= 2
    assert len(spoken) == 42


# --- The cache ---


async def test_a_text_that_comes_again_is_not_spoken_again(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app, speech_cache_bytes=CACHE) as (_, client):
        for text in (SHORT, LONG):
            for name in FORMATS:
                first = await said(client, text, response_format=name)
                pieces = len(engines.voice.pieces)
                again = await said(client, text, response_format=name)
                assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
                assert first.headers["content-type"] == again.headers["content-type"]
                assert len(engines.voice.pieces) == pieces
                assert int(again.headers["content-length"]) == len(again.content)
                assert seconds_of(again) == pytest.approx(seconds_of(first), abs=0.06)


@pytest.mark.parametrize("name", ["wav", "flac"])
async def test_what_was_streamed_comes_again_with_its_true_length(make_app: MakeApp, name: str) -> None:
    async with speaking(make_app, speech_cache_bytes=CACHE) as (_, client):
        await said(client, LONG, response_format=name)
        again = await said(client, LONG, response_format=name)
    assert again.headers["x-cache"] == "hit"
    assert soundfile.info(io.BytesIO(again.content)).duration == pytest.approx(LONG_SECONDS, abs=0.001)


async def test_events_and_audio_share_the_cache(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app, speech_cache_bytes=CACHE) as (_, client):
        first = await said(client, LONG, response_format="pcm", stream_format="sse")
        again = await said(client, LONG, response_format="pcm", stream_format="sse")
        audio = await said(client, LONG, response_format="pcm")
    assert [one.headers["x-cache"] for one in (first, again, audio)] == ["miss", "hit", "hit"]
    assert b"".join(audio_of(first.text)) == b"".join(audio_of(again.text)) == audio.content
    assert sse(first.text)[-1] == sse(again.text)[-1]
    assert len(engines.voice.pieces) == 40


async def test_whatever_changes_the_audio_makes_another_answer(make_app: MakeApp) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"voice": "max"}, {"speed": 1.1}, {"response_format": "pcm"}, {"sample_rate": 48_000, "response_format": "pcm"},
        {"pause_seconds": 1}, {"normalize": False}, {"language": "en-US"}, {"input": "One two three!"},
    ]  # fmt: skip
    async with speaking(make_app, speech_cache_bytes=CACHE) as (_, client):
        for expected in ("miss", "hit"):
            answers = [await said(client, **change) for change in changes]
            assert [answer.headers["x-cache"] for answer in answers] == [expected] * len(changes)
        assert (await said(client, instructions="Whisper.")).headers["x-cache"] == "hit"


async def test_only_what_was_spoken_to_its_end_is_kept(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app, speech_cache_bytes=CACHE) as (server, client):
        body = json.dumps({"input": LONG * 10}).encode()
        async with server.send(
            "POST /v1/audio/speech", body, content_type="application/json", x_request_id="left"
        ) as one:
            await one.head()
        await server.log.ended("left")
        assert (await said(client, LONG * 10)).headers["x-cache"] == "miss"
        engines.voice.error = RuntimeError("broken")
        for text in ("Never said.", "Never said. Not even this."):
            assert (await client.post(URL, json={"input": text})).status_code == 500
        engines.voice.error = None
        assert (await said(client, "Never said.")).headers["x-cache"] == "miss"


async def test_a_hit_needs_no_model_in_memory(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app, speech_cache_bytes=CACHE) as (server, client):
        first = await said(client)
        (loaded,) = server.state.models.pool.loaded()
        server.state.models.pool.unload(loaded.model.id)
        assert (await said(client)).content == first.content
        assert engines.voice_kind.loads == 1


async def test_an_answer_that_is_too_large_is_not_kept(make_app: MakeApp) -> None:
    async with speaking(make_app, speech_cache_bytes=100_000) as (_, client):
        for text, again in ((SHORT, "hit"), (LONG, "miss")):
            await said(client, text, response_format="mp3" if text == SHORT else "wav")
            answer = await said(client, text, response_format="mp3" if text == SHORT else "wav")
            assert answer.headers["x-cache"] == again


async def test_without_a_cache_nothing_is_said_of_one(make_app: MakeApp, engines: FakeEngines) -> None:
    async with speaking(make_app) as (_, client):
        for _ in range(2):
            assert "x-cache" not in (await said(client)).headers
    assert len(engines.voice.pieces) == 2


# --- Pauses in the text ---


@pytest.mark.parametrize("route", [URL, f"{URL}/captions"])
async def test_pauses_of_hours_are_refused_before_the_first_byte(
    make_app: MakeApp, engines: FakeEngines, route: str
) -> None:
    async with speaking(make_app) as (_, client):
        for text in ("[pause:30s]" * 21, "One. " + "[PAUSE: 999999999] " * 300):
            answer = await client.post(route, json={"input": text})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
            assert "600 are allowed" in answer.json()["error"]["message"]
    assert engines.voice.pieces == []


async def test_pauses_of_minutes_are_made(make_app: MakeApp) -> None:
    async with speaking(make_app) as (_, client):
        answer = await said(client, "One. " + "[pause:30s]" * 20, response_format="pcm", sample_rate=8_000)
    assert len(answer.content) / 2 / 8_000 == pytest.approx(600.1, abs=0.01)


@pytest.mark.parametrize(("name", "kind"), [("g711_ulaw", "audio/PCMU"), ("g711_alaw", "audio/PCMA")])
async def test_telephones_get_what_they_take(make_app: MakeApp, name: str, kind: str) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for stream in (True, False):
            answer = await client.post(URL, json={"input": "One. Two.", "response_format": name, "stream": stream})
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            pcm = await client.post(URL, json={"input": "One. Two.", "response_format": "pcm", "sample_rate": 8000})
            assert len(answer.content) == len(pcm.content) // 2
        refused = await client.post(URL, json={"input": "One.", "response_format": name, "sample_rate": 16_000})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "sample_rate")
