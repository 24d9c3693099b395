"""Recordings as clients write them into messages: base64 of all kinds, in blocks."""

from __future__ import annotations

import base64
import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.api import chat_audio
from speaches.api.chat_audio import file_of
from speaches.chat.messages import AudioPart
from speaches.errors import InvalidRequest


def part(data: str, *, raw: bool = False) -> AudioPart:
    return AudioPart(0, 0, data, raw)


@given(st.binary(min_size=1), st.integers(1, 9), st.sampled_from(["", "data:audio/wav;base64,", "data:;base64,"]))
def test_all_ways_to_write_base64_are_read_whatever_the_blocks(data: bytes, block: int, head: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_audio, "BLOCK", block)
        for coded in (base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes):
            assert file_of(part(head + coded(data).decode())) == data


@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize(
    "wrong",
    ["%%%", "YQ", "YQ=", "YQ==YQ==", "YWFh=", "YQ==\nYQ==", "ü===", "", "\n", "=", "====", "data:a;base64,", "data:YQ", "x,YQ=="],
)  # fmt: skip
def test_what_is_not_base64_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch, wrong: str, block: int) -> None:
    monkeypatch.setattr(chat_audio, "BLOCK", block)
    with pytest.raises(InvalidRequest, match="base64") as caught:
        file_of(part(wrong))
    assert caught.value.code == "invalid_base64"


def test_samples_without_a_header_get_one_and_files_keep_theirs() -> None:
    file = file_of(part(base64.b64encode(b"\1\2\3\4\5").decode(), raw=True))
    with wave.open(io.BytesIO(file)) as found:
        assert (found.getframerate(), found.getnchannels(), found.readframes(9)) == (24_000, 1, b"\1\2\3\4")
    assert file_of(part(base64.b64encode(file).decode(), raw=True)) == file
