"""Which language a recording is in, where it may change, and which windows are heard again for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from speaches.engines.base import SAMPLE_RATE, Hypothesis, Segment, Window
from speaches.engines.silero import Silero
from speaches.engines.whisper import Whisper
from speaches.transcription.hearing import SURE, UNSURE_WINDOWS
from tests.fakes import FakeActivity, FakeRecogniser
from tests.recordings import foreign_sentences, recording, say, silence, tone
from tests.transcription.hearing import ears, text_of

Heard = Mapping[int, tuple[str, float]]


PART = 13.8
"""Seconds: uncut, and too long for two of them to share a window."""


def parts(count: int) -> Any:
    """A recording of which each window holds one part, and tells by its loudness which."""
    return recording(*(tone(440, PART, level=0.1 * n) for n in range(1, count + 1)), pause=1.0)


def part_of(window: Window) -> int:
    return round(float(abs(window.samples).max()) * 10)


@dataclass
class Polyglot(FakeRecogniser):
    """Takes each part of a recording for a language with some probability, and writes down both."""

    detects: Heard = field(default_factory=dict)

    def _hypothesis(self, window: Window) -> Hypothesis:
        part = part_of(window)
        language, probability = self.detects[part]
        if window.options.language is not None:
            language, probability = window.options.language, 1.0
        seconds = len(window.samples) / SAMPLE_RATE
        return Hypothesis((Segment(f" {language}{part}", 0.0, seconds),), language, probability)


async def heard(detects: Heard, **options: Any) -> tuple[str, str, list[tuple[int, str | None, str | None]]]:
    """The text, its language, and what the engine was asked: part, language, likely language."""
    engine = Polyglot(detects=detects)
    async with ears(engine, FakeActivity()) as listener:
        segments, outcome = await listener.hear(parts(len(detects)), **options)
    asked = [(part_of(window), window.options.language, window.options.likely) for window in engine.heard]
    return text_of(segments), outcome.language, asked


async def test_a_sure_first_window_tells_what_is_likely_from_then_on() -> None:
    text, language, asked = await heard({1: ("de", SURE), 2: ("de", 0.1), 3: ("en", 0.9)})
    assert (text, language) == ("de1 de2 en3", "de")
    assert asked == [(1, None, None), (2, None, "de"), (3, None, "de")]


async def test_an_unsure_one_asks_four_and_those_in_another_language_are_heard_again() -> None:
    detects = {1: ("en", 0.3), 2: ("de", 0.4), 3: ("de", 0.3), 4: ("en", 0.2), 5: ("de", 0.2), 6: ("de", 0.2)}
    text, language, asked = await heard(detects)
    assert (text, language) == ("de1 de2 de3 de4 de5 de6", "de")
    assert asked[:UNSURE_WINDOWS] == [(part, None, None) for part in (1, 2, 3, 4)]
    assert asked[UNSURE_WINDOWS:6] == [(1, "de", None), (4, "de", None)]
    assert sorted(asked[6:]) == [(5, None, "de"), (6, None, "de")]


async def test_it_is_the_surest_language_and_not_the_most_frequent() -> None:
    text, _, _ = await heard({1: ("en", 0.1), 2: ("en", 0.1), 3: ("fr", 0.4), 4: ("en", 0.1)})
    assert text == "fr1 fr2 fr3 fr4"


async def test_asking_ends_with_the_first_window_that_is_sure() -> None:
    text, _, asked = await heard({1: ("en", 0.4), 2: ("es", 0.9), 3: ("es", 0.9)})
    assert text == "es1 es2 es3"
    assert asked == [(1, None, None), (2, None, None), (1, "es", None), (3, None, "es")]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_recording_may_end_before_anything_is_sure(count: int) -> None:
    text, language, asked = await heard(dict.fromkeys(range(1, count + 1), ("fr", 0.1)))
    assert (text, language) == (" ".join(f"fr{part}" for part in range(1, count + 1)), "fr")
    assert len(asked) == count


async def test_the_language_of_most_of_the_speech_is_that_of_the_recording() -> None:
    _, language, _ = await heard({1: ("en", 0.9), 2: ("de", 0.9), 3: ("de", 0.9)})
    assert language == "de"


async def test_unsure_windows_keep_their_times_and_order() -> None:
    engine = Polyglot(detects={1: ("en", 0.3), 2: ("de", 0.4), 3: ("en", 0.2), 4: ("de", 0.3)})
    async with ears(engine, FakeActivity()) as listener:
        segments, _ = await listener.hear(parts(4))
    starts = [segment.start for segment in segments]
    assert starts == pytest.approx([(PART + 1) * n + 0.6 for n in range(4)], abs=0.2)


# --- The real model ---

ENGLISH = [
    "Thank you for calling, how can I help you?", "What is the weather in London today?", "The meeting starts at nine.",
    "My name is David and I live in Tokyo.", "Open the door and close the window.",
]  # fmt: skip
GERMAN = [text for language, text, _ in foreign_sentences() if language == "de"][:7]


def speech(language: str, sentences: list[str]) -> Any:
    voice, rate = ("en-us", 160) if language == "en" else (language, 175)
    return recording(*(say(text, voice, rate) for text in sentences), pause=0.5)


async def test_a_recording_that_changes_its_language_is_written_in_both(
    tiny_whisper: Whisper, detector: Silero
) -> None:
    pause = silence(12)
    samples = recording(speech("en", ENGLISH), pause, speech("de", GERMAN), pause, speech("en", ENGLISH[::-1]))
    async with ears(tiny_whisper, detector) as listener:
        segments, outcome = await listener.hear(samples)
    assert text_of(segments) == " ".join([*ENGLISH, *GERMAN, *ENGLISH[::-1]])
    assert outcome.language == "en"
    starts = [segment.start for segment in segments]
    assert starts == sorted(starts)


async def test_a_recording_that_changes_its_language_is_translated_where_it_is_foreign(
    tiny_whisper: Whisper, detector: Silero
) -> None:
    meanings = [meaning for language, _, meaning in foreign_sentences() if language == "de"][:7]
    samples = recording(speech("de", GERMAN), silence(12), speech("de", GERMAN))
    async with ears(tiny_whisper, detector) as listener:
        segments, _ = await listener.hear(samples, task="translate")
    assert text_of(segments) == " ".join(meanings * 2)


@pytest.mark.parametrize(
    ("allowed", "chosen"),
    [(("es", "fr"), lambda c: c == "es"), (("de", "fr"), lambda c: c in ("de", "fr")), (("en",), lambda c: c == "en")],
)
async def test_only_what_a_request_allows_is_detected(
    tiny_whisper: Whisper, detector: Silero, allowed: tuple[str, ...], chosen: Callable[[str], bool]
) -> None:
    async with ears(tiny_whisper, detector) as listener:
        _, outcome = await listener.hear(recording(say("Hola, ¿cómo estás?", "es", 175)), candidates=allowed)
    assert chosen(outcome.language)
