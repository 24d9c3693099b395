"""Files on their way into a request: base64 decoded, URLs fetched, both written as one multipart body that can be sent twice."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import BinaryIO

from speaches.errors import InvalidRequest, TooLarge
from speaches.worker.fetch import Fetcher
from speaches.worker.job import Upload
from speaches.worker.threads import in_thread

CHUNK = 1024 * 1024  # bytes read from disk at a time
BASE64_BLOCK = 1024 * 1024  # characters decoded at a time, a multiple of 4
WHITESPACE = str.maketrans("", "", " \t\r\n")  # `base64 FILE` breaks its lines
NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


@dataclass(frozen=True)
class Part:
    """A file of a form, at hand: in memory or on disk."""

    field: str
    name: str
    content_type: str
    content: bytes | BinaryIO
    size: int
    """Bytes."""


async def collect(uploads: Sequence[Upload], fetcher: Fetcher, max_bytes: int, stack: AsyncExitStack) -> list[Part]:
    """Get every file of a job. What was put on disk for them is gone when `stack` closes."""
    return [await _part(upload, fetcher, max_bytes, stack) for upload in uploads]


async def _part(upload: Upload, fetcher: Fetcher, max_bytes: int, stack: AsyncExitStack) -> Part:
    guess = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
    if upload.base64 is not None:
        # Decoded in blocks and in a thread: the decoder holds the interpreter, and other jobs want it in between.
        content = await in_thread(decode_base64, upload.base64, f"{upload.field}_base64", max_bytes)
        return Part(upload.field, upload.name, guess, content, len(content))
    assert upload.url is not None
    fetched = await stack.enter_async_context(fetcher.fetch(upload.url))
    return Part(upload.field, upload.name, fetched.content_type or guess, fetched.file, fetched.size)


def decode_base64(text: str, param: str, max_bytes: int) -> bytes:
    """Decode standard base64; line breaks are fine, anything else that doesn't belong is an error.

    Raises:
        TooLarge: If it holds more than `max_bytes`.
        InvalidRequest: If it is not base64.
    """
    if len(text) * 3 // 4 > max_bytes * 2:  # whitespace can't explain this much; don't copy it just to find out
        raise _too_large(param, max_bytes)
    text = text.translate(WHITESPACE) if any(space in text for space in " \t\r\n") else text
    if len(text) // 4 * 3 - text.count("=", -2) > max_bytes:
        raise _too_large(param, max_bytes)
    try:
        if "=" in text[:-2]:
            raise binascii.Error("padding before the end")
        blocks = (text[start : start + BASE64_BLOCK] for start in range(0, len(text), BASE64_BLOCK))
        return b"".join(base64.b64decode(block, validate=True) for block in blocks)
    except ValueError as error:
        strange = NOT_BASE64.search(text)  # only now: the search takes longer than the decoding
        why = (
            f"it has {strange[0]!r} at position {strange.start()}"
            if strange
            else f"{str(error).lower()}; was it cut off?"
        )
        raise InvalidRequest(f"{param} is not base64: {why}.".replace("?.", "?"), param=param) from None


def _too_large(param: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"{param} holds more than the {max_bytes} bytes that MAX_UPLOAD_BYTES allows.", param=param)


class Multipart:
    """A `multipart/form-data` body. Each iteration sends it from the start, so that a request can be repeated."""

    def __init__(self, fields: Sequence[tuple[str, str]], parts: Sequence[Part]) -> None:
        self._boundary = secrets.token_hex(16).encode()
        self._fields = b"".join(self._field(name, value) for name, value in fields)
        self._parts = [(self._head(part), part) for part in parts]
        self._end = b"--%b--\r\n" % self._boundary
        self.content_type = f"multipart/form-data; boundary={self._boundary.decode()}"
        self.length = len(self._fields) + sum(len(head) + part.size + 2 for head, part in self._parts) + len(self._end)
        """Bytes, known before the first is sent."""

    def _field(self, name: str, value: str) -> bytes:
        disposition = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        return b"--%b\r\n%b\r\n\r\n%b\r\n" % (self._boundary, _bytes(disposition), _bytes(value))

    def _head(self, part: Part) -> bytes:
        disposition = f'Content-Disposition: form-data; name="{_quoted(part.field)}"; filename="{_quoted(part.name)}"'
        return b"--%b\r\n%b\r\nContent-Type: %b\r\n\r\n" % (
            self._boundary,
            _bytes(disposition),
            _bytes(part.content_type),
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._fields
        for head, part in self._parts:
            yield head
            if isinstance(part.content, bytes):
                yield part.content
            else:
                async for chunk in _chunks(part.content):
                    yield chunk
            yield b"\r\n"
        yield self._end


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    # In a thread, since a disk may be slow.
    await in_thread(file.seek, 0)
    while chunk := await in_thread(file.read, CHUNK):
        yield chunk


def _quoted(name: str) -> str:
    """As browsers escape it (HTML standard, multipart/form-data encoding)."""
    return re.sub(r'["\x00-\x1f\x7f]', lambda match: f"%{ord(match[0]):02X}", name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate can come out of JSON but not go into UTF-8
