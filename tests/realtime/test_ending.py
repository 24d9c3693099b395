from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.realtime.ending import NEUTRAL, combined, likelihood_of_end

FINISHED, UNFINISHED = 0.8, 0.25


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Stop.", "en"),
        ("stop", "en"),
        ("No!", "en"),
        (" Yes.", "en"),
        ("Okay", "en"),
        ("Thanks.", "en"),
        ("Thank you.", "en-US"),
        ("Go on.", "en"),
        ("Nein, danke.", "de"),
        ("halt", "de"),
        ("Para.", "es"),
        ("Sí.", "es"),
        ("Arrête !", "fr"),
        ("S’il vous plaît", "fr"),
    ],
)
def test_a_short_answer_is_surely_finished(text: str, language: str) -> None:
    assert likelihood_of_end(text, language) == 1.0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the weather in London today?", "en"),
        ("I live in Paris.", "en"),
        ("He said: “I am here.”", "en"),
        ("I think so.", "en"),
        ("What are you looking for?", "en"),
        ("Why?", "en"),
        ("Mach das Licht an.", "de"),
        ("Was ist das?", "de"),
        ("¿Dónde está la estación?", "es"),
        ("C'est très bien.", "fr"),
        ("今天天气怎么样？", "zh"),
        ("Hur mår du?", "sv"),
        ("It was in 2024.", "en"),
        ("It costs 3.50.", "en"),
        ("Meet me at 10:30.", "en"),
        ("My number is 020 7946 0018.", "en"),
    ],
)
def test_a_sentence_with_its_mark_is_likely_finished(text: str, language: str) -> None:
    assert likelihood_of_end(text, language) > FINISHED


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("So...", "en"),
        ("so", "en"),
        ("So.", "en"),
        ("Well…", "en"),
        ("I would like to book a flight to", "en"),
        ("I would like a table for the", "en"),
        ("I would like the.", "en"),
        ("I can't come because", "en"),
        ("Um.", "en"),
        ("Let me think, uh", "en"),
        ("First of all,", "en"),
        ("What I mean is -", "en"),
        ("No, ", "en"),
        ("Ich hätte gern ein", "de"),
        ("Ich komme nicht, weil.", "de"),
        ("Ähm", "de"),
        ("Quiero un billete para", "es"),
        ("No puedo porque", "es"),
        ("Je voudrais un billet pour", "fr"),
        ("Euh.", "fr"),
        ("我想要，", "zh"),
        ("Jag vill ha...", "sv"),
    ],
)
def test_who_breaks_off_goes_on(text: str, language: str) -> None:
    assert likelihood_of_end(text, language) < UNFINISHED


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("My number is 020 7946", "en"),
        ("It's 555-01.", "en"),
        ("five five five", "en"),
        ("Four, two.", "en"),
        ("null eins sieben", "de"),
        ("06 12", None),
    ],
)
def test_who_dictates_a_number_goes_on(text: str, language: str | None) -> None:
    assert likelihood_of_end(text, language) < UNFINISHED


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("   ", None),
        ("...", None),
        ("the weather in London", "en"),
        ("stop", None),
        ("jag bor i Stockholm", "sv"),
        ("我想要", "zh"),
    ],
)
def test_words_that_tell_nothing_are_neutral(text: str, language: str | None) -> None:
    assert likelihood_of_end(text, language) == NEUTRAL


def test_a_command_within_a_sentence_is_none() -> None:
    assert likelihood_of_end("I told him to stop", "en") == NEUTRAL


@given(st.text(max_size=200), st.sampled_from([None, "en", "de", "es", "fr", "xx", ""]))
def test_any_text_has_a_likelihood(text: str, language: str | None) -> None:
    assert 0 <= likelihood_of_end(text, language) <= 1


def test_a_long_text_costs_no_more_than_its_end() -> None:
    began = time.process_time()
    for hostile in ("a" * 1_000_000, "1 " * 500_000, "." * 1_000_000, "'a" * 500_000):
        likelihood_of_end(hostile, "en")
    assert time.process_time() - began < 1


def test_a_model_and_the_words_together() -> None:
    assert combined(NEUTRAL, 0.7) == pytest.approx(0.7)
    assert combined(0.85, 0.9) > 0.95
    assert combined(0.05, 0.6) < UNFINISHED
    assert combined(0.0, 1.0) == pytest.approx(0.5)
