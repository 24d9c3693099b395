"""Speech without words: where it is found, and how what is heard there is put in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE, Hypothesis, Segment, Window, Word
from speaches.transcription.gaps import FRAME, believable, fill, gaps
from tests.fakes import FakeActivity, FakeRecogniser
from tests.recordings import silence, tone
from tests.transcription.hearing import ears, text_of


def words(*said: tuple[str, float, float], **marks: Any) -> Segment:
    """A segment of words: (text, start, end)."""
    parts = tuple(Word(f" {text}", start, end, 0.9) for text, start, end in said)
    return Segment("".join(word.word for word in parts), said[0][1], said[-1][2], words=parts, **marks)


def speech(seconds: float, *stretches: tuple[float, float]) -> Any:
    """The chance of speech in each frame: somebody speaks in these stretches."""
    times = np.arange(round(seconds / FRAME)) * FRAME
    return np.array([0.9 if any(a <= time < b for a, b in stretches) else 0.0 for time in times], np.float32)


def texts(segments: list[Segment]) -> list[str]:
    return [segment.text.strip() for segment in segments]


def test_speech_that_has_words_is_no_gap() -> None:
    heard = [words(("one", 0.1, 0.8), ("two", 0.9, 2.0))]
    assert gaps(heard, speech(3, (0, 2.1)), 3.0) == []


def test_a_pause_is_no_gap() -> None:
    assert gaps([words(("one", 0.0, 1.0), ("two", 9.0, 10.0))], speech(10, (0, 1), (9, 10)), 10.0) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [("start", (4.0, 5.0)), ("end", (0.0, 1.0))],
)
def test_speech_before_the_first_and_after_the_last_word_is_a_gap(place: str, said: tuple[float, float]) -> None:
    ((start, end),) = gaps([words(("one", *said))], speech(5, (0, 5)), 5.0)
    assert (start, end) == pytest.approx((0.0, 4.0) if place == "start" else (1.0, 5.0), abs=0.05)


def test_a_gap_is_its_speech_with_a_margin_and_never_a_word_beside_it() -> None:
    heard = [words(("one", 0.0, 1.0), ("two", 5.0, 6.0))]
    ((start, end),) = gaps(heard, speech(6, (0, 0.9), (2, 3), (5.1, 6)), 6.0)
    assert (start, end) == pytest.approx((1.8, 3.2), abs=0.05)


def test_less_than_a_word_of_speech_is_no_gap() -> None:
    assert gaps([words(("one", 0.0, 1.0), ("two", 3.0, 4.0))], speech(4, (0, 1), (1.5, 2.1), (3, 4)), 4.0) == []


def test_without_times_of_words_nothing_is_known() -> None:
    assert gaps([Segment(" one", 0.0, 1.0)], speech(5, (0, 5)), 5.0) == []
    assert gaps([], speech(5, (0, 5)), 5.0) == []


def test_what_is_found_stands_between_the_words_around_it() -> None:
    heard = [words(("one", 0.0, 1.0), ("four", 5.0, 6.0)), words(("five", 6.0, 7.0))]
    filled = fill(heard, (1.0, 5.0), [words(("two", 1.5, 2.0), ("three", 2.0, 3.0))])
    assert texts(filled) == ["one", "two three", "four", "five"]
    assert [(segment.start, segment.end) for segment in filled] == [(0, 1), (1.5, 3), (5, 6), (6, 7)]


def test_nothing_found_changes_nothing() -> None:
    heard = [words(("one", 0.0, 1.0), ("four", 5.0, 6.0))]
    assert fill(heard, (1.0, 5.0), []) == heard


def test_words_that_were_only_misplaced_are_not_said_twice() -> None:
    heard = [words(("one", 0.0, 1.0)), words(("two", 1.0, 1.1), ("three", 1.1, 1.2))]
    assert fill(heard, (1.2, 5.0), [words(("two", 2.0, 3.0), ("three", 3.0, 4.0))]) == heard


def test_words_that_are_really_said_again_are() -> None:
    heard = [words(("yes", 0.0, 0.5))]
    assert texts(fill(heard, (1.0, 3.0), [words(("yes", 1.5, 2.0))])) == ["yes", "yes"]


def test_a_guess_is_not_believed() -> None:
    assert believable([words(("one", 0.0, 1.0), avg_logprob=-1.3)]) == []


# --- In a recording ---


class Deaf(FakeRecogniser):
    """Hears only the first second of whatever it is given, and tells which part by its loudness."""

    def _hypothesis(self, window: Window) -> Hypothesis:
        said = []
        for second in range(len(window.samples) // SAMPLE_RATE):
            level = float(abs(window.samples[second * SAMPLE_RATE :][: SAMPLE_RATE // 2]).max())
            if level > 0.05:
                said = [Word(f" {round(level * 10)}", float(second), second + 1.05, 0.9)]
                break
        text = "".join(word.word for word in said)
        return Hypothesis((Segment(text, 0.0, 1.0, words=tuple(said)),) if said else (), "en")


@pytest.mark.parametrize("vad_filter", [True, False])
async def test_what_a_recogniser_passes_over_is_heard_again(vad_filter: bool) -> None:
    parts = [part for n in range(1, 4) for part in (tone(440, 1, level=0.1 * n), silence(1))]
    engine = Deaf()
    async with ears(engine, FakeActivity()) as listener:
        segments, _ = await listener.hear(np.concatenate(parts), language="en", vad_filter=vad_filter)
    assert text_of(segments) == "1 2 3"
    starts = [segment.start for segment in segments]
    assert starts == sorted(starts)
    assert starts == pytest.approx([0.0, 2.0, 4.0], abs=0.5)


class Looping(FakeRecogniser):
    """Falls into a loop in whatever is longer than three seconds."""

    def _hypothesis(self, window: Window) -> Hypothesis:
        seconds = len(window.samples) / SAMPLE_RATE
        if seconds > 3:
            return Hypothesis((Segment(" and so on" * 40, 0.0, seconds, compression_ratio=9.0),), "en")
        return Hypothesis((Segment(f" right{len(self.calls)}", 0.0, seconds),), "en")


async def test_a_loop_is_heard_again_in_halves_and_not_at_other_temperatures() -> None:
    engine = Looping()
    async with ears(engine, FakeActivity()) as listener:
        segments, _ = await listener.hear(tone(440, 10), language="en")
    assert "and so on" not in text_of(segments)
    assert {options.temperatures for options in engine.asked} == {(0.0,)}
    assert segments[0].start == pytest.approx(0.0, abs=0.1)
    assert segments[-1].end == pytest.approx(10.0, abs=0.1)


class Doubtful(FakeRecogniser):
    def _hypothesis(self, window: Window) -> Hypothesis:
        warm = window.options.temperatures[0] > 0
        return Hypothesis((Segment(" sure" if warm else " what", 0.0, 1.0, avg_logprob=-0.2 if warm else -1.5),), "en")


async def test_an_improbable_text_is_tried_again_warmer() -> None:
    async with ears(Doubtful(), FakeActivity()) as listener:
        segments, _ = await listener.hear(tone(440, 2), language="en")
    assert text_of(segments) == "sure"


async def test_where_nobody_speaks_nothing_is_tried_again() -> None:
    engine = Doubtful()
    async with ears(engine, FakeActivity()) as listener:
        await listener.hear(silence(5), language="en", vad_filter=False)
    assert [(one.temperatures, one.beam_size) for one in engine.asked] == [((0.0,), 1)]
