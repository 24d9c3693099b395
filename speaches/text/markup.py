"""What a text to speak may hold besides words: pauses and phonemes. Rules only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

LONGEST_PAUSE = 30.0  # seconds; a longer one is made this long
MOST_PAUSED = 600.0  # seconds of all pauses of an answer: each is few characters to send, and much audio
LONGEST_NOTATION = (
    400  # characters of phonemes; what is longer is ordinary text, so that nobody has to look far for its end
)
LONGEST_WRITTEN = 80  # characters of the word that they stand for


@dataclass(frozen=True)
class Pause:
    """Silence that the text asks for, as in `[pause:0.5s]`."""

    seconds: float


Part: TypeAlias = str | Pause
"""A piece of text to speak in one go, or a silence."""


@dataclass(frozen=True)
class Words:
    """Text to pronounce, with its white space."""

    text: str


@dataclass(frozen=True)
class Phonemes:
    """How to pronounce something, in the engine's phonemes: `[[ həloʊ ]]` or `[hello](/həloʊ/)`."""

    phonemes: str
    """Without white space around them; never empty."""
    written: str = ""
    """The word as it is written, where the notation has it."""


# Brackets end every repetition and nothing is given back (possessive), so no character is looked at more than a few times.
NOTATION = re.compile(
    rf"\[\[\s*+(?P<phonemes>[^\[\]\s][^\[\]\n]{{0,{LONGEST_NOTATION}}}+)\]\]"
    rf"|\[(?P<written>[^\[\]\n]{{1,{LONGEST_WRITTEN}}}+)\]\(/(?P<spelt>[^\[\]()/\n]{{1,{LONGEST_NOTATION}}}+)/\)"
)
"""Phonemes as Piper writes them, and as Kokoro (misaki) does."""

PAUSE = re.compile(
    r"\[pause:[ \t]{0,9}+(?P<number>(?:\d{1,9}+(?:\.\d{0,9}+)?|\.\d{1,9}+))[ \t]{0,9}+(?P<unit>ms|s)?\]", re.IGNORECASE
)


def spans(piece: str) -> list[Words | Phonemes]:
    """Cut a piece into what is to be pronounced and what tells how, in order.

    Nothing but the notation is left out: Words keep their white space, and are never empty. What only looks like notation is Words.
    """
    found: list[Words | Phonemes] = []
    start = 0
    for match in NOTATION.finditer(piece):
        phonemes = (match["phonemes"] or match["spelt"]).strip()
        if not phonemes:
            continue
        if match.start() > start:
            found.append(Words(piece[start : match.start()]))
        found.append(Phonemes(phonemes, (match["written"] or "").strip()))
        start = match.end()
    if start < len(piece):
        found.append(Words(piece[start:]))
    return found


def paused(text: str) -> float:
    """Seconds of all the pauses that a text asks for. Takes half a second for a megabyte of them."""
    return sum(pause_of(match).seconds for match in PAUSE.finditer(text))


def pause_of(match: re.Match[str]) -> Pause:
    """What a match of PAUSE asks for. Without a unit it is seconds."""
    number = float(match["number"])
    seconds = number / 1000 if (match["unit"] or "").lower() == "ms" else number
    return Pause(min(seconds, LONGEST_PAUSE))
