"""The words of a window: whole, with all of the text between them, and each with a length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.engines.base import DecodeOptions, Segment, Window, Word
from speaches.engines.whisper import Whisper
from speaches.engines.word_times import SHORTEST_WORD, whole_words
from tests.recordings import english_sentences, foreign_sentences, recording, say

NEARLY = 1e-6


def segment(text: str, *words: tuple[str, float, float]) -> Segment:
    end = words[-1][2] if words else 1.0
    return Segment(text, words[0][1] if words else 0.0, end, words=tuple(Word(*word, 0.5) for word in words))


def texts(segments: tuple[Segment, ...]) -> list[list[str]]:
    return [[word.word for word in one.words] for one in segments]


def times(*words: tuple[float, float], duration: float = 10.0) -> list[tuple[float, float]]:
    named = [(f" w{number}", *word) for number, word in enumerate(words)]
    (one,) = whole_words([segment("".join(name for name, _, _ in named), *named)], duration)
    return [(round(word.start, 3), round(word.end, 3)) for word in one.words]


def test_a_number_is_one_word_from_its_first_part_to_its_last() -> None:
    (one,) = whole_words(
        [segment(" It cost $43,000.", (" It", 0.0, 0.2), (" cost", 0.2, 0.5), (" $43", 0.5, 1.0), (",000.", 1.2, 1.8))],
        2.0,
    )
    assert texts((one,)) == [[" It", " cost", " $43,000."]]
    assert (one.words[-1].start, one.words[-1].end) == (0.5, 1.8)


def test_the_probability_of_a_word_is_the_mean_of_its_letters() -> None:
    parts = (Word(" a", 0.0, 0.1, 1.0), Word("bc", 0.1, 0.2, 0.4))
    (one,) = whole_words([Segment(" abc", 0.0, 0.2, words=parts)], 1.0)
    assert one.words[0].probability == pytest.approx(0.6)


def test_the_words_of_each_segment_are_its_text_when_a_token_crosses_into_the_next() -> None:
    # faster-whisper counts tokens: what is too many in one segment it takes from the next.
    first = segment(" Hello there.", (" Hello", 0.0, 0.4), (" there.", 0.4, 0.8), (" How", 1.0, 1.3))
    second = segment(" How are you?", (" are", 1.3, 1.5), (" you?", 1.5, 1.9))
    mended = whole_words([first, second], 3.0)
    assert texts(mended) == [[" Hello", " there."], [" How", " are", " you?"]]
    assert [(one.start, one.end) for one in mended] == [(0.0, 0.8), (1.0, 1.9)]


def test_a_word_in_two_segments_is_cut_between_them() -> None:
    mended = whole_words(
        [segment(" It is 43", (" It", 0.0, 0.3), (" is", 0.3, 0.6), (" 43,000.", 1.0, 1.8)), segment(",000.")], 3.0
    )
    assert texts(mended) == [[" It", " is", " 43"], [",000."]]
    assert mended[0].words[-1].end == pytest.approx(mended[1].words[0].start) == pytest.approx(1.3)


def test_tokens_that_are_no_characters_lose_no_text() -> None:
    one = segment(" Hi \ufffd\ufffd you", (" Hi", 0.0, 0.3), (" \ufffd", 0.3, 0.5), (" you", 0.5, 0.8))
    other = segment(" Hi \ufffd", (" Hi", 0.0, 0.3), (" \ufffd\ufffd", 0.3, 0.5))
    end = segment(" Hi \ufffd", (" Hi", 0.0, 0.3))
    for broken in (one, other, end):
        assert "".join(texts(whole_words([broken], 2.0))[0]) == broken.text


def test_segments_without_words_stay_as_they_are() -> None:
    plain = segment(" Hello.")
    assert whole_words([plain], 1.0) == (plain,)
    assert whole_words([], 1.0) == ()


# --- Lengths ---


def test_a_word_of_no_length_gets_one() -> None:
    after_it = times((0.0, 0.4), (0.4, 0.4), (0.8, 1.0))
    assert after_it == [(0.0, 0.4), (0.4, 0.46), (0.8, 1.0)]
    before_it = times((0.0, 0.2), (0.4, 0.4), (0.4, 0.6))
    assert before_it == [(0.0, 0.2), (0.34, 0.4), (0.4, 0.6)]
    from_the_longer_before = times((0.0, 0.4), (0.4, 0.4), (0.4, 0.6))
    assert from_the_longer_before == [(0.0, 0.34), (0.34, 0.4), (0.4, 0.6)]
    from_the_longer_after = times((0.0, 0.1), (0.1, 0.1), (0.1, 0.6))
    assert from_the_longer_after == [(0.0, 0.1), (0.1, 0.16), (0.16, 0.6)]
    at_the_end = times((0.0, 0.1), (1.0, 1.0), duration=1.0)
    assert at_the_end == [(0.0, 0.1), (0.94, 1.0)]


def test_words_that_are_long_enough_stay_where_they_are() -> None:
    assert times((0.0, 0.2), (0.2, 0.4), (0.9, 1.5)) == [(0.0, 0.2), (0.2, 0.4), (0.9, 1.5)]


def test_more_words_than_there_is_room_for_share_it() -> None:
    assert times(*[(0.1, 0.1)] * 4, duration=0.1) == [(0.0, 0.025), (0.025, 0.05), (0.05, 0.075), (0.075, 0.1)]


places = st.floats(0, 30).map(lambda place: round(place, 2))
parts = st.text(st.sampled_from(" ab,.'$%-9世界。\u0301\ufffd🙂"), min_size=1, max_size=4)
segments = st.lists(
    st.tuples(st.text(st.sampled_from(" ab,9世\ufffd"), max_size=8), st.lists(parts, max_size=6)),
    min_size=1,
    max_size=4,
)


@given(segments, st.lists(places, min_size=48, max_size=48).map(sorted), st.booleans())
def test_words_are_the_text_and_never_go_back_whatever_is_given(
    said: list[tuple[str, list[str]]], at: list[float], whole: bool
) -> None:
    moments = iter(at)
    given = []
    for text, own in said:
        heard = tuple(Word(part, next(moments), next(moments), 0.5) for part in own)
        given.append(Segment("".join(own) if whole else text, 0.0, 30.0, words=heard))
    mended = whole_words(given, 30.0)
    words = [word for one in mended for word in one.words]
    if words:
        assert ["".join(word.word for word in one.words) for one in mended] == [one.text for one in given]
    assert all(word.start >= 0 and word.end <= 30.0 for word in words)
    assert all(word.end - word.start >= SHORTEST_WORD - NEARLY for word in words)
    assert all(one.end <= other.start + NEARLY for one, other in pairwise(words))
    assert all(one.start == one.words[0].start and one.end == one.words[-1].end for one in mended if one.words)


# --- With a recogniser ---


def test_the_words_of_a_recognition_are_its_text(tiny_whisper: Whisper) -> None:
    said = [(sentence, "en", "en-us") for sentence in english_sentences()[:6]]
    said += [(sentence, language, language) for language, sentence, _ in foreign_sentences()[:6]]
    for sentence, language, voice in said:
        samples = recording(say(sentence, voice))
        (heard,) = tiny_whisper.decode([Window(samples, DecodeOptions(language=language, words=True))])
        assert heard.segments
        for one in heard.segments:
            assert "".join(word.word for word in one.words) == one.text
            assert " ".join(word.word.strip() for word in one.words) == one.text.strip()
            assert all(word.end - word.start >= SHORTEST_WORD - NEARLY for word in one.words)
