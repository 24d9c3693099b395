"""What a client and the log are told when something breaks, before and after the first byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from speaches.app import create_app
from speaches.engines.base import Window
from speaches.errors import SpeachesError, Unavailable
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, serving, sse
from tests.fakes import VOICE_ID, FakeEngines, FakeVoice
from tests.recordings import tone, wav

SECRET = "/home/somebody/secret.bin"
SENTENCES = "This is a sentence. " * 50
TWO_WINDOWS = wav(tone(440, 50, rate=8000), rate=8000)


def breaks_at(times: int, calls: Callable[[], int], error: Exception) -> Callable[[Window], str]:
    def hear(window: Window) -> str:
        if calls() >= times:
            raise error
        return "hello"

    return hear


class BreaksLater(FakeVoice):
    """Speaks two pieces."""

    later: Exception = RuntimeError(SECRET)

    def synthesize(self, piece: Any) -> Any:
        if len(self.pieces) >= 2:
            raise self.later
        return super().synthesize(piece)


REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"json": {"input": "Hello."}},
    "/v1/audio/speech#long": {"json": {"input": SENTENCES}},
    "/v1/audio/speech#events": {"json": {"input": SENTENCES, "stream_format": "sse"}},
    "/v1/audio/transcriptions": {"files": {"file": TWO_WINDOWS}},
    "/v1/audio/transcriptions#events": {"files": {"file": TWO_WINDOWS}, "data": {"stream": "true"}},
    "/v1/audio/translations": {"files": {"file": TWO_WINDOWS}},
}


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_bug_before_the_first_byte_is_a_500_that_tells_nothing_of_the_inside(
    make_app: MakeApp, engines: FakeEngines, path: str
) -> None:
    engines.voice.error = engines.recogniser.error = RuntimeError(SECRET)
    async with serving(make_app()) as server, server.client(headers={"x-request-id": "mine"}) as client:
        answer = await client.post(path.partition("#")[0], **REQUESTS[path])
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
        error = answer.json()["error"]
        assert (error["type"], error["param"], error["code"]) == ("server_error", None, None)
        assert "mine" in error["message"]
        assert SECRET not in answer.text and "RuntimeError" not in answer.text and "Traceback" not in answer.text
        assert any(SECRET in traceback for traceback in server.log.tracebacks())
        assert any("mine" in problem for problem in server.log.problems())
        engines.voice.error = engines.recogniser.error = None
        assert (await client.post(path.partition("#")[0], **REQUESTS[path])).status_code == 200
        assert server.users() == 0


@pytest.mark.parametrize("path", REQUESTS)
async def test_an_error_on_purpose_keeps_its_status_and_needs_no_traceback(
    make_app: MakeApp, engines: FakeEngines, path: str
) -> None:
    engines.voice.error = engines.recogniser.error = Unavailable("The GPU is gone.")
    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(path.partition("#")[0], **REQUESTS[path])
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, "The GPU is gone.")
        assert server.log.tracebacks() == []


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/audio/transcriptions"])
async def test_a_model_that_does_not_load_is_told_and_tried_again(
    make_app: MakeApp, engines: FakeEngines, path: str
) -> None:
    engines.voice_kind.error = engines.recogniser_kind.error = OSError("half a file")
    async with serving(make_app()) as server, server.client() as client:
        for _ in range(2):
            answer = await client.post(path, **REQUESTS[path])
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_load_failed")
        engines.voice_kind.error = engines.recogniser_kind.error = None
        assert (await client.post(path, **REQUESTS[path])).status_code == 200
        assert server.users() == 0


async def test_a_model_that_loads_for_too_long_is_a_504_and_there_the_next_time(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    engines.voice_kind.gate.close()
    async with serving(make_app(model_load_timeout=0.01)) as server, server.client() as client:
        answer = await client.post("/v1/audio/speech", json={"input": "Hello."})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "model_loading")
        assert "MODEL_LOAD_TIMEOUT" in answer.json()["error"]["message"]
        engines.voice_kind.gate.open()
        while VOICE_ID not in (await client.get("/api/ps")).json()["models"]:
            pass
        assert (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code == 200
        assert engines.voice_kind.loads == 1


@pytest.mark.parametrize("error", [RuntimeError(SECRET), Unavailable("The GPU is gone.")])
async def test_a_failure_in_the_middle_of_events_is_the_last_event(
    make_app: MakeApp, engines: FakeEngines, error: Exception
) -> None:
    engines.recogniser.says = breaks_at(2, lambda: len(engines.recogniser.calls), error)
    path = "/v1/audio/transcriptions#events"
    async with serving(make_app()) as server, server.client(headers={"x-request-id": "mine"}) as client:
        answer = await client.post(path.partition("#")[0], **REQUESTS[path])
        assert answer.status_code == 200
        first, last = sse(answer.text)
        assert first == {"type": "transcript.text.delta", "delta": "hello"}
        check_last(server, last, error)


@pytest.mark.parametrize("error", [RuntimeError(SECRET), Unavailable("The GPU is gone.")])
async def test_a_failure_in_the_middle_of_spoken_events_is_the_last_event(settings: Any, error: Exception) -> None:
    voice = BreaksLater()
    voice.later = error
    engines = FakeEngines(voice=voice)
    app = create_app(engines.settings(settings), kinds=engines.kinds)
    async with serving(app) as server, server.client(headers={"x-request-id": "mine"}) as client:
        body = {"input": SENTENCES, "stream_format": "sse", "response_format": "pcm"}
        answer = await client.post("/v1/audio/speech", json=body)
        *deltas, last = sse(answer.text)
        assert {event["type"] for event in deltas} == {"speech.audio.delta"}
        check_last(server, last, error)


def check_last(server: Serving, last: Any, error: Exception) -> None:
    assert set(last) == {"error"} and set(last["error"]) == {"message", "type", "param", "code"}
    if isinstance(error, SpeachesError):
        assert last["error"]["message"] == error.message
    else:
        assert "mine" in last["error"]["message"] and SECRET not in json.dumps(last)
        assert any(SECRET in traceback for traceback in server.log.tracebacks())
    assert server.users() == 0


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_a_failure_in_the_middle_of_audio_breaks_the_connection_off(settings: Any, name: str) -> None:
    """So that no client takes half a text for the whole."""
    engines = FakeEngines(voice=BreaksLater())
    app = create_app(engines.settings(settings), kinds=engines.kinds)
    async with serving(app) as server, server.client() as client:
        received = b""
        body = {"input": "This is a sentence of seven words. " * 50, "response_format": name}
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                assert answer.status_code == 200
                async for data in answer.aiter_bytes():
                    received += data
        assert received
        assert any(SECRET in traceback for traceback in server.log.tracebacks())
        assert server.users() == 0


async def test_a_recording_that_goes_on_for_too_long_ends_in_an_event(make_app: MakeApp) -> None:
    """Its length is known only when it has been decoded: the beginning was heard by then."""
    long = wav(tone(440, 240, rate=8000), rate=8000)
    async with serving(make_app(max_audio_seconds=230.0)) as server, server.client() as client:
        answer = await client.post(
            "/v1/audio/transcriptions", files={"file": long}, data={"stream": "true", "language": "en"}
        )
        first, *_, last = sse(answer.text)
        assert first["type"] == "transcript.text.delta"
        assert last["error"]["code"] == "request_too_large"
        assert "230" in last["error"]["message"]
        assert server.users() == 0


async def test_half_a_body_after_the_answer_is_known_does_no_harm(make_app: MakeApp) -> None:
    """A 413 is sent before the body has come; the connection is not taken for another request."""
    async with serving(make_app(max_upload_bytes=1000)) as server, server.connect() as connection:
        await connection.write(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n" + bytes(100)
        )
        assert (await connection.answer())[0] == 413
        smuggled = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"
        await connection.write(smuggled + bytes(4900 - len(smuggled)))
        await connection.write(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        rest = await connection.rest()
        assert rest.count(b"HTTP/1.1") <= 1 and b'"object":"list"' not in rest


async def test_a_body_where_none_is_wanted_is_bounded_too(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice_kind.gate.close()
    async with serving(make_app(max_upload_bytes=1000)) as server:
        async with server.connect() as connection:
            await connection.write(b"POST /api/ps/fake/voice HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            await engines.voice_kind.gate.reached()
            await connection.write(b"7d0\r\n" + bytes(2000) + b"\r\n")
            status, _, body = await connection.answer()
            assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")
        engines.voice_kind.gate.open()
        assert server.log.tracebacks() == []
