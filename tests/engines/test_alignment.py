"""Phonemes with their times, and the words that they are."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from speaches.engines.alignment import Written, estimated, sounding, spoken_words, written
from speaches.engines.base import SpokenPhoneme, SpokenWord
from speaches.text.markup import spans

ALONE = {
    "of": "ˈʌv", "the": "ðə", "one": "wˈʌn", "best": "bˈɛst", "123": "wˈʌnhˈʌndɹɪd twˈɛnti θɹˈiː", "people.": "pˈiːpəl.",
    "in": "ɪn", "a": "ɐ", "www": "dˌʌbəljˌuː dˌʌbəljˌuː dˈʌbəljˌuː", "🙂": "", "New York": "nuː jˈɔːɹk",
}  # fmt: skip


def alone(word: str) -> str:
    return ALONE[word]


def never(word: str) -> str:
    raise AssertionError(f"{word} was pronounced alone")


def spoken(phonemes: str, seconds: float = 0.1) -> list[SpokenPhoneme]:
    """Each phoneme for a tenth of a second, from the first on."""
    return [SpokenPhoneme(one, at * seconds, (at + 1) * seconds) for at, one in enumerate(phonemes)]


def sounds(words: tuple[SpokenWord, ...]) -> list[tuple[str, str]]:
    return [(word.word, "".join(one.phoneme for one in word.phonemes)) for word in words]


def told(*words: str) -> list[Written]:
    return [Written(word) for word in words]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, world!", ["Hello,", "world!"]),
        ("a — b", ["a —", "b"]),
        ("- one\n- two", ["- one -", "two"]),
        ("'(so)", ["'(so)"]),
        ("(well) ... 'so'", ["(well) ...", "'so'"]),
        ("5 % & 3", ["5", "%", "&", "3"]),
        ("今天很好。Hello world", ["今", "天", "很", "好。", "Hello", "world"]),
        ("きょう、ラーメンは", ["きょ", "う、", "ラー", "メ", "ン", "は"]),
        ("สวัสดี ครับ", ["สวัสดี", "ครับ"]),
        ("Say [[ həloʊ ]], please", ["Say", "həloʊ,", "please"]),
        ("[Kokoro](/kˈOkəɹO/)! Good", ["Kokoro!", "Good"]),
        ("in [New York](/nuː jˈɔːɹk/).", ["in", "New York."]),
        ("", []),
        (" \n", []),
        ("...", []),
        ("🙂 ok", ["🙂", "ok"]),
    ],
)
def test_words_are_what_stands_between_spaces_with_the_punctuation_at_them(text: str, wanted: list[str]) -> None:
    assert [word.text for word in written(spans(text))] == wanted


def test_as_many_groups_as_words_are_one_to_one() -> None:
    words = spoken_words(told("Hello,", "world!"), spoken("həlˈoʊ, wˈɜːld!"), never, 2.0)
    assert sounds(words) == [("Hello,", "həlˈoʊ"), ("world!", "wˈɜːld")]
    assert [(round(word.start, 6), round(word.end, 6)) for word in words] == [(0.0, 0.6), (0.8, 1.4)]


def test_a_dash_between_groups_is_no_group() -> None:
    assert sounds(spoken_words(told("a —", "b"), spoken("ˈeɪ — bˈiː"), never, 1.0)) == [("a —", "ˈeɪ"), ("b", "bˈiː")]


@pytest.mark.parametrize(
    ("words", "phonemes", "wanted"),
    [
        (
            ("one", "of", "the", "best"),
            "wˈʌn ʌvðə bˈɛst",
            ["wˈʌn", "ʌv", "ðə", "bˈɛst"],
        ),
        (
            ("the", "123", "people."),
            "ðə wˈʌnhˈʌndɹɪd twˈɛnti θɹˈiː pˈiːpəl.",
            ["ðə", "wˈʌnhˈʌndɹɪdtwˈɛntiθɹˈiː", "pˈiːpəl"],
        ),
        (
            ("one", "of", "the", "123", "in", "a", "www"),
            "wˈʌn ʌvðə wˈʌnhˈʌndɹɪd twˈɛnti θɹˈiː ɪnɐ dˌʌbəljˌuː dˌʌbəljˌuː dˈʌbəljˌuː",
            ["wˈʌn", "ʌv", "ðə", "wˈʌnhˈʌndɹɪdtwˈɛntiθɹˈiː", "ɪn", "ɐ", "dˌʌbəljˌuːdˌʌbəljˌuːdˈʌbəljˌuː"],
        ),
        (("one", "🙂", "best"), "wˈʌn bˈɛst", ["wˈʌn", "", "bˈɛst"]),
        (("🙂",), "slˈaɪtli smˈaɪlɪŋ fˈeɪs", ["slˈaɪtlismˈaɪlɪŋfˈeɪs"]),
    ],
)
def test_numbers_and_glued_words_get_their_own_phonemes(
    words: tuple[str, ...], phonemes: str, wanted: list[str]
) -> None:
    found = spoken_words(told(*words), spoken(phonemes), alone, 20.0)
    assert [said.replace("ː", "") for _, said in sounds(found)] == [one.replace("ː", "") for one in wanted]


def test_characters_are_not_counted_against_groups() -> None:
    pronounced = {"世": "ʂɨ↘", "界，": "ʨje↘", "3.5%": "pai↓fə→nꭧɨ→ sa→ntjɛ↓n u↓"}
    found = spoken_words(told(*pronounced), spoken("ʂɨ↘ʨje↘ pai↓fə→nꭧɨ→sa→ntjɛ↓n u↓"), pronounced.__getitem__, 9.0)
    assert [word for word, _ in sounds(found)] == list(pronounced)
    assert [said for _, said in sounds(found)] == ["ʂɨ↘", "ʨje↘", "pai↓fə→nꭧɨ→sa→ntjɛ↓nu↓"]


def test_phonemes_that_the_text_tells_are_not_asked_for() -> None:
    words = [Written("one"), Written("New York", "nuː jˈɔːɹk"), Written("best")]
    found = spoken_words(words, spoken("wˈʌn nuː jˈɔːɹk bˈɛst"), alone, 5.0)
    assert sounds(found) == [("one", "wˈʌn"), ("New York", "nuːjˈɔːɹk"), ("best", "bˈɛst")]


@pytest.mark.parametrize("heard", ["", " ", ".", "x", "x y z x y z x y z", "abc " * 300, "a" * 300])
@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_whatever_was_heard_every_word_gets_a_time_in_order_and_within_the_speech(heard: str, count: int) -> None:
    words = spoken_words(told(*["one"] * count), spoken(heard), alone, 3.0)
    assert len(words) == count
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert all(0 <= first <= second <= 3.0 for first, second in pairwise(edges))


def test_times_that_go_back_or_beyond_the_end_are_put_right() -> None:
    phonemes = [SpokenPhoneme("a", -1.0, 0.5), SpokenPhoneme(" ", 0.5, 0.6), SpokenPhoneme("b", 0.4, 9.0)]
    words = spoken_words(told("one", "two"), phonemes, never, 2.0)
    assert [(word.start, word.end) for word in words] == [(0.0, 0.5), (0.5, 2.0)]


def test_a_long_text_that_fits_nowhere_is_matched_soon() -> None:
    start = time.process_time()
    spoken_words(told(*["123", "of", "the"] * 300), spoken("wˈʌn ʌvðə " * 300), alone, 100.0)
    assert time.process_time() - start < 10


def test_an_estimate_gives_sounds_alike_and_marks_a_pause() -> None:
    times = {one.phoneme: (one.start, one.end) for one in estimated("a, b.", 1.0, 5.0)}
    assert times == {"a": (1.0, 2.0), ",": (2.0, 4.0), " ": (4.0, 4.0), "b": (4.0, 5.0)}


@pytest.mark.parametrize("phonemes", ["", "...", " "])
def test_an_estimate_of_nothing_is_nothing(phonemes: str) -> None:
    assert estimated(phonemes, 0.0, 1.0) == []


def test_silence_at_both_ends_is_no_sound() -> None:
    samples = np.zeros(1000, np.float32)
    samples[200:700] = 0.5
    samples[100:200] = 0.004  # below -40 dB of the loudest
    assert sounding(samples, 1000) == (0.2, 0.7)
    assert sounding(np.zeros(500, np.float32), 1000) == (0.0, 0.5)
    assert sounding(np.empty(0, np.float32), 1000) == (0.0, 0.0)
