"""Recordings that are bad, large, slow to come, or whose sender has left: whatever the answer was to be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from speaches.audio.encode import encode
from tests.api.conftest import MakeApp
from tests.api.serving import Footprint, Serving, form, serving, sse, upload
from tests.api.test_admission import arrived, idle, left_well, queued, sent
from tests.api.test_admission import recording as posted
from tests.api.test_bad_input import CAPS, CONCAT, DASH, FLAC, HLS, MP3, PNG, RANDOM, SECOND
from tests.fakes import RECOGNISER_ID, FakeEngines
from tests.recordings import silence, tone, wav

URL = "/v1/audio/transcriptions"
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")

BAD: dict[str, tuple[bytes, int, str]] = {
    "an empty file": (b"", 400, "empty_file"),
    "0 seconds": (wav(silence(0)), 400, "audio_too_short"),
    "50 ms": (wav(silence(0.05)), 400, "audio_too_short"),
    "half a header": (SECOND[:20], 400, "unsupported_audio"),
    "half an MP3 frame": (MP3[:60], 400, "unsupported_audio"),
    "the head of a FLAC": (FLAC[:60], 400, "unsupported_audio"),
    "noise": (RANDOM, 400, "unsupported_audio"),
    "text": (b"hello " * 1000, 400, "unsupported_audio"),
    "a picture": (PNG, 400, "unsupported_audio"),
    "a playlist": (HLS, 400, "unsupported_audio"),
    "a list of files": (CONCAT, 400, "unsupported_audio"),
    "a manifest": (DASH, 400, "unsupported_audio"),
    "a name": (b"/etc/passwd", 400, "unsupported_audio"),
    "8 channels": (wav(tone(440, 0.5), channels=8), 413, "request_too_large"),
    "6 seconds": (wav(tone(440, 6, rate=8000), rate=8000), 413, "request_too_large"),
}


WAYS: list[tuple[str, dict[str, str]]] = [
    *((URL, {"response_format": name, "stream": stream}) for name in FORMATS for stream in ("false", "true")),
    (URL, {"vad_filter": "false"}),
    (URL, {"condition_on_previous_text": "true", "language": "en"}),
    ("/v1/audio/translations", {}),
    ("/v1/audio/translations", {"stream": "true", "response_format": "srt"}),
]


async def test_a_bad_file_is_the_same_error_whatever_the_answer_was_to_be(make_app: MakeApp) -> None:
    wrong = []
    async with serving(make_app(**CAPS)) as server, server.client() as client:
        for what, (audio, status, code) in BAD.items():
            for path, fields in WAYS:
                answer = await client.post(path, **upload(audio, **fields))
                got = answer.status_code, answer.json()["error"]["code"]
                if got != (status, code):
                    wrong.append(f"{what} to {path} with {fields}: {got}")
        assert server.users() == 0
        assert server.log.tracebacks() == []
    assert wrong == []


@pytest.mark.parametrize(
    "more", [{}, {"language": "en"}, {"condition_on_previous_text": "true"}, {"vad_filter": "false"}]
)
async def test_a_file_that_breaks_in_mid_stream_ends_in_an_error_event_after_what_was_heard(
    make_app: MakeApp, engines: FakeEngines, more: dict[str, str]
) -> None:
    """Of an MP3 nobody knows how long it is until it was decoded."""
    engines.recogniser.says = lambda window: "hello there"
    sound = np.concatenate([tone(440, 25, rate=8000), silence(1.5, rate=8000)] * 4)
    audio = encode("mp3", 8000, sound)
    async with serving(make_app(max_audio_seconds=90.0)) as server, server.client() as client:
        answer = await client.post(URL, **upload(audio, stream="true", **more))
        *deltas, last = sse(answer.text)
        assert answer.status_code == 200
        assert {event["type"] for event in deltas} == {"transcript.text.delta"}
        assert last["error"]["code"] == "request_too_large"
        for name in FORMATS:
            whole = await client.post(URL, **upload(audio, response_format=name, **more))
            assert (whole.status_code, whole.json()["error"]["code"]) == (413, "request_too_large")
        assert server.users() == 0
        assert server.log.tracebacks() == []


# --- Large uploads ---


async def test_26_mb_are_heard(make_app: MakeApp) -> None:
    """One more than OpenAI takes."""
    audio = wav(silence(26_000_000 / 32_000))
    assert len(audio) > 26_000_000
    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(URL, **upload(audio, response_format="verbose_json"))
        assert (answer.status_code, answer.json()["duration"]) == (200, 812.5)


CAP = 1_000_000
SLACK = 12_000_000  # bytes that the buffers of a connection may take on both sides


async def test_an_upload_over_the_cap_is_refused_before_it_is_all_read(make_app: MakeApp) -> None:
    """In chunks, so that nothing tells its length; its client would send for ever."""
    head, kind = form(("file", b"", "a.wav", "audio/wav"))
    part = b"%x\r\n%s\r\n" % (2**16, bytes(2**16))
    async with serving(make_app(max_upload_bytes=CAP)) as server, server.connect() as connection:
        lines = [f"POST {URL} HTTP/1.1", "host: a", f"content-type: {kind}", "transfer-encoding: chunked", "", ""]
        begin = head.rpartition(b"\r\n--")[0]
        await connection.write("\r\n".join(lines).encode() + b"%x\r\n%s\r\n" % (len(begin), begin))
        answering = asyncio.create_task(connection.answer())
        taken = 0
        with contextlib.suppress(ConnectionError):
            while not answering.done() and taken < 10 * SLACK:
                await connection.write(part)
                taken += 2**16
        status, _, body = await answering
        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")
        assert CAP < taken < CAP + SLACK
        assert server.users() == 0


async def test_a_length_over_the_cap_is_refused_before_anything_is_sent(make_app: MakeApp) -> None:
    async with serving(make_app(max_upload_bytes=CAP)) as server, server.connect() as connection:
        lines = [
            f"POST {URL} HTTP/1.1",
            "host: a",
            "content-type: multipart/form-data; boundary=x",
            f"content-length: {CAP * 9}",
            "",
            "",
        ]
        await connection.write("\r\n".join(lines).encode())
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


@contextlib.asynccontextmanager
async def half_sent(server: Serving, request_id: str, audio: bytes = SECOND) -> AsyncIterator[Any]:
    """An upload of which the second half does not come."""
    body, kind = form(("file", audio, "a.wav", "audio/wav"))
    async with server.connect() as connection:
        lines = [f"POST {URL} HTTP/1.1", "host: a", f"content-type: {kind}", f"content-length: {len(body)}"]
        lines += [f"x-request-id: {request_id}", "", ""]
        await connection.write("\r\n".join(lines).encode() + body[: len(body) // 2])
        await arrived(server)
        yield connection, body[len(body) // 2 :]


async def test_an_upload_that_stalls_holds_neither_a_model_nor_a_place(make_app: MakeApp, engines: FakeEngines) -> None:
    app = make_app(stt_concurrency=1, stt_queue_size=0)
    async with serving(app) as server, server.client() as client, half_sent(server, "stalls") as (connection, rest):
        assert (engines.recogniser_kind.loads, server.users()) == (0, 0)
        for _ in range(3):
            assert (await client.post(URL, **upload(SECOND))).status_code == 200
        assert (server.users(), await queued(server, RECOGNISER_ID)) == (0, 0)
        await connection.write(rest)
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["text"]) == (200, "hello")


# --- Clients that leave ---

TIMES = 40  # in each of five phases
LONG = wav(np.concatenate([tone(440, 25, rate=8000), silence(1, rate=8000)] * 4), rate=8000)


async def leaves(server: Serving, phase: str, request: Any, when: Any, status: int = 499) -> None:
    """TIMES clients, one after the other, that leave when `when` is over."""
    for number in range(TIMES):
        async with sent(server, request, f"{phase}-{number}") as connection:
            await when(number, connection)
        assert await server.log.ended(f"{phase}-{number}") == status


async def test_clients_that_leave_in_any_phase_leave_nothing(make_app: MakeApp, engines: FakeEngines) -> None:
    recogniser, loading = engines.recogniser, engines.recogniser_kind.gate
    # Counted after a request of its own; the model is loaded anew.
    async with serving(make_app(stt_concurrency=1, stt_queue_size=1)) as server, server.client() as client:
        assert (await client.post(URL, **upload(LONG))).status_code == 200
        assert (await client.delete(f"/api/ps/{RECOGNISER_ID}")).status_code == 200
        before = await Footprint.before()

        async def is_loading(number: int, connection: Any) -> None:
            await (arrived(server) if number else loading.reached())

        async def is_heard(number: int, connection: Any) -> None:
            await recogniser.gate.reached()

        async def is_queued(number: int, connection: Any) -> None:
            while not await queued(server, RECOGNISER_ID):
                pass

        async def is_streamed(number: int, connection: Any) -> None:
            assert "200 OK" in await connection.head()
            assert b"delta" in await connection.reader.readuntil(b"\n\n")

        drain(engines)
        loading.close()
        await leaves(server, "loading", posted(LONG), is_loading)
        loading.open()
        assert (await client.post(URL, **upload(SECOND))).status_code == 200

        for number in range(TIMES):
            async with half_sent(server, f"uploading-{number}", LONG):
                pass
            assert await server.log.ended(f"uploading-{number}") == 499

        drain(engines)
        for number in range(TIMES):
            recogniser.gate.close()
            async with sent(server, posted(LONG, stream=str(bool(number % 2)).lower()), f"hearing-{number}"):
                await is_heard(number, None)
            assert await server.log.ended(f"hearing-{number}") == 499
            recogniser.gate.open()
            await idle(server)

        drain(engines)
        recogniser.gate.close()
        first = asyncio.create_task(client.post(URL, **upload(SECOND)))
        await recogniser.gate.reached()
        await leaves(server, "queued", posted(LONG), is_queued)
        recogniser.gate.open()
        assert (await first).status_code == 200

        await leaves(server, "streaming", posted(LONG, stream="true"), is_streamed, status=200)

        await idle(server)
        assert (await client.post(URL, **upload(SECOND))).json()["text"] == "hello"
        assert (server.users(), await queued(server, RECOGNISER_ID)) == (0, 0)
        await before.is_all()
        left_well(server)


def drain(engines: FakeEngines) -> None:
    """Forget the calls that came to the gates so far."""
    for gate in (engines.recogniser.gate, engines.recogniser_kind.gate):
        gate.forget()


async def test_no_more_is_heard_for_a_client_that_has_left(make_app: MakeApp, engines: FakeEngines) -> None:
    recogniser = engines.recogniser
    async with serving(make_app()) as server:
        recogniser.gate.close()
        async with sent(server, posted(LONG, language="en"), "leaves"):
            await recogniser.gate.reached()
        assert await server.log.ended("leaves") == 499
        recogniser.gate.open()
        await idle(server)
        assert len(recogniser.calls) == 1
