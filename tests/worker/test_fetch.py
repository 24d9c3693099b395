"""Fetching a stranger's URL. The servers are on loopback, behind names that a resolver of the test's own knows."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from speaches.errors import BadGateway, InvalidRequest, SpeachesError, TimedOut, TooLarge
from speaches.worker import fetch
from speaches.worker.addresses import is_public
from speaches.worker.fetch import Fetcher, resolve

from .helpers import DEADLINE, eventually_async, open_files, run

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = bytes(range(256)) * 20_000  # 5 MB: several writes
LIMIT = 10_000_000


class Names:
    """A name server: what each name leads to, and how often it was asked."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): list(found) for name, found in addresses.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.addresses[host] if host in self.addresses else await resolve(host, port)


def fetcher(names: Names | None = None, **changes: Any) -> Fetcher:
    """A fetcher for which 127.0.0.2, where the tests' servers are, is a public address like others."""
    options: dict[str, Any] = {
        "max_bytes": LIMIT,
        "timeout": DEADLINE,
        "resolver": names or Names(files_example=["127.0.0.2"]),
    }
    options["allowed"] = lambda address: address == "127.0.0.2" or is_public(address)
    return Fetcher(**options | changes)


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers each request with `answer`, after its head has been read. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.2", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(head: str, body: bytes = b"") -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)
        await writer.drain()

    return answer


async def fetched(
    answer: Answer, url: str = "http://files.example:{port}/a.wav", **changes: Any
) -> tuple[bytes, str | None]:
    async with answering(answer) as port, fetcher(**changes).fetch(url.format(port=port)) as result:
        result.file.seek(0)
        content = result.file.read()
        assert len(content) == result.size
        return content, result.content_type


def refusal(answer: Answer, url: str = "http://files.example:{port}/a.wav", **changes: Any) -> SpeachesError:
    """The error of a fetch that must fail without leaving a file."""
    before = open_files()

    async def attempt() -> SpeachesError:
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(SpeachesError) as caught:
                await fetched(answer, url, **changes)
            return caught.value

    error = run(attempt())
    assert error.param == "file_url"
    assert open_files() <= before
    return error


def test_a_file_arrives_whole() -> None:
    answer = saying(f"200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {len(BODY)}", BODY)
    assert run(fetched(answer)) == (BODY, "audio/wav")


def test_a_file_without_a_length_arrives_too() -> None:
    chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    assert run(fetched(saying("200 OK\r\nTransfer-Encoding: chunked", chunks))) == (b"hello world", None)
    assert run(fetched(saying("200 OK\r\nConnection: close", b"hello"))) == (b"hello", None)


def test_a_name_is_resolved_once_and_its_address_connected_to() -> None:
    """DNS rebinding: the second answer of the name server would be loopback. Nobody asks for it."""
    names = Names(files_example=["127.0.0.2"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names.addresses["files.example"] = ["127.0.0.1"]
        await saying("200 OK\r\nContent-Length: 2", b"ok")(reader, writer)

    assert run(fetched(answer, names=names)) == (b"ok", None)
    assert names.asked == ["files.example"]


def test_the_host_keeps_its_name_and_compression_is_not_asked_for() -> None:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def fetch_once() -> int:
        server = await asyncio.start_server(serve, "127.0.0.2", 0)
        async with server:
            port: int = server.sockets[0].getsockname()[1]
            async with fetcher().fetch(f"http://Files.Example:{port}/a%20b?x=1#part"):
                return port

    port = run(fetch_once())
    (request,) = seen
    assert request.startswith("GET /a%20b?x=1 HTTP/1.1\r\n")
    assert f"Host: files.example:{port}\r\n" in request
    assert "Accept-Encoding: identity\r\n" in request


def test_a_redirect_is_followed() -> None:
    names = Names(files_example=["127.0.0.2"], other_example=["127.0.0.2"])
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        port = writer.get_extra_info("sockname")[1]
        redirect = f"302 Found\r\nLocation: //other.example:{port}/b\r\nContent-Length: 0"
        await (saying(redirect) if len(requests) == 1 else saying("200 OK\r\nContent-Length: 3", b"yes"))(
            reader, writer
        )
        writer.close()

    async def follow() -> bytes:
        async with await asyncio.start_server(serve, "127.0.0.2", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with fetcher(names).fetch(f"http://files.example:{port}/a") as result:
                result.file.seek(0)
                return result.file.read()

    assert run(follow()) == b"yes"
    assert requests[1].startswith(b"GET /b HTTP/1.1\r\nHost: other.example:")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for files.example, with its key, that nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("files.example")]), False).sign(
        key, hashes.SHA256()
    )
    path = tmp_path_factory.mktemp("tls") / "files.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + signed.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "fine"), [("files", True, True), ("other", True, False), ("files", False, False)]
)
def test_tls_speaks_to_the_name_and_checks_the_certificate_against_it(
    certificate: Path, host: str, trusted: bool, fine: bool
) -> None:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    asked_for: list[str | None] = []
    server_side.sni_callback = lambda socket, name, context: asked_for.append(name)
    ours = ssl.create_default_context(cafile=certificate) if trusted else None

    async def attempt() -> int | str:
        names = Names(files_example=["127.0.0.2"], other_example=["127.0.0.2"])
        async with answering(saying("200 OK\r\nContent-Length: 2", b"ok"), server_side) as port:
            try:
                async with fetcher(names, ssl_context=ours).fetch(f"https://{host}.example:{port}/") as result:
                    return result.size
            except InvalidRequest as error:
                return error.message

    found = run(attempt())
    assert asked_for == [f"{host}.example"]
    assert (found == 2) if fine else ("certificate verify failed" in str(found))


def test_an_address_that_does_not_answer_is_followed_by_the_next() -> None:
    names = Names(files_example=["127.0.0.3", "127.0.0.2"])
    fine = fetcher(names, allowed=lambda address: address in ("127.0.0.2", "127.0.0.3"))

    async def attempt() -> int:
        answer = saying("200 OK\r\nContent-Length: 2", b"ok")
        async with answering(answer) as port, fine.fetch(f"http://files.example:{port}/") as result:
            return result.size

    assert run(attempt()) == 2


def test_private_addresses_are_fine_where_they_are_meant_to_be() -> None:
    async def attempt() -> int:
        async with answering(saying("200 OK\r\nContent-Length: 2", b"ok")) as port:
            strict = Fetcher(max_bytes=LIMIT, timeout=DEADLINE)
            with pytest.raises(InvalidRequest, match="ALLOW_PRIVATE_URLS"):
                async with strict.fetch(f"http://127.0.0.2:{port}/"):
                    pass
            async with Fetcher(max_bytes=LIMIT, timeout=DEADLINE, allow_private=True).fetch(
                f"http://127.0.0.2:{port}/"
            ) as result:
                return result.size

    assert run(attempt()) == 2


UNREACHED = saying("200 OK\r\nContent-Length: 6", b"secret")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://127.0.0.1:{port}/", "public internet"),
        ("http://localhost:{port}/", "public internet"),
        ("http://2130706433:{port}/", "public internet"),  # 127.0.0.1 as a number
        ("http://0x7f.1:{port}/", "public internet"),
        ("http://127.1:{port}/", "public internet"),
        ("http://0.0.0.0:{port}/", "public internet"),
        ("http://[::1]:{port}/", "public internet"),
        ("http://[::ffff:127.0.0.1]:{port}/", "public internet"),
        ("http://169.254.169.254/latest/meta-data/", "public internet"),
        ("http://inside.example:{port}/", "public internet"),
        ("http://mixed.example:{port}/", "public internet"),
        ("http://nowhere.invalid/", "Can't find"),
        ("http://empty.example/", "no address"),
        ("file:///etc/passwd", "https://"),
        ("ftp://files.example/a", "https://"),
        ("gopher://files.example/a", "https://"),
        ("data:audio/wav;base64,UklGRg==", "https://"),
        ("files.example/a.wav", "https://"),
        ("/etc/passwd", "https://"),
        ("http://", "no host"),
        ("http:///etc/passwd", "no host"),
        ("http://user:password@files.example:{port}/", "password"),
        ("http://files.example@127.0.0.1:{port}/", "password"),
        ("http://files.example:99999/", "valid URL"),
        ("http://files.example:{port}/\x00", "valid URL"),
        ("http://[::1/", "valid URL"),
        ("http://files.example:1/", "Can't connect"),
    ],
)
def test_a_url_that_must_not_or_cannot_be_fetched_is_a_400(url: str, word: str) -> None:
    names = Names(
        files_example=["127.0.0.2"],
        inside_example=["10.0.0.1"],
        mixed_example=["8.8.8.8", "10.0.0.1"],
        empty_example=[],
        nowhere_invalid=[],
    )

    async def unknown(host: str, port: int) -> list[str]:
        if host == "nowhere.invalid":
            raise OSError("Name or service not known")
        return await names(host, port)

    error = refusal(UNREACHED, url, resolver=unknown)
    assert error.status == 400
    assert word in error.message


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("http://127.0.0.1:80/", "public internet"),
        ("http://[::1]/", "public internet"),
        ("http://169.254.169.254/", "public internet"),
        ("http://inside.example/", "public internet"),
        ("//127.0.0.1/", "public internet"),
        ("file:///etc/passwd", "https://"),
        ("http://a:b@files.example/", "password"),
        ("/again", "more than 5 times"),
    ],
)
def test_a_redirect_goes_through_the_same_checks(location: str, word: str) -> None:
    names = Names(files_example=["127.0.0.2"], inside_example=["10.0.0.1"])
    error = refusal(saying(f"302 Found\r\nLocation: {location}\r\nContent-Length: 0"), names=names)
    assert (error.status, word in error.message) == (400, True)


@pytest.mark.parametrize(("status", "ours"), [(404, 400), (403, 400), (304, 400), (500, 502), (503, 502)])
def test_an_answer_that_is_no_file_is_an_error(status: int, ours: int) -> None:
    error = refusal(saying(f"{status} Whatever\r\nContent-Length: 0"))
    assert (error.status, str(status) in error.message) == (ours, True)


def test_a_file_that_says_it_is_too_large_is_not_read() -> None:
    error = refusal(saying("200 OK\r\nContent-Length: 10000000001"))
    assert isinstance(error, TooLarge)
    assert "MAX_UPLOAD_BYTES" in error.message


def test_a_file_without_end_is_cut_off_at_the_limit() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    assert isinstance(refusal(endless, max_bytes=1_000_000), TooLarge)


def test_a_compressed_file_is_refused_since_it_may_unfold_without_end() -> None:
    body = gzip.compress(bytes(1_000_000))
    error = refusal(saying(f"200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}", body))
    assert (error.status, "gzip" in error.message) == (400, True)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _half_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(500))
    await reader.read()


@pytest.mark.parametrize("answer", [_silent, _half_silent])
def test_a_host_that_falls_silent_is_a_504(answer: Answer) -> None:
    assert isinstance(refusal(answer, timeout=0.1), TimedOut)


def test_a_stall_is_noticed_before_the_whole_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL_TIMEOUT", 0.1)
    assert isinstance(refusal(_half_silent, timeout=10 * DEADLINE), TimedOut)


@pytest.mark.parametrize(
    "answer",
    [
        saying("200 OK\r\nContent-Length: 1000", bytes(500)),
        saying("200 OK\r\nTransfer-Encoding: chunked", b"5\r\nhel"),
        saying("200 OK\r\nContent-Length: ten", b"x"),
        saying("200 OK\r\nContent-Length: 5\r\nContent-Length: 6", b"hello!"),
        saying("I am no HTTP"),
    ],
)
def test_a_file_that_ends_too_early_or_contradicts_itself_is_a_502(answer: Answer) -> None:
    assert isinstance(refusal(answer), BadGateway)


def test_cancellation_leaves_nothing() -> None:
    before = open_files()

    async def cancel() -> None:
        async with answering(_half_silent) as port:
            task = asyncio.ensure_future(_fetch(port))
            await eventually_async(lambda: any("deleted" in name for name in open_files() - before))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def _fetch(port: int) -> None:
        async with fetcher().fetch(f"http://files.example:{port}/"):
            pass

    run(cancel())
    assert open_files() <= before
