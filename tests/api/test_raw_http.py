"""Requests that no client library would send: two readings of one request must not be possible."""

from __future__ import annotations

import asyncio
import json

import pytest

from speaches.api.middleware import MOST_IN_MEMORY
from tests.api.conftest import MakeApp
from tests.api.serving import form, serving

HIDDEN = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"
POST = "POST /v1/audio/speech HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"

SMUGGLED = {
    "two lengths": f"{POST}content-length: 2\r\ncontent-length: {2 + len(HIDDEN)}\r\n\r\n{{}}{HIDDEN}",
    "two lengths in one": f"{POST}content-length: 2, {2 + len(HIDDEN)}\r\n\r\n{{}}{HIDDEN}",
    "a length and chunks": f"{POST}content-length: {len(HIDDEN)}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks and a length": f"{POST}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks of a strange kind": f"{POST}transfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks twice": f"{POST}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks with a space": f"{POST}transfer-encoding : chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks on the next line": f"{POST}x: y\r\n transfer-encoding: chunked\r\ncontent-length: {5 + len(HIDDEN)}\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a negative length": f"{POST}content-length: -1\r\n\r\n{HIDDEN}",
    "a length with a plus": f"{POST}content-length: +5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a length in hexadecimal": f"{POST}content-length: 0x5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a length of other digits": f"{POST}content-length: \xb2\r\n\r\n{{}}{HIDDEN}",
    "an endless length": f"{POST}content-length: {'9' * 40}\r\n\r\n{HIDDEN}",
    "a chunk of a negative size": f"{POST}transfer-encoding: chunked\r\n\r\n-1\r\n{HIDDEN}",
    "a chunk of an endless size": f"{POST}transfer-encoding: chunked\r\n\r\n{'f' * 17}\r\n{HIDDEN}",
    "a bare line feed in a header": f"{POST}x: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a NUL in a header": f"{POST}x: a\0b\r\ncontent-length: 0\r\n\r\n{HIDDEN}",
    "an unknown method": f"BREW /v1/models HTTP/1.1\r\nhost: a\r\n\r\n{HIDDEN}",
    "no HTTP at all": "hello\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_no_request_hides_in_another(make_app: MakeApp, name: str) -> None:
    """Whatever can be read in two ways is refused, and the connection closed."""
    async with serving(make_app()) as server, server.connect() as connection:
        connection.writer.write(SMUGGLED[name].encode("latin-1"))
        for _ in range(3):  # by the time that others have been answered, it has been read
            async with server.send("GET /health") as other:
                assert (await other.answer())[0] == 200
        connection.writer.write_eof()
        answers = (await connection.rest()).split(b"HTTP/1.1 ")[1:]
        statuses = [int(answer[:3]) for answer in answers]
        assert statuses == [400], answers
        assert server.log.tracebacks() == []
        assert not [line for line in server.log.records if "/hidden" in line.getMessage()]


@pytest.mark.parametrize("line", [b"a", b"x: y\r\n"])
async def test_headers_without_end_are_refused(make_app: MakeApp, line: bytes) -> None:
    async with serving(make_app(api_key="right")) as server, server.connect() as connection:
        await connection.write(b"GET /health HTTP/1.1\r\nhost: a\r\nx: y\r\nx: " + line * (70_000 // len(line)))
        async with server.send("GET /health", x="y" * 60_000) as other:
            assert (await other.answer())[0] == 200
        await connection.write(b"x")
        status, headers, body = await connection.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_large_bodies_are_not_taken_for_headers(make_app: MakeApp) -> None:
    async with serving(make_app(max_upload_bytes=3_000_000)) as server, server.connect() as connection:
        for _ in range(3):
            body, kind = form(("file", bytes(2_000_000), "a.wav", "audio/wav"))
            head = f"POST /v1/audio/speech/timestamps HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
            await connection.write(f"{head}\r\n\r\n".encode() + body)
            assert (await connection.answer())[0] == 400


async def test_requests_one_after_the_other_are_answered_in_order(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.connect() as connection:
        await connection.write(b"".join(b"GET /v1/models/%d HTTP/1.1\r\nhost: a\r\n\r\n" % n for n in range(20)))
        for number in range(20):
            status, _, body = await connection.answer()
            assert (status, f"'{number}'".encode() in body) == (404, True)


async def test_a_client_that_expects_100_hears_of_413_at_once(make_app: MakeApp) -> None:
    async with (
        serving(make_app(max_upload_bytes=1000)) as server,
        server.send("POST /v1/audio/transcriptions", content_length="5000", expect="100-continue") as connection,
    ):
        assert (await connection.answer())[0] == 413


@pytest.mark.parametrize(
    ("kind", "status"), [("application/json", b"413"), ("multipart/form-data; boundary=x", b"100")]
)
async def test_only_a_form_may_be_larger_than_what_fits_in_memory(make_app: MakeApp, kind: str, status: bytes) -> None:
    """A form's file goes to disk as it comes."""
    size = MOST_IN_MEMORY + 1
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n"
    async with serving(make_app()) as server, server.connect() as connection:
        connection.writer.write(f"{head}expect: 100-continue\r\n\r\n".encode())
        assert (await connection.reader.readline()).split()[1] == status


async def test_many_strange_clients_leave_nothing_behind(make_app: MakeApp) -> None:
    async with serving(make_app()) as server:
        for text in [*SMUGGLED.values()] * 3:
            async with server.connect() as connection:
                await connection.write(text.encode("latin-1"))
        async with server.send("GET /metrics") as connection:
            assert (await connection.answer())[0] == 200
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert len(names) < 10, names
