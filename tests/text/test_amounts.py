"""Money, ranges, dates and telephone numbers as they are read out."""

from __future__ import annotations

import time

import pytest

from speaches.text.amounts import with_amounts
from speaches.text.sentences import pieces
from speaches.text.spoken import spoken
from tests.text.work import grows_like_the_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs $5.99.", "It costs 5 dollars and 99 cents."),
        ("$1, $1.01, $0.50, $5.00", "1 dollar, 1 dollar and 1 cent, 50 cents, 5 dollars"),
        ("$1,234,567.50!", "1,234,567 dollars and 50 cents!"),
        (
            "$1.5M, €2 million, £20k and $3bn",
            "1.5 million dollars, 2 million euros, 20 thousand pounds and 3 billion dollars",
        ),
        ("¥100, ₹5.50, £0.01, €0.005", "100 yen, 5 rupees and 50 paise, 1 penny, 0.005 euros"),
    ],
)
def test_money_in_english(text: str, expected: str) -> None:
    assert with_amounts(text, "en-US") == expected
    assert with_amounts(text, "de") == text


@pytest.mark.parametrize(
    "text", ["$PATH ${1} $x $5x $5$ US$5 $.50 $1,00 $1.2.3 5$ a$5 $$5", "$" + "1" * 30, "5 € and 5 dollars", "$ 5"]
)
def test_what_may_be_something_else_than_money_stays(text: str) -> None:
    assert with_amounts(text, "en") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1-2 billion", "1 to 2 billion dollars"),
        ("$100K-$200K a year", "100 thousand to 200 thousand dollars a year"),
        ("$50-1,000", "50 to 1,000 dollars"),
        ("$5.50-$6.75", "5 dollars and 50 cents to 6 dollars and 75 cents"),
        ("a $5-10 range", "a 5 to 10 dollar range"),
        ("$200-2-night stay", "200 dollars-2-night stay"),
    ],
)
def test_the_unit_of_a_range_of_money_comes_last(text: str, expected: str) -> None:
    assert with_amounts(text, "en") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $20 bill", "a 20 dollar bill"),
        ("An $8-million deal", "An 8 million dollar deal"),
        ("a £5.50 ticket", "a 5 pound and 50 pence ticket"),
        ("the $20 that I lent Joan $20", "the 20 dollars that I lent Joan 20 dollars"),
        ("£5m", "5 million pounds"),
        (r"It costs \$5 or \$6.", "It costs 5 dollars or 6 dollars."),
    ],
)
def test_money_as_newspapers_and_markdown_write_it(text: str, expected: str) -> None:
    assert with_amounts(text, "en") == expected


def test_numbers_in_code_formulas_and_addresses_are_no_amounts() -> None:
    text = "Run `awk '{print $1}' 2026-11-20`, $x = 3-4$, or https://example.com/10-15 for 10-15 $."
    assert (
        spoken(text, "en") == "Run awk '{print $1}' 2026-11-20, x = 3-4, or example dot com slash 10-15 for 10 to 15 $."
    )


def test_a_range_of_money() -> None:
    assert with_amounts("It was €20–€30, or $5–10.", "en") == "It was 20 to 30 euros, or 5 to 10 dollars."


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "5 to 10, 10:30 to 11:00 and 1990 to 95."),
        ("de-AT", "5 bis 10, 10:30 bis 11:00 and 1990 bis 95."),
        ("pl", None),
    ],
)
def test_a_dash_between_two_numbers(language: str, expected: str | None) -> None:
    text = "5–10, 10:30–11:00 and 1990–95."
    assert with_amounts(text, language) == (expected or text)


def test_a_hyphen_between_two_numbers() -> None:
    text = "Wait 25-30 minutes, 90-100, 9:00-17:30, $5-$10, 2020-2024."
    assert with_amounts(text, "en") == "Wait 25 to 30 minutes, 90 to 100, 9:00 to 17:30, 5 to 10 dollars, 2020 to 2024."


HYPHENS = [
    "3-1",
    "0-3",
    "5-5",
    "555-1234",
    "1-2-3",
    "1-803",
    "737-800",
    "01-12",
    "800-1234",
    "978-3-16",
    "10.5-11.5",
    "1-2/3",
    "A4-5",
    "x-1-2",
    "9999-10000",
    "x = 3-4",
    "3-4 = -1",
    "5-10=-5",
    "Figure 2-3",
    "in room 4-12",
    "the 9-11 attacks",
    "at the 7-11",
]
DASHES = ["1–2–3", "555–1234–5678", "a–b", "5 – 10", "–5", "3—4", "x5–6"]


@pytest.mark.parametrize("text", [*HYPHENS, *DASHES])
def test_what_may_be_something_else_than_a_range_stays(text: str) -> None:
    assert with_amounts(text, "en") == text


def test_a_range_that_looks_like_a_name_or_a_score() -> None:
    assert with_amounts("Figures 2-3, ages 9-11, 0-60", "en") == "Figures 2 to 3, ages 9 to 11, 0 to 60"


def test_scores_beside_each_other_are_read_alike() -> None:
    text = "She won 6-4, 3-6, 7-6 (7-5) in 2-3 hours."
    assert with_amounts(text, "en") == text
    assert with_amounts("It took 2-3 hours and 100-150 people.", "en") == "It took 2 to 3 hours and 100 to 150 people."


def test_a_date_in_english() -> None:
    assert with_amounts("From 2026-11-20, or (2024-02-01).", "en") == "From November 20, 2026, or (February 1, 2024)."
    for text in (
        "2026-13-01",
        "2026-1-1",
        "report-2026-11-20.pdf",
        "2026-11-20T10:30",
        "a/2026-11-20/b",
        "2026-11-20.txt",
    ):
        assert with_amounts(text, "en") == text
    assert with_amounts("2026-11-20", "fr") == "2026-11-20"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Call +1 (555) 123-4567.", "Call +1, 5 5 5, 1 2 3, 4 5 6 7."),
        ("(555) 123-4567 or 555-123-4567", "5 5 5, 1 2 3, 4 5 6 7 or 5 5 5, 1 2 3, 4 5 6 7"),
        ("+49 30 1234567, +491701234567", "+49, 3 0, 1 2 3 4 5 6 7, +4 9 1 7 0 1 2 3 4 5 6 7"),
        ("+33 1 23 45 67 89!", "+33, 1, 2 3, 4 5, 6 7, 8 9!"),
    ],
)
def test_telephone_numbers_are_spelt_in_every_language(text: str, expected: str) -> None:
    assert with_amounts(text, "en") == with_amounts(text, "ja") == expected


@pytest.mark.parametrize(
    "text",
    [
        "+5",
        "+10 points",
        "3+4",
        "1234567890",
        "+1 2 3",
        "a+49301234567",
        "555-1234",
        "10.0.0.1",
        "+" + "1" * 20,
        "+10 000 000",
        "+12345678 points",
    ],
)
def test_what_may_be_something_else_than_a_telephone_number_stays(text: str) -> None:
    assert with_amounts(text, "en") == text


def test_without_a_language_and_without_normalisation_nothing_is_understood() -> None:
    text = "It costs $5.99 on 2026-11-20."
    assert spoken(text) == text
    assert list(pieces(text, normalise=False, language="en")) == [text]
    assert list(pieces(text, language="en")) == ["It costs 5 dollars and 99 cents on November 20, 2026."]


HOSTILE = [
    "$",
    "$1",
    "$1,111",
    "$1.",
    "1–",
    "–1",
    "$1–",
    "+",
    "+1 ",
    "+1(",
    "(111)",
    "111-",
    "1-1",
    "2026-",
    "2026-11-20",
    "1,",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_lines_are_little_work(unit: str) -> None:
    assert grows_like_the_text(lambda text: with_amounts(text, "en"), unit, size=5_000)


def test_a_long_number_after_a_plus_is_little_work() -> None:
    text = f"+{'1' * 45}x " * 100
    start = time.thread_time()
    assert with_amounts(text, "en") == text
    assert (
        time.thread_time() - start < 0.2
    )  # it takes a millisecond; each way to cut the digits into groups took seconds
