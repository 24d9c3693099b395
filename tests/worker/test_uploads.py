from __future__ import annotations

import base64
import random
import tempfile
from typing import BinaryIO, cast

import pytest

from speaches.errors import InvalidRequest, TooLarge
from speaches.worker.uploads import BASE64_BLOCK, Multipart, Part, decode_base64

from .helpers import run

LIMIT = 10_000_000


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, BASE64_BLOCK // 4 * 3, BASE64_BLOCK, 3 * BASE64_BLOCK + 1])
def test_base64_is_decoded_whatever_its_length(size: int) -> None:
    content = random.Random(size).randbytes(size)
    assert decode_base64(base64.b64encode(content).decode(), "file_base64", LIMIT) == content


def test_line_breaks_as_the_base64_command_makes_them_are_fine() -> None:
    content = random.Random(0).randbytes(10_000)
    assert decode_base64(base64.encodebytes(content).decode().replace("\n", "\r\n"), "file_base64", LIMIT) == content


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hello!", "'!' at position 5"),
        ("AAAA-AAA", "'-'"),
        ("ÄÖÜ=", "'Ä'"),
        ("AAA", "padding"),
        ("A", "cut off"),
        ("AA==AAAA", "padding"),
        ("====", "padding"),
        ("AAAA\0AAA", "position 4"),
    ],
)
def test_what_is_not_base64_is_a_400_that_says_where(text: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match="file_base64 is not base64") as caught:
        decode_base64(text, "file_base64", LIMIT)
    assert (caught.value.status, caught.value.param, word in caught.value.message) == (400, "file_base64", True)


@pytest.mark.parametrize("text", ["A" * 4_000, "A" * 40_000, ("A" * 76 + "\n") * 50])
def test_too_much_base64_is_a_413(text: str) -> None:
    with pytest.raises(TooLarge, match="MAX_UPLOAD_BYTES"):
        decode_base64(text, "file_base64", 1_000)


def test_base64_of_exactly_the_limit_is_fine() -> None:
    for size in (998, 999, 1_000):
        assert len(decode_base64(base64.b64encode(bytes(size)).decode(), "file_base64", size)) == size


async def _sent(form: Multipart) -> bytes:
    return b"".join([chunk async for chunk in form])


def test_a_form_says_its_length_and_can_be_sent_twice() -> None:
    with cast(BinaryIO, tempfile.TemporaryFile()) as file:
        file.write(bytes(3_000_000))
        part = Part("file", "a.wav", "audio/wav", file, 3_000_000)
        form = Multipart([("model", "m")], [part, Part("mask", "m", "image/png", b"abc", 3)])
        first, second = run(_sent(form)), run(_sent(form))
    assert first == second
    assert len(first) == form.length


def test_names_can_not_break_out_of_their_header() -> None:
    parts = [Part('f"; name="x', 'a"\r\nX: y\r\n\r\n.wav', "audio/wav", b"abc", 3)]
    sent = run(_sent(Multipart([('m"\r\n', "v\r\nw"), ("lone", "\ud800")], parts)))
    assert b"\r\nX: y" not in sent
    assert b'name="f%22; name=%22x"; filename="a%22%0D%0AX: y%0D%0A%0D%0A.wav"' in sent
    assert sent.count(b"\r\nContent-Disposition") == 3
