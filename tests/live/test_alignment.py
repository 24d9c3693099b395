from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.live.alignment import words_again


@pytest.mark.parametrize(
    ("known", "heard", "again"),
    [
        ("", "a b", 0),
        ("a b", "", 0),
        ("a b", "a b c", 2),
        ("a b", "a", 1),
        ("a x c", "a b c d", 3),
        ("a c", "a b c d", 3),
        ("a b b c", "a b c d", 3),
        ("ensure the", "in short the period", 3),
        ("no no", "no no no", 2),
        ("it was a", "it was the season", 3),
    ],
)
def test_words_are_known_again_though_some_are_heard_otherwise(known: str, heard: str, again: int) -> None:
    assert words_again(known.split(), heard.split()) == again


words = st.lists(st.sampled_from("abc"), max_size=8)


@given(words, words)
def test_no_other_start_of_what_is_heard_is_nearer_to_what_is_known(known: list[str], heard: list[str]) -> None:
    def distance(count: int) -> int:
        if not known or not count:
            return len(known) + count
        result = jiwer.process_words(" ".join(known), " ".join(heard[:count]))
        return result.substitutions + result.deletions + result.insertions

    assert distance(words_again(known, heard)) == min(map(distance, range(len(heard) + 1)))
