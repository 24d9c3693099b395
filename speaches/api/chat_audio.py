"""Recordings in chat messages -> files. Rules only, but slow for megabytes: not for the event loop."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator
from typing import TYPE_CHECKING

from speaches.errors import InvalidRequest

if TYPE_CHECKING:
    from speaches.chat.messages import AudioPart

RAW_RATE = 24_000  # Hz of audio without a header
BLOCK = 1024**2  # characters that are decoded at once; no other thread runs meanwhile, the event loop's neither
URL_ALPHABET = bytes.maketrans(b"-_", b"+/")  # base64's for URLs; it can only mean one thing
BLANKS = b" \t\r\n"  # the tool `base64` writes lines


def file_of(part: AudioPart) -> bytes:
    """A file, as it was sent or around the samples that were.

    Raises:
        InvalidRequest: If it is neither base64 nor a data URL, or there is nothing in it.
    """
    try:
        data = b"".join(_blocks(part.data))
    except ValueError:
        data = b""
    if not data:
        raise InvalidRequest("The audio is not valid base64.", code="invalid_base64")
    if not part.raw or data.startswith(b"RIFF"):
        return data
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RAW_RATE, 0, "NONE", ""))
        writer.writeframes(data[: len(data) // 2 * 2])
    return file.getvalue()


def _blocks(text: str) -> Iterator[bytes]:
    """What base64, or a data URL of it, stands for. Raises ValueError where it is none."""
    rest, is_padded = b"", False
    for start in range(text.find(",") + 1 if text.startswith("data:") else 0, len(text), BLOCK):
        block = rest + text[start : start + BLOCK].encode("ascii").translate(URL_ALPHABET, BLANKS)
        if is_padded and block:
            raise ValueError("padding before the end")
        whole = len(block) // 4 * 4
        rest, is_padded = block[whole:], is_padded or block[:whole].endswith(b"=")
        yield base64.b64decode(block[:whole], None, True)
    if rest:
        raise ValueError("not a whole number of groups")
