"""What a recogniser makes up is dropped; what people say is not."""

import pytest

from speaches.engines.base import Segment
from speaches.transcription.phantoms import MOST_REPEATS, PHRASES, PhantomFilter, normalised

SPEECH, HARDLY = 0.95, 0.3  # chance of speech where a window is clearest


def kept(*texts: str, activity: float = SPEECH, no_speech_prob: float = 0.01) -> list[str]:
    """Which of these segments, one after the other, are believed."""
    judge = PhantomFilter()
    segments = [Segment(text, n, n + 1, no_speech_prob=no_speech_prob) for n, text in enumerate(texts)]
    return [segment.text for segment in segments if judge.keeps(segment, activity)]


@pytest.mark.parametrize(
    "phrase", [" Thank you.", " Thanks for watching!", " you", " Vielen Dank.", " ご視聴ありがとうございました"]
)
def test_a_known_phrase_is_dropped_where_there_is_hardly_any_speech(phrase: str) -> None:
    assert kept(phrase, activity=HARDLY) == []
    assert kept(phrase, no_speech_prob=0.5) == []


def test_a_person_may_say_the_same_phrase() -> None:
    assert kept(" Thank you.") == [" Thank you."]


def test_other_text_is_believed_even_in_doubt() -> None:
    assert kept(" Open the door.", activity=HARDLY, no_speech_prob=0.5) == [" Open the door."]


def test_where_nobody_speaks_any_text_is_made_up_that_the_recogniser_doubts() -> None:
    assert kept(" Open the door.", activity=0.05, no_speech_prob=0.5) == []
    assert kept(" Open the door.", activity=0.05) == [" Open the door."]


def test_a_loop_is_cut() -> None:
    assert kept(*[" And so on."] * 20) == [" And so on."] * (1 + MOST_REPEATS)


def test_in_doubt_a_loop_is_cut_at_once() -> None:
    assert kept(*[" And so on."] * 20, activity=HARDLY) == [" And so on."]


def test_a_refrain_is_no_loop() -> None:
    song = [" Row your boat.", " Gently.", " Row your boat.", " Merrily."] * 3
    assert kept(*song) == song


def test_punctuation_alone_is_nothing() -> None:
    assert kept(" ...", " !") == []


def test_the_filter_counts_what_it_drops() -> None:
    judge = PhantomFilter()
    assert not judge.keeps(Segment(" Thank you.", 0, 1, no_speech_prob=0.9), SPEECH)
    assert judge.dropped == 1


def test_the_phrases_are_written_as_they_are_compared() -> None:
    assert [phrase for phrase in PHRASES if normalised(phrase) != phrase] == []


def test_a_phrase_that_is_really_said_again_and_again_is_kept() -> None:
    phantoms = PhantomFilter()
    assert all(phantoms.keeps(Segment(" Yes.", n, n + 0.5), 1.0, spoken=0.4) for n in range(12))
    assert phantoms.dropped == 0


def test_a_loop_over_a_pause_is_dropped() -> None:
    phantoms = PhantomFilter()
    kept = [phantoms.keeps(Segment(" Yes.", n, n + 0.5), 1.0, spoken=0.4 if n < 2 else 0.0) for n in range(12)]
    assert sum(kept) == MOST_REPEATS + 1
