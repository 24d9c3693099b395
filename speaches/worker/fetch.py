"""
Fetching the file behind a job's `file_url`: a stranger's URL, fetched from inside the data centre.

The name is resolved once, in the moment of connecting; every address it has must be public, and the connection goes to one of
those addresses, so a second, different answer of the name server changes nothing. TLS still speaks to the name. Redirects are
followed here, one by one, through the same checks. The body goes to an anonymous file on disk, which is gone when it is closed,
whatever happens to the process.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin

import httpcore
import httpx

from speaches.errors import BadGateway, InvalidRequest, TimedOut, TooLarge
from speaches.worker.addresses import is_public
from speaches.worker.threads import in_thread

MAX_REDIRECTS = 5
CONNECT_TIMEOUT = 10.0  # seconds for one address
STALL_TIMEOUT = 30.0  # seconds without a single byte; the whole fetch has FILE_URL_TIMEOUT
WRITE_SIZE = 1024 * 1024  # bytes gathered before a thread writes them
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = ((b"Accept", b"*/*"), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"speaches"))

Resolver = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched, on disk as long as the context lasts."""

    file: BinaryIO
    size: int
    """Bytes."""
    content_type: str | None


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class Fetcher:
    """Fetches URLs that come from strangers.

    Args:
        max_bytes: the largest file.
        timeout: seconds that one fetch may take, redirects included.
        allow_private: whether addresses that are not public are fine.
        resolver, allowed: how names become addresses and which are fine; replaced in tests.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout: float,
        allow_private: bool = False,
        resolver: Resolver = resolve,
        allowed: Callable[[str], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._backend = PinnedBackend(resolver, (lambda _: True) if allow_private else allowed)
        self._ssl_context = ssl_context

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[Fetched]:
        """Fetch `url` into a temporary file.

        Raises:
            InvalidRequest: If the URL can't or must not be fetched, which its sender can fix.
            TooLarge: If the file is larger than allowed.
            TimedOut, BadGateway: If the host behind it is slow or fails. Not the sender's mistake: the same job may work later.
        """
        with cast(BinaryIO, tempfile.TemporaryFile()) as file:
            try:
                async with asyncio.timeout(self._timeout):
                    size, content_type = await self._follow(url, file)
            except TimeoutError:
                raise TimedOut(f"Fetching file_url took longer than {self._timeout:g} s.", param="file_url") from None
            yield Fetched(file, size, content_type)

    async def _follow(self, url: str, file: BinaryIO) -> tuple[int, str | None]:
        if self._ssl_context is None:  # reading the certificates takes 20 ms, and most jobs need none
            self._ssl_context = await in_thread(httpx.create_ssl_context)
        async with httpcore.AsyncConnectionPool(ssl_context=self._ssl_context, network_backend=self._backend) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                redirect, result = await self._get(pool, checked_url(url), file)
                if redirect is None:
                    return result
                url = urljoin(url, redirect)
        raise _refused(f"file_url redirects more than {MAX_REDIRECTS} times.")

    async def _get(
        self, pool: httpcore.AsyncConnectionPool, url: httpx.URL, file: BinaryIO
    ) -> tuple[str | None, tuple[int, str | None]]:
        """One request. Returns the address that it redirects to, or the size and type of what is now in `file`."""
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        timeouts = {"connect": CONNECT_TIMEOUT, "read": STALL_TIMEOUT, "write": STALL_TIMEOUT, "pool": CONNECT_TIMEOUT}
        headers = [(b"Host", url.netloc), *HEADERS]
        try:
            async with pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response:
                answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in REDIRECTS and "location" in answered:
                    return answered["location"], (0, None)
                _check_answer(response.status, answered, self._max_bytes)
                return None, (await self._save(response.aiter_stream(), file), answered.get("content-type"))
        except httpcore.TimeoutException:
            raise TimedOut(f"The host of file_url, {url.host}, did not answer in time.", param="file_url") from None
        except httpcore.ConnectError as error:
            raise _refused(f"Can't connect to the host of file_url, {url.host}: {error}.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise BadGateway(
                f"The host of file_url, {url.host}, broke off or sent nonsense: {error}.", param="file_url"
            ) from None

    async def _save(self, chunks: AsyncIterator[bytes], file: BinaryIO) -> int:
        size = 0
        waiting: list[bytes] = []
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                raise _too_large(self._max_bytes)
            waiting.append(chunk)
            if sum(map(len, waiting)) >= WRITE_SIZE:
                await in_thread(file.writelines, waiting)
                waiting = []
        await in_thread(file.writelines, waiting)
        return size


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to a name by addresses that were looked at first. Nothing after it resolves the name again."""

    def __init__(self, resolver: Resolver, allowed: Callable[[str], bool]) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # often an IPv6 address on a machine without IPv6
        return await self._backend.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise _refused(f"Can't find the host of file_url, {host}: {error}.") from None
        if not addresses:
            raise _refused(f"The host of file_url, {host}, has no address.")
        # One bad address among good ones is a trap, not an accident.
        if not all(map(self._allowed, addresses)):
            raise _refused(
                f"file_url leads to {host}, which is not an address of the public internet. "
                "Where that is intended, start the worker with ALLOW_PRIVATE_URLS=true.",
                code="private_address",
            )
        return addresses


def checked_url(url: str) -> httpx.URL:
    """Parse the URL of a file.

    Raises:
        InvalidRequest: If it is not a plain http or https URL.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise _refused(f"file_url is not a valid URL: {error}.") from None
    if parsed.scheme not in ("http", "https"):
        raise _refused(f"file_url must begin with https:// or http://, not {parsed.scheme or 'nothing'!r}.")
    if not parsed.host:
        raise _refused("file_url names no host.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise _refused(f"file_url is not a valid URL: there is no port {parsed.port}.")
    if parsed.userinfo:
        raise _refused("file_url must not contain a user name or password.")
    return parsed


def _check_answer(status: int, headers: dict[str, str], max_bytes: int) -> None:
    if status >= 500:
        raise BadGateway(f"The host of file_url answered {status}.", param="file_url")
    if not 200 <= status < 300:
        raise _refused(f"The host of file_url answered {status}, so there is no file to work on.")
    if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise _refused(
            f"The host of file_url sends the file compressed ({headers['content-encoding']}) although asked not to."
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


def _refused(message: str, code: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, param="file_url", code=code)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"The file behind file_url is larger than the {max_bytes} bytes that MAX_UPLOAD_BYTES allows.", param="file_url"
    )
