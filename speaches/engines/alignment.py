"""Phonemes with their times -> the words as they are written. Rules only, but for `sounding`.

A voice model knows phonemes, in groups between spaces. Mostly a group is a word; but "123" is several, and "of the" is one. Then each word
is pronounced alone, and the words and groups that sound alike are matched in order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from speaches.engines.base import SpokenPhoneme, SpokenWord
from speaches.text.markup import Phonemes, Words

if TYPE_CHECKING:
    from speaches.engines.base import Samples

QUIET = 0.01  # of the loudest sample, -40 dB: less is silence
MOST_JOINED = 6  # words that may be one group
BAND = 10  # groups that a word may be away from where it is expected

_TONES = "→↗↘↓↑"
_STRESS = "ˈˌ"
# What is never spoken, so that it belongs to the word beside it: "a — b" is two words.
_SILENT = frozenset(".,;:!?…'\"`´-‐‑‒–—―()[]{}«»‹›“”„‘’‚¡¿、。，；：！？「」『』（）《》〈〉【】・·•|_~*")
# Kana and Chinese characters are written without spaces between words: each is a word here, with the punctuation around it.
_UNSPACED = "\u3040-\u30fa\u30fd-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FOLLOWS = "ーｰ々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ"


@cache  # a class of Chinese characters takes 2 ms, which no start should wait for
def _character() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


@cache
def _token() -> re.Pattern[str]:
    return re.compile(rf"[{_UNSPACED}](?:[^\w\s]|[{_FOLLOWS}])*|(?:(?![{_UNSPACED}])\S)+")


@dataclass(frozen=True)
class Written:
    """A word of a text, with the punctuation that clings to it."""

    text: str
    phonemes: str | None = None
    """Where the text tells them."""


def written(spans: Iterable[Words | Phonemes]) -> list[Written]:
    """The words of a text, in order. A dash or the like that stands alone belongs to the word before it."""
    words: list[Written] = []
    held = ""  # punctuation before the first word
    spaced = True  # whether white space is before the next token
    for span in spans:
        for token, space in _tokens(span):
            spaced = spaced or space
            if not isinstance(token, Written) and not set(token) - _SILENT:
                if words:
                    words[-1] = replace(words[-1], text=words[-1].text + " " * spaced + token)
                else:
                    held += token
            else:
                word = token if isinstance(token, Written) else Written(token)
                words.append(replace(word, text=held + " " * (spaced and bool(held)) + word.text))
                held = ""
            spaced = False
        spaced = isinstance(span, Words) and span.text[-1:].isspace()
    return words


def _tokens(span: Words | Phonemes) -> Iterator[tuple[str | Written, bool]]:
    """What stands between white space, and whether there is some before it."""
    if isinstance(span, Phonemes):
        yield Written(span.written or span.phonemes, span.phonemes), False
        return
    for match in _token().finditer(span.text):
        yield match[0], span.text[match.start() - 1 : match.start()].isspace()


def spoken_words(
    words: Sequence[Written], phonemes: Sequence[SpokenPhoneme], alone: Callable[[str], str], seconds: float
) -> tuple[SpokenWord, ...]:
    """The words with their times, in order, none before the one before it and all within the speech.

    Args:
        phonemes: As they were spoken, in order; " " parts groups.
        alone: The phonemes of a word by itself. Asked only where there are not as many groups as words.
        seconds: How long the speech is.
    """
    groups = _groups(phonemes)
    if not words:
        return ()
    # Chinese characters are words here, while a group is several of them: as many of both mean nothing.
    if len(groups) == len(words) and not any(_character().search(word.text) for word in words):
        return _timed(words, groups, seconds)
    spelt = [word.phonemes if word.phonemes is not None else alone(word.text) for word in words]
    return _timed(words, list(_matched(spelt, groups)), seconds)


def estimated(phonemes: Iterable[str], start: float, end: float) -> list[SpokenPhoneme]:
    """Phonemes with times from `start` to `end` seconds, as if each took about as long: a guess where the model does not tell."""
    spoken = list(phonemes)
    while spoken and _is_mark(spoken[-1]):  # the silence after the last one is no part of the time
        spoken.pop()
    edges = list(accumulate((_weight(phoneme) for phoneme in spoken), initial=0.0))
    scale = (end - start) / edges[-1] if edges[-1] else 0.0
    return [
        SpokenPhoneme(phoneme, start + first * scale, start + last * scale)
        for phoneme, (first, last) in zip(spoken, pairwise(edges), strict=True)
    ]


def sounding(samples: Samples, rate: int) -> tuple[float, float]:
    """Where sound begins and ends, in seconds: all but the silence at both ends."""
    import numpy as np

    loud = np.abs(samples)
    heard = np.flatnonzero(loud > QUIET * loud.max()) if len(samples) else loud
    return (float(heard[0] / rate), float((heard[-1] + 1) / rate)) if len(heard) else (0.0, len(samples) / rate)


# --- Groups ---


def is_sound(phoneme: str) -> bool:
    """Whether something of it is heard: no white space, punctuation or mark of stress."""
    return any(character.isalnum() and character not in _STRESS for character in phoneme)


def _is_mark(phoneme: str) -> bool:
    """Whether it is white space or punctuation: what follows a word rather than a part of it."""
    return not any(
        character.isalnum() or character in _TONES or unicodedata.combining(character) for character in phoneme
    )


def _groups(phonemes: Iterable[SpokenPhoneme]) -> list[list[SpokenPhoneme]]:
    """The phonemes between spaces, without the punctuation."""
    groups: list[list[SpokenPhoneme]] = [[]]
    for one in phonemes:
        if one.phoneme.isspace():
            groups.append([])
        elif not _is_mark(one.phoneme):
            groups[-1].append(one)
    return [group for group in groups if any(is_sound(one.phoneme) for one in group)]


def _weight(phoneme: str) -> float:
    if is_sound(phoneme):
        return 1.0
    return 4.0 if phoneme in ".!?…" else 2.0 if phoneme in ",;:—" else 0.0


# --- Words and groups that are not one to one ---


def _matched(spelt: Sequence[str], groups: Sequence[list[SpokenPhoneme]]) -> Iterator[list[SpokenPhoneme]]:
    """For each word, given as it is pronounced alone, the phonemes that are its own."""
    sounds = [_sounds(word) for word in spelt]
    heard = [_sounds("".join(one.phoneme for one in group)) for group in groups]
    spread = [len([part for part in word.split() if _sounds(part)]) for word in spelt]
    for (first, last), (start, end) in _blocks(sounds, heard, spread):
        phonemes = [one for group in groups[start:end] for one in group]
        yield from _shared(phonemes, [len(sound) for sound in sounds[first:last]])


def _sounds(phonemes: str) -> str:
    return "".join(phoneme for phoneme in phonemes if is_sound(phoneme) and phoneme != "ː")


def _blocks(
    sounds: Sequence[str], heard: Sequence[str], spread: Sequence[int]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Runs of words and the runs of groups that they are, so that alike are together: the cheapest way from the first to the last.

    Each is a word with any number of groups, or several words with one group. Where no way is found, all words share all groups.
    """
    expected = list(accumulate(spread, initial=0))
    scale = len(heard) / expected[-1] if expected[-1] else 0.0
    best: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {(0, 0): (0.0, (0, 0))}
    for word in range(len(sounds)):
        middle = round(expected[word] * scale)
        for group in range(max(0, middle - BAND), min(len(heard), middle + BAND) + 1):
            if (word, group) not in best:
                continue
            so_far = best[word, group][0]
            for words, groups in _steps(spread[word], len(sounds) - word, len(heard) - group):
                there = (word + words, group + groups)
                cost = so_far + _unlike("".join(sounds[word : there[0]]), "".join(heard[group : there[1]]))
                if there not in best or cost < best[there][0]:
                    best[there] = (cost, (word, group))
    place = (len(sounds), len(heard))
    if place not in best:
        return [((0, len(sounds)), (0, len(heard)))]
    way = []
    while place != (0, 0):
        before = best[place][1]
        way.append(((before[0], place[0]), (before[1], place[1])))
        place = before
    return way[::-1]


def _steps(spread: int, words: int, groups: int) -> Iterator[tuple[int, int]]:
    """How many words and groups may go together next, where the word alone is `spread` groups and so many words and groups are left."""
    yield from ((1, count) for count in range(min(spread + 2, groups) + 1))
    if groups:
        yield from ((count, 1) for count in range(2, min(MOST_JOINED, words) + 1))


def _unlike(word: str, group: str) -> float:
    """How little two pronunciations have to do with each other: their length, how they begin and how they end."""
    return abs(len(word) - len(group)) + (word[:1] != group[:1]) + (word[-1:] != group[-1:])


def _shared(phonemes: list[SpokenPhoneme], shares: Sequence[int]) -> Iterator[list[SpokenPhoneme]]:
    """Cut phonemes among words, in proportion."""
    whole = sum(shares)
    weights = shares if whole else [1] * len(shares)
    edges = [round(edge * len(phonemes) / (whole or len(shares))) for edge in accumulate(weights, initial=0)]
    yield from (phonemes[start:end] for start, end in pairwise(edges))


def _timed(
    words: Sequence[Written], phonemes: Sequence[Sequence[SpokenPhoneme]], seconds: float
) -> tuple[SpokenWord, ...]:
    """Each word from its first phoneme to its last. A word without any takes no time, after the one before it."""
    found: list[SpokenWord] = []
    now = 0.0
    for word, own in zip(words, phonemes, strict=True):
        inside = []
        start = now
        for one in own:
            first = min(max(one.start, now), seconds)
            now = min(max(one.end, first), seconds)
            inside.append(SpokenPhoneme(one.phoneme, first, now))
        found.append(SpokenWord(word.text, inside[0].start if inside else start, now, tuple(inside)))
    return tuple(found)
