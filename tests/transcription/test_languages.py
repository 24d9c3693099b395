from __future__ import annotations

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from speaches.errors import InvalidRequest
from speaches.transcription.languages import NAMES, code_of, name_of


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("en", "en"), ("EN", "en"), (" en ", "en"), ("en-US", "en"), ("en_GB", "en"), ("english", "en"), ("English", "en"),
        ("zh-CN", "zh"), ("yue", "yue"), ("mandarin", "zh"), ("castilian", "es"), ("iw", "he"), ("haw", "haw"), ("pt-BR", "pt"),
        ("haitian creole", "ht"), ("nb-NO", "no"),
    ],
)  # fmt: skip
def test_a_language_may_be_called_by_code_or_name(asked: str, code: str) -> None:
    assert code_of(asked) == code


@pytest.mark.parametrize("asked", ["", "xx", "klingon", "e", "en,de", "123", "-", "\0"])
def test_an_unknown_language_is_a_400(asked: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        code_of(asked)
    assert (refused.value.status, refused.value.param) == (400, "language")


def test_these_are_whispers_languages() -> None:
    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert all(code_of(name) == code for code, name in NAMES.items())


def test_names_are_openais() -> None:
    assert (name_of("en"), name_of("de"), name_of("??")) == ("english", "german", "??")
