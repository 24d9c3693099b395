"""Thoughts within a text are told apart from the answer, however the text is cut."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.chat.thoughts import LONGEST_BEGIN, Thoughts, without_thoughts

TABLE = [
    ("Hello.", "Hello.", ""),
    ("<think>Hm.</think>Yes.", "Yes.", "Hm."),
    ("\n<think>\nHm. <b>So</b> </ think>\n</think>\n\n Yes.\n", "Yes.\n", "\nHm. <b>So</b> </ think>\n"),
    ("<thinking>Hm.</think></thinking>Yes.", "Yes.", "Hm.</think>"),
    ("<think></think>", "", ""),
    ("<think>Hm.</think> \n", "", "Hm."),
    ("<think>Hm.", "", "Hm."),
    ("<think>Hm.</thin", "", "Hm.</thin"),
    ("<think>Hm.<</think>Yes.", "Yes.", "Hm.<"),
    ("<think", "<think", ""),
    ("  ", "  ", ""),
    ("< 5 is less", "< 5 is less", ""),
    ("<table>", "<table>", ""),
    ("Write <think>Hm.</think> first.", "Write <think>Hm.</think> first.", ""),
    ("<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
]


@pytest.mark.parametrize(("text", "answer", "thoughts"), TABLE)
def test_what_stands_before_the_answer_are_thoughts(text: str, answer: str, thoughts: str) -> None:
    assert without_thoughts(text) == (answer, thoughts)


def put_together(parts: list[str]) -> tuple[str, str]:
    found, taken = Thoughts(), []
    for part in parts:
        taken.append(found.push(part))
    taken.append(found.finish())
    return "".join(answer for answer, _ in taken), "".join(thought for _, thought in taken)


@given(st.sampled_from(TABLE), st.data())
def test_it_does_not_matter_how_the_text_is_cut(row: tuple[str, str, str], data: st.DataObject) -> None:
    text, answer, thoughts = row
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert put_together(parts) == (answer, thoughts)
    assert put_together(list(text)) == (answer, thoughts)


def test_only_what_may_be_a_tag_is_held_back() -> None:
    thoughts = Thoughts()
    assert thoughts.push("<thi") == ("", "")
    assert thoughts.push("nk>Hm. So") == ("", "Hm. So")
    assert thoughts.push(" 1 < 2 <") == ("", " 1 < 2 ")
    assert thoughts.push("/think>") == ("", "")
    assert thoughts.push("Yes") == ("Yes", "")
    plain = Thoughts()
    assert plain.push("Yes") == ("Yes", "")
    assert plain.push(" <think>") == (" <think>", "")


def test_blanks_are_not_held_for_ever() -> None:
    thoughts = Thoughts()
    assert "".join(thoughts.push(" ")[0] for _ in range(LONGEST_BEGIN)) == " " * LONGEST_BEGIN


def test_long_thoughts_take_time_in_proportion() -> None:
    started, thoughts = perf_counter(), Thoughts()
    for _ in range(100_000):
        thoughts.push("<think>")
    assert perf_counter() - started < 5
