"""Words become subtitle cues that a person can read."""

import itertools
import random

import pytest

from speaches.text.cues import CueOptions, Spoken, cues


def spoken(text: str, *, start: float = 0.0, seconds: float = 0.3, speaker: str | None = None) -> list[Spoken]:
    """The words of a text, each taking `seconds`."""
    return [
        Spoken(f" {word}", start + n * seconds, start + (n + 1) * seconds, speaker)
        for n, word in enumerate(text.split())
    ]


def texts(words: list[Spoken], **options: float) -> list[str]:
    return [cue.text for cue in cues(words, CueOptions(**options))]  # type: ignore[arg-type]


def test_a_short_sentence_is_one_cue_with_the_times_of_its_words() -> None:
    (cue,) = cues(spoken("Hello world, how are you?", start=1.0))
    assert (cue.start, cue.text) == (1.0, "Hello world, how are you?")
    assert cue.end == pytest.approx(2.5)


def test_a_cue_ends_with_its_sentence() -> None:
    assert texts(spoken("What time is it? It is late. Goodbye!")) == ["What time is it?", "It is late.", "Goodbye!"]


@pytest.mark.parametrize(
    "text", ["Dr. Smith met Mrs. Jones.", "See No. 5 there.", "Am 3. Oktober kam er.", "He is here, e.g. now."]
)
def test_a_cue_does_not_end_with_an_abbreviation(text: str) -> None:
    assert texts(spoken(text)) == [text]
    assert texts(spoken("He said no. Goodbye.")) == ["He said no.", "Goodbye."]


def test_a_cue_ends_at_a_pause() -> None:
    assert texts(spoken("one two") + spoken("three four", start=1.31)) == ["one two", "three four"]
    assert texts(spoken("one two") + spoken("three four", start=1.29)) == ["one two three four"]


def test_a_cue_ends_where_the_speaker_changes() -> None:
    words = spoken("are you there", speaker="A") + spoken("yes I am", start=0.9, speaker="B")
    assert texts(words) == ["are you there", "yes I am"]


def test_a_long_sentence_is_cut_after_a_comma() -> None:
    words = spoken("The quick brown fox jumps over the lazy dog by the river, and the dog does not mind it at all")
    assert texts(words) == [
        "The quick brown fox jumps over\nthe lazy dog by the river,",
        "and the dog does not mind it at all",
    ]


def test_two_lines_are_about_as_long_as_each_other() -> None:
    (text,) = texts(spoken("The meeting starts at nine in the large room upstairs"))
    first, second = text.split("\n")
    assert abs(len(first) - len(second)) <= 6


def test_parts_of_a_word_stay_together() -> None:
    words = [Spoken(" This", 0, 0.2), Spoken(" text", 0.2, 0.4), Spoken("-to", 0.4, 0.5), Spoken("-speech", 0.5, 0.9)]
    assert texts(words, max_chars=8) == ["This\ntext-to-speech"]


def test_a_word_longer_than_a_line_has_one_of_its_own() -> None:
    assert texts(spoken("see https://example.org/a/very/long/address/that/nobody/reads now")) == [
        "see\nhttps://example.org/a/very/long/address/that/nobody/reads",
        "now",
    ]


def test_chinese_is_cut_between_characters() -> None:
    words = [Spoken(character, n * 0.1, n * 0.1 + 0.1) for n, character in enumerate("今天天气很好" * 6)]
    assert all(len(line) <= 10 for text in texts(words, max_chars=10) for line in text.split("\n"))
    assert "".join(texts(words, max_chars=10)).replace("\n", "") == "今天天气很好" * 6


def test_a_word_without_length_still_makes_a_cue_that_lasts() -> None:
    (cue,) = cues([Spoken(" Hm", 2.0, 2.0)])
    assert cue.start < cue.end


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_said_no_limit_is_broken_and_no_word_lost(seed: int) -> None:
    chance = random.Random(seed)
    words, now = [], 0.0
    for _ in range(chance.randint(1, 200)):
        text = "x" * chance.randint(1, 14) + chance.choice(["", "", "", ",", ".", "?"])
        now += chance.choice([0, 0, 0.1, 0.8])
        words.append(Spoken(f" {text}", now, now := now + chance.uniform(0, 1.5)))
    made = list(cues(words))
    assert " ".join(" ".join(cue.text.split()) for cue in made) == "".join(word.text for word in words).strip()
    for cue in made:
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 for line in lines)
        assert 0 < cue.end - cue.start <= 7.0
    assert all(before.end <= after.start + 0.05 for before, after in itertools.pairwise(made))


def ends(words: list[Spoken], until: float = 60.0, **options: float) -> list[float]:
    return [cue.end for cue in cues(words, CueOptions(**options), until)]  # type: ignore[arg-type]


def test_a_short_cue_stays_for_long_enough_to_be_read_where_a_pause_follows() -> None:
    words = spoken("Yes.", start=1.0, seconds=0.24) + spoken("It is late.", start=5.0, seconds=0.4)
    assert ends(words) == pytest.approx([1.8, 6.2])
    assert ends(words, min_seconds=2.0) == pytest.approx([3.0, 7.0])
    assert ends(words, min_seconds=0.0) == pytest.approx([1.24, 6.2])


def test_a_short_cue_stays_no_longer_than_until_the_next_one() -> None:
    words = spoken("Yes.", start=1.0, seconds=0.24) + spoken("It is late.", start=1.5, seconds=0.4)
    assert ends(words) == pytest.approx([1.5, 2.7])
    assert ends(spoken("Yes. It is late.", start=1.0, seconds=0.24)) == pytest.approx([1.24, 2.04])


def test_a_short_cue_stays_no_longer_than_the_recording_or_the_longest_cue() -> None:
    words = spoken("Yes.", start=1.0, seconds=0.24)
    assert ends(words, until=1.5) == pytest.approx([1.5])
    assert ends(words, until=1.1) == pytest.approx([1.24])
    assert ends(words, min_seconds=3.0, max_seconds=0.5) == pytest.approx([1.5])


def test_cues_that_stay_never_overlap() -> None:
    draw = random.Random(5)
    words, at = [], 0.0
    for number in range(300):
        at += draw.choice((0.0, 0.02, 0.3, 0.69, 0.9, 3.0))
        words += spoken(f"word{number}" + draw.choice(("", ".", ",")), start=at, seconds=draw.uniform(0.05, 0.6))
        at = words[-1].end
    made, plain = list(cues(words)), list(cues(words, CueOptions(min_seconds=0)))
    assert [(cue.start, cue.text) for cue in made] == [(cue.start, cue.text) for cue in plain]
    for cue, bare, after in zip(made, plain, [*made[1:], None], strict=True):
        assert cue.end == bare.end or (bare.end < cue.end <= cue.start + 0.8 + 1e-9)
        assert after is None or cue.end <= max(after.start, bare.end)
        assert after is None or cue.end - cue.start >= 0.8 - 1e-9 or cue.end >= after.start
