from __future__ import annotations

import itertools

import numpy as np
import pytest

from speaches.text.sentences import FIRST_CLAUSE, LONGEST, pieces

LETTERS = "aB1 .,!?;:—\n\t\"')]…。！、」é🙂"


def bare(text: str) -> str:
    """Without white space, which is all that may get lost."""
    return "".join(text.split())


def rest(text: str) -> list[str]:
    """The pieces of a text that is not the first one spoken, so that no first clause is taken from it."""
    return list(pieces(f"So. {text}"))[1:]


# --- Sentences ---


def test_a_sentence_is_a_piece() -> None:
    assert rest("It rains. Does it? It does!") == ["It rains.", "Does it?", "It does!"]


def test_text_without_an_end_mark_is_a_piece_too() -> None:
    assert rest("It rains. And then") == ["It rains.", "And then"]


def test_quotes_and_brackets_stay_with_their_sentence() -> None:
    assert rest('He said "No." She left (at last.) Then') == ['He said "No."', "She left (at last.)", "Then"]


def test_several_marks_end_one_sentence() -> None:
    assert rest("What?! Really... Yes") == ["What?!", "Really...", "Yes"]


def test_a_line_ends_a_sentence() -> None:
    assert rest("A heading\nAnd a line\n\n\nA paragraph") == ["A heading", "And a line", "A paragraph"]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mrs. Jones.",
        "Use fruit, e.g. apples, i.e. food.",
        "The U.S. army and J. S. Bach.",
        "See Fig. 3 and pp. 4 of Vol. 5.",
        "Cats vs. dogs etc. and so on.",
        "Das ist gut bzw. nicht.",
    ],
)
def test_abbreviations_end_nothing(text: str) -> None:
    assert rest(text) == [text]


@pytest.mark.parametrize(
    "text", ["Pi is 3.14159 or so.", "It costs 1,234.50 dollars.", "Go to example.com now.", "Version 1.2.3 is out."]
)
def test_a_mark_inside_a_word_or_number_ends_nothing(text: str) -> None:
    assert rest(text) == [text]


def test_east_asian_marks_need_no_space() -> None:
    assert rest("今日は晴れです。明日は？「雨です。」終わり") == [
        "今日は晴れです。",
        "明日は？",
        "「雨です。」",
        "終わり",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", "\u3000"])
def test_nothing_to_say_is_no_piece(text: str) -> None:
    assert list(pieces(text)) == []


def test_marks_alone_are_a_piece_for_the_engine_to_be_silent_about() -> None:
    assert list(pieces("...")) == ["..."]


# --- The first piece ---


def test_the_first_piece_is_a_clause_so_that_speech_starts_soon() -> None:
    text = "When the weather is fine, we walk along the river, and talk. Then home."
    assert list(pieces(text)) == ["When the weather is fine,", "we walk along the river, and talk.", "Then home."]


def test_a_clause_that_is_too_short_to_speak_on_its_own_is_not_cut_off() -> None:
    assert list(pieces("Well, we walk along the river.")) == ["Well, we walk along the river."]


def test_a_short_sentence_is_spoken_whole() -> None:
    assert list(pieces("Hello world. How are you today, my friend?")) == [
        "Hello world.",
        "How are you today, my friend?",
    ]


def test_a_comma_at_the_end_is_no_place_to_cut() -> None:
    assert list(pieces("Once upon a time there was,")) == ["Once upon a time there was,"]


# --- Long sentences ---


def test_a_long_sentence_is_cut_at_its_last_clause_that_fits() -> None:
    clause = "and on it goes with some words more, "
    found = rest(clause * 20)
    assert len(found) > 2
    assert all(piece.endswith(",") and len(piece) <= LONGEST for piece in found)


def test_without_clauses_it_is_cut_between_words() -> None:
    found = rest("word " * 300)
    assert all(set(piece.split()) == {"word"} and len(piece) <= LONGEST for piece in found)
    assert len(found) <= 1 + 5 * 300 // (LONGEST - 5)


def test_without_words_it_is_cut_anywhere() -> None:
    assert list(map(len, rest("x" * 1000))) == [300, 300, 300, 100]


# --- All texts ---


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_dropped_added_or_too_long(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        weights = rng.dirichlet(np.ones(len(LETTERS)) * 0.3)
        text = "".join(rng.choice(list(LETTERS), int(rng.integers(0, 1500)), p=weights))
        found = list(pieces(text))
        assert bare("".join(found)) == bare(text)
        assert all(piece == piece.strip() and 0 < len(piece) <= LONGEST for piece in found)


@pytest.mark.parametrize(
    "unit", ["One more sentence. ", "word ", "x", ".", "!", ",", '."', "\n", " ", "。", ".)", "?! ", "A. ", "\n "]
)
def test_a_megabyte_is_cut_as_it_is_spoken(unit: str) -> None:
    """The first pieces come at once, and all of them in time that grows with the text and not with its square."""
    text = (unit * (1_000_000 // len(unit))) + "end"
    assert len(list(itertools.islice(pieces(text), 3))) == (3 if unit.strip() else 1)
    assert sum(len(bare(piece)) for piece in pieces(text)) == len(bare(text))


def test_pieces_are_made_one_at_a_time() -> None:
    found = pieces("One. Two. Three.")
    assert next(found) == "One."
    assert next(found) == "Two."
    assert FIRST_CLAUSE < LONGEST
