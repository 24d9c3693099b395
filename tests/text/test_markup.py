"""Phonemes in a text, as Piper and as Kokoro write them."""

from __future__ import annotations

import pytest

from speaches.text.markup import LONGEST_NOTATION, Phonemes, Words, spans
from tests.text.work import grows_like_the_text


def test_text_without_notation_is_words() -> None:
    assert spans("Hello world.") == [Words("Hello world.")]
    assert spans("") == []


def test_phonemes_in_the_notation_of_piper() -> None:
    assert spans("Say [[ həloʊ ]], please.") == [Words("Say "), Phonemes("həloʊ"), Words(", please.")]
    assert spans("[[həloʊ wˈɜːld]]") == [Phonemes("həloʊ wˈɜːld")]


def test_phonemes_in_the_notation_of_kokoro_name_the_word_they_stand_for() -> None:
    assert spans("[Kokoro](/kˈOkəɹO/) speaks.") == [Phonemes("kˈOkəɹO", "Kokoro"), Words(" speaks.")]
    assert spans("In [New York](/nˈu jˈɔɹk/)") == [Words("In "), Phonemes("nˈu jˈɔɹk", "New York")]


def test_both_notations_in_one_piece() -> None:
    assert spans("[[ a ]][b](/c/) [[ d ]]") == [Phonemes("a"), Phonemes("c", "b"), Words(" "), Phonemes("d")]


@pytest.mark.parametrize(
    "text",
    [
        "[[ həloʊ",
        "[[ ]]",
        "[[]]",
        "həloʊ ]]",
        "[ həloʊ ]",
        "[[ one\ntwo ]]",
        "[a](b)",
        "[a](/b)",
        "[a](//)",
        "[a](/ /)",
        "[a] (/b/)",
        "[](/b/)",
        "[pause:1s]",
        "[[" + "a" * (LONGEST_NOTATION + 2) + "]]",
        "items[0][1](2)",
    ],
)
def test_what_only_looks_like_notation_is_words(text: str) -> None:
    assert spans(text) == [Words(text)]


def test_an_open_bracket_does_not_hide_the_notation_after_it() -> None:
    assert spans("[[ a [[ b ]]") == [Words("[[ a "), Phonemes("b")]
    assert spans("[[[ b ]]]") == [Words("["), Phonemes("b"), Words("]")]


@pytest.mark.parametrize("unit", ["[", "[[", "[[ a ", "[a](/b", "[a](", "[[a] ", "]]", "[[ a ]] ", "[[ ", "[a]", "(/"])
def test_a_million_brackets_are_little_work(unit: str) -> None:
    assert grows_like_the_text(spans, unit)
