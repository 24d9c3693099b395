"""Text as strangers send it, made fit for a C library."""

from __future__ import annotations

import time
import unicodedata

import pytest

from speaches.text.plain import MOST_PHONEMES, breakable, plain, portions, speakable


def test_control_characters_and_lone_surrogates_become_spaces() -> None:
    assert plain("a\x00b\x1bc\ud800d\te\nf\ufffe") == "a b c d\te\nf "


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world!",
        "1234567890123456",
        "https://example.com/a/path?with=some&more=things",
        "สวัสดีครับทุกคน",
        "今天，" * 100,
        "",
    ],
)
def test_what_people_write_is_left_as_it_is(text: str) -> None:
    assert breakable(text) == text
    assert "".join(portions(text)) == text


@pytest.mark.parametrize(
    ("text", "longest"),
    [("7" * 300, 16), ("x" * 300, 15), ("xa" * 300, 60), ("ก" * 300, 30), ("🙂" * 300, 30), ("今" * 300, 60)],
)
def test_walls_get_spaces_and_lose_nothing(text: str, longest: int) -> None:
    broken = breakable(text)
    assert broken.replace(" ", "") == text
    assert max(map(len, broken.split())) == longest


def test_an_english_piece_is_one_portion_whatever_it_says() -> None:
    assert len(list(portions("word " * 60))) == 1


@pytest.mark.parametrize("text", ["1 " * 300, "今" * 300, "今天，" * 100, "Привет мир " * 30, "x" * 2000, "7" * 1000])
def test_portions_are_small_and_are_the_text_together(text: str) -> None:
    found = list(portions(text))
    assert "".join(found) == breakable(text)
    assert len(found) > 1
    assert all(1 <= len(portion) <= MOST_PHONEMES // 3 for portion in found)


def test_portions_end_after_a_space_or_a_mark_where_there_is_one() -> None:
    assert {portion[-1] for portion in list(portions("今天，" * 100))[:-1]} == {"，"}
    assert {portion[-1] for portion in list(portions("Привет мир " * 30))[:-1]} == {" "}


def test_a_text_of_a_million_characters_is_cut_soon() -> None:
    start = time.thread_time()
    for text in ("a" * 1_000_000, ". " * 500_000, "今" * 1_000_000):
        assert sum(map(len, portions(text))) >= 1_000_000
    assert time.thread_time() - start < 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301, Ma\u0308dchen, tie\u0302\u0301ng", "café, Mädchen, tiếng"),
        (unicodedata.normalize("NFD", "한글 が"), "한글 が"),
        ("ＡＢＣ１２３ ﬁne ｶﾞ 𝐇𝐞𝐥𝐥𝐨", "ABC123 fine ガ Hello"),
        ("①②, 5㎏", "1 2 , 5kg "),
        ("Ⅳ ℃", "IV °C"),
        ("Hel\u00adlo wo\u2060rd \u202ertl\u202c\ufeff", "Hello word rtl"),
        ("a\x00b", "a b"),
    ],
)
def test_a_character_that_can_be_written_in_two_ways_is_written_in_the_usual_one(text: str, expected: str) -> None:
    assert speakable(text) == speakable(expected) == expected


@pytest.mark.parametrize(
    "text", ["½ x² 5° ™ № ª … “a” «b» — 今天，好。「あ」", "می‌خواهم नमस्ते สวัสดี שלום", "🙂👩‍👩‍👧", "[[ həˈloʊ ç ]]"]
)
def test_what_engines_know_is_left_as_it_is(text: str) -> None:
    assert speakable(text) == text
