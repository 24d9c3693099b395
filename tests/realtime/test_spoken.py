"""How much of an answer was heard, to the word."""

from __future__ import annotations

import pytest

from speaches.engines.base import SpokenWord
from speaches.realtime.spoken import Spoken


def spoken(*pieces: str, milliseconds: int = 1000) -> Spoken:
    """Pieces of a second each, all of which have left."""
    speech = Spoken()
    for piece in pieces:
        speech.begin(piece, milliseconds * 24, ())
        speech.send(milliseconds * 24)
    return speech


@pytest.mark.parametrize(
    ("milliseconds", "heard"),
    [
        (0, ""),
        (200, ""),
        (300, "One"),
        (500, "One two"),
        (999, "One two"),
        (1000, "One two three."),
        (1600, "One two three. Four"),
        (2000, "One two three. Four five six."),
        (9000, "One two three. Four five six."),
    ],
)
def test_without_times_words_are_heard_in_proportion(milliseconds: int, heard: str) -> None:
    speech = spoken("One two three.", " Four five six.")
    speech.cut(milliseconds * 24)
    assert speech.heard == heard


def test_with_times_a_word_counts_when_more_than_half_of_it_was_heard() -> None:
    speech = Spoken()
    words = (SpokenWord("No,", 0.0, 0.1), SpokenWord("no,", 0.5, 0.7), SpokenWord("never!", 2.0, 3.0))
    speech.begin("No, no, never!", 72_000, words)
    speech.send(72_000)
    for milliseconds, heard in ((2600, "No, no, never!"), (2400, "No, no,"), (580, "No,"), (20, "")):
        speech.cut(milliseconds * 24)
        assert speech.heard == heard


def test_words_that_the_text_writes_otherwise_do_no_harm() -> None:
    speech = Spoken()
    words = (SpokenWord("It's", 0.0, 0.2), SpokenWord("twenty", 0.2, 0.4), SpokenWord("o'clock", 0.4, 0.6))
    speech.begin("It's 20 o'clock", 24_000, words)
    speech.send(24_000)
    speech.cut(350 * 24)
    assert speech.heard == "It's"
    speech = Spoken()
    speech.begin("It's 20 o'clock", 24_000, words)
    speech.send(700 * 24)
    assert speech.heard == "It's 20 o'clock"


def test_only_what_has_left_was_heard() -> None:
    speech = Spoken()
    speech.begin("One two", 24_000, ())
    assert (speech.written, speech.heard, speech.milliseconds) == ("One two", "", 0)
    speech.send(12_000)
    assert (speech.written, speech.heard, speech.milliseconds) == ("One two", "One", 500)


def test_what_was_cut_does_not_come_back() -> None:
    speech = spoken("One.", " Two.")
    speech.cut(1000 * 24)
    speech.cut(9000 * 24)
    assert speech.heard == speech.written == "One."


def test_silence_between_pieces_counts() -> None:
    speech = spoken("One.")
    speech.send(24_000)
    speech.begin(" Two.", 24_000, ())
    speech.send(24_000)
    speech.cut(2000 * 24)
    assert speech.heard == "One."
    assert speech.milliseconds == 3000
