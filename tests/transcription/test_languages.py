from __future__ import annotations

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from speaches.errors import InvalidRequest
from speaches.transcription.languages import (
    DETECTED,
    LONG_CODES,
    NAMES,
    candidates_of,
    code_of,
    code_or_detected,
    name_of,
)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("en", "en"), ("EN", "en"), (" en ", "en"), ("en-US", "en"), ("en_GB", "en"), ("english", "en"), ("English", "en"),
        ("zh-CN", "zh"), ("yue", "yue"), ("mandarin", "zh"), ("castilian", "es"), ("iw", "he"), ("haw", "haw"), ("pt-BR", "pt"),
        ("haitian creole", "ht"), ("nb-NO", "no"), ("fil", "tl"), ("fil-PH", "tl"), ("Filipino", "tl"), ("cmn-Hans-CN", "zh"),
        ("chi", "zh"), ("zho", "zh"), ("ENG", "en"), ("deu", "de"), ("ger", "de"), ("fra", "fr"), ("fre", "fr"), ("spa", "es"),
        ("zh-yue", "yue"), ("jav", "jw"), ("nob", "no"), ("nno", "nn"), ("per", "fa"), ("zh_Hant_TW", "zh"),
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


def test_every_language_has_its_code_of_three_letters() -> None:
    assert set(LONG_CODES.values()) == {code for code in NAMES if len(code) == 2}
    assert all(len(code) == 3 for code in LONG_CODES)
    assert not set(LONG_CODES) & set(NAMES)


@pytest.mark.parametrize("asked", [None, "", " ", "auto", "AUTO", " Auto ", "detect", "auto_detect", *sorted(DETECTED)])
def test_a_language_may_be_left_to_detection(asked: str | None) -> None:
    assert code_or_detected(asked) is None


def test_detection_chooses_among_all_where_one_of_the_languages_is_to_be_detected() -> None:
    assert candidates_of(["de", "GER", "fil"]) == ("de", "tl")
    assert candidates_of(["de", "auto"]) == candidates_of([" "]) == candidates_of([]) == ()


def test_names_are_openais() -> None:
    assert (name_of("en"), name_of("de"), name_of("??")) == ("english", "german", "??")
