"""Which parts of a text make one word."""

from __future__ import annotations

import pytest

from speaches.text.words import sticks


def words(*parts: str) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and sticks(joined[-1], part):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


@pytest.mark.parametrize(
    "parts",
    [
        [" $43", ",000"],
        [" 4", ".9", "%"],
        [" 50", ",000."],
        [" 3", ":00"],
        [" text", "-to", "-speech"],
        [" that", "'s"],
        [" U", ".S", "."],
        [" Hello", "!", "🙂"],
        [" caf", "\u0301e"],
        [" नम", "स्ते"],
        [" ", "Hello"],
        [" Hello", " "],
        [" 안", "녕"],
        [" (", "well", ")"],
        [" €", "5"],
        ["c", "'est"],
        [" va", " ?"],
        [" 4", ",9", " %"],
        [" 17", " €"],
        [" -", " Hello"],
        [" «", " mot", " »"],
    ],
)
def test_parts_without_a_space_between_them_are_one_word(parts: list[str]) -> None:
    assert words(*parts) == ["".join(parts)]


def test_marks_with_a_space_before_them_belong_to_their_word() -> None:
    assert words(" one", " two", " -", " three") == [" one", " two -", " three"]
    assert words(" dit", " «", " oui", " »", " et", " part") == [" dit", " « oui »", " et", " part"]
    assert words(" Smith", " &", " Sons") == [" Smith", " &", " Sons"]
    assert words(" costs", " $", "5", " a", " day") == [" costs", " $5", " a", " day"]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (["你", "好", "，", "世", "界", "。"], ["你", "好，", "世", "界。"]),
        (["用", "Py", "thon", "写"], ["用", "Python", "写"]),
        (["は", "¥", "10", "0", "です", "。"], ["は", "¥100", "です。"]),
        (["涨", "了", "4", ".", "9", "%", "的"], ["涨", "了", "4.9%", "的"]),
        (["他", "说", "「", "好", "」", "。"], ["他", "说", "「好」。"]),
        (["1", "、", "2", "、", "10", "。"], ["1、", "2、", "10。"]),
        (["好", "。", "Hello", " world"], ["好。", "Hello", " world"]),
        (["ส", "ว", "ั", "ส", "ด", "ี"], ["ส", "วั", "ส", "ดี"]),
        (["好", "🙂"], ["好", "🙂"]),
        ([" Open", "AI", "が"], [" OpenAI", "が"]),
    ],
)
def test_scripts_without_spaces_keep_their_characters_apart(parts: list[str], joined: list[str]) -> None:
    assert words(*parts) == joined
    assert "".join(joined) == "".join(parts)
