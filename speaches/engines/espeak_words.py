"""When espeak-ng says each word: its marks, and the words as they are written. Rules only."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from speaches.engines.base import SpokenPhoneme, SpokenWord
from speaches.engines.espeak_library import Mark

_WRITTEN = re.compile(r"\[\[[^\[\]]*+\]\]\S*|\S+")
# Thai to Myanmar, Khmer, kana, and Chinese characters: written without spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class _Group:
    """Words that the library says as one, such as "of the", and one that it says alone."""

    words: Sequence[str]
    start: int
    """Samples."""
    end: int
    """Samples; where the next begins."""


def spoken_words(text: str, marks: Sequence[Mark], length: int, rate: int) -> tuple[SpokenWord, ...]:
    """The words of a text with their times.

    Args:
        marks: What the library told while it spoke the text.
        length: Samples of the speech.
        rate: Hz.
    """
    phonemes = _phonemes([mark for mark in marks if mark.phoneme is not None], length)
    found: list[SpokenWord] = []
    for group in _groups(text, [mark for mark in marks if mark.phoneme is None], length):
        inside = [one for one in phonemes if group.start <= one[1] < group.end]
        found += _shared(group, inside, rate)
    return tuple(found)


def _groups(text: str, marks: Sequence[Mark], length: int) -> list[_Group]:
    """The library tells several places for a number or an address, and none for the second of a pair."""
    written = _written(text, {mark.place for mark in marks})
    places = [place for place, _ in written]
    begins: list[tuple[int, int]] = []  # (index of the word, sample)
    for mark in marks:
        index = max(bisect_right(places, mark.place) - 1, 0)
        if not begins or index > begins[-1][0]:
            begins.append((index if begins else 0, mark.sample))
    ends = [*begins, (len(written), length)]
    return [
        _Group([word for _, word in written[index:following]], start, max(start, min(end, length)))
        for (index, start), (following, end) in pairwise(ends)
    ]


def _written(text: str, spoken: set[int]) -> list[tuple[int, str]]:
    """Words as they are written, with the punctuation that clings to them, and where each begins."""
    found = []
    for match in _WRITTEN.finditer(text):
        inner = [at for at in range(match.start() + 1, match.end()) if at in spoken and _UNSPACED.match(text[at])]
        cuts = [match.start(), *inner, match.end()]
        found += [(start, text[start:end]) for start, end in pairwise(cuts)]
    return found


def _phonemes(marks: Sequence[Mark], length: int) -> list[tuple[str, int, int]]:
    """Phonemes with start and end in samples: without pauses, and without the `(en)` that tells a change of language."""
    ends = [*(mark.sample for mark in marks[1:]), length]
    return [
        (mark.phoneme, mark.sample, end)
        for mark, end in zip(marks, ends, strict=False)
        if mark.phoneme and not mark.phoneme.startswith("(") and mark.sample < end
    ]


def _shared(group: _Group, phonemes: Sequence[tuple[str, int, int]], rate: int) -> list[SpokenWord]:
    """The words of a group, each with its share of the time by its letters. What is not said, such as a dash, clings to the one before."""
    # The first phoneme of the next word may come a little after its mark.
    end = min(max((end for _, _, end in phonemes), default=group.end), group.end)
    letters = [sum(character.isalnum() for character in word) for word in group.words]
    if not any(letters):
        letters = [1] + [0] * (len(letters) - 1)  # an emoji, whose name was said
    found: list[SpokenWord] = []
    before, held = 0, ""
    for word, share in zip(group.words, letters, strict=True):
        if not share:
            if found:
                found[-1] = replace(found[-1], word=f"{found[-1].word} {word}")
            else:
                held += f"{word} "
            continue
        first, last = (group.start + (end - group.start) * part / sum(letters) for part in (before, before + share))
        before += share
        said = tuple(SpokenPhoneme(ipa, at / rate, to / rate) for ipa, at, to in phonemes if first <= at < last)
        found.append(SpokenWord(held + word, first / rate, last / rate, said))
    return found
