"""Words and cues on the time line of the audio."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from speaches.engines.base import SpokenPhoneme, SpokenWord
from speaches.speech.captions import Captions, Subtitles, as_json
from speaches.speech.speak import Spoken
from speaches.text.cues import CueOptions
from speaches.text.subtitles import Cue

EMPTY = np.empty(0, np.float32)


def words(text: str, start: float = 0.0, step: float = 0.3) -> list[SpokenWord]:
    """One after the other, each with its first letter as its only phoneme."""
    return [
        SpokenWord(
            word,
            start + n * step,
            start + (n + 1) * step,
            (SpokenPhoneme(word[0], start + n * step, start + (n + 1) * step),),
        )
        for n, word in enumerate(text.split())
    ]


def spoken(text: str, start: float = 0.0, *, estimated: bool = False) -> Spoken:
    return Spoken(EMPTY, text, tuple(words(text, start)), estimated)


def test_words_are_heard_later_by_what_the_codec_adds() -> None:
    captions = Captions(lead=0.02)
    (hello, there) = captions.add(spoken("Hello there.", 1.0))
    assert (hello.start, hello.end, there.end) == pytest.approx((1.02, 1.32, 1.62))
    assert (hello.phonemes[0].start, hello.phonemes[0].end) == pytest.approx((1.02, 1.32))
    assert captions.words == [hello, there]


def test_the_text_is_what_was_spoken() -> None:
    captions = Captions()
    for one in (spoken("Hello there,"), Spoken(EMPTY), spoken("my friend.")):
        captions.add(one)
    assert captions.text == "Hello there, my friend."
    assert " ".join(word.word for word in captions.words) == captions.text


def test_one_guess_makes_the_whole_a_guess() -> None:
    captions = Captions()
    captions.add(spoken("Sure."))
    assert not captions.estimated
    captions.add(spoken("Guessed.", estimated=True))
    captions.add(spoken("Sure again."))
    assert captions.estimated


def test_times_in_json_have_milliseconds() -> None:
    (hello,) = words("Hello", 1 / 3)
    assert as_json([hello], phonemes=False) == [{"word": "Hello", "start": 0.333, "end": 0.633}]
    assert as_json([hello], phonemes=True) == [
        {"word": "Hello", "start": 0.333, "end": 0.633, "phonemes": [{"phoneme": "H", "start": 0.333, "end": 0.633}]}
    ]


# --- Subtitles ---


def made(*pieces: str, options: CueOptions | None = None) -> tuple[list[Cue], list[int]]:
    """The cues of an answer in these pieces, and how many there were after each."""
    subtitles = Subtitles(options or CueOptions())
    cues: list[Cue] = []
    counts, start = [], 0.0
    for piece in pieces:
        said = words(piece, start)
        cues += subtitles.add(piece, said)
        counts.append(len(cues))
        start = said[-1].end if said else start
    return [*cues, *subtitles.finish()], counts


def texts(cues: list[Cue]) -> list[str]:
    return [cue.text for cue in cues]


def test_a_cue_comes_as_soon_as_the_next_one_begins() -> None:
    cues, counts = made("How are you?", "I am fine.", "And you?")
    assert texts(cues) == ["How are you?", "I am fine.", "And you?"]
    assert counts == [0, 1, 2]
    assert [(cue.start, cue.end) for cue in cues] == [
        pytest.approx(times) for times in ((0.0, 0.9), (0.9, 1.8), (1.8, 2.6))
    ]


def test_a_sentence_that_is_spoken_in_two_pieces_is_one_cue() -> None:
    cues, _ = made("Well, you see,", "it is late.", "Good night.")
    assert texts(cues) == ["Well, you see, it is late.", "Good night."]


@pytest.mark.parametrize(
    "text",
    [
        "one two three, four five six seven; eight nine ten eleven twelve. " * 10 + "thirteen - - fourteen it's-here",
        "a b c d e f g h i j " * 20,
    ],
)
def test_no_word_is_lost_or_said_twice_however_the_text_is_cut(text: str) -> None:
    listed = text.split()
    for size in (1, 2, 3, 7, 50):
        pieces = [" ".join(listed[at : at + size]) for at in range(0, len(listed), size)]
        cues, _ = made(*pieces, options=CueOptions(max_chars=20, max_seconds=3))
        assert " ".join(texts(cues)).split() == listed
        assert all(before.end <= after.start + 1e-9 for before, after in pairwise(cues))
        assert max(cue.end - cue.start for cue in cues) <= 3.001


def test_nothing_said_makes_no_cues() -> None:
    assert made("", "") == ([], [0, 0])


def test_languages_without_spaces_get_none() -> None:
    subtitles = Subtitles(CueOptions())
    said = [SpokenWord("今日は", 0.0, 0.5), SpokenWord("いい", 0.5, 0.8), SpokenWord("天気です。", 0.8, 1.5)]
    assert subtitles.add("今日はいい天気です。", said) == []
    assert texts(subtitles.finish()) == ["今日はいい天気です。"]


def test_a_word_that_the_text_does_not_hold_stands_alone() -> None:
    subtitles = Subtitles(CueOptions())
    subtitles.add("It costs $5 now.", [*words("It costs"), *words("five dollars", 0.6), *words("now.", 1.2)])
    assert texts(subtitles.finish()) == ["It costs five dollars now."]


@pytest.mark.parametrize(
    ("text", "said"), [("ｶﾀｶﾅ です。", ["カ", "タ", "カ", "ナ", "で", "す。"]), ("ﬁne cafe\u0301", ["fine", "café"])]
)
def test_words_are_found_in_a_text_that_is_written_otherwise(text: str, said: list[str]) -> None:
    heard = [SpokenWord(word, n * 0.3, n * 0.3 + 0.3) for n, word in enumerate(said)]
    captions, subtitles = Captions(), Subtitles(CueOptions())
    cues = subtitles.add(text, captions.add(Spoken(EMPTY, text, tuple(heard)))) + subtitles.finish()
    assert (
        " ".join(cue.text for cue in cues)
        == captions.text
        == ("カタカナ です。" if "fine" not in said else "fine café")
    )


def test_phonemes_in_a_text_are_shown_as_the_word_that_they_stand_for() -> None:
    captions = Captions()
    captions.add(Spoken(EMPTY, "Say [Kokoro](/kˈOkəɹO/), [[ həlˈoʊ ]]."))
    assert captions.text == "Say Kokoro, həlˈoʊ."
