"""Text as strangers send it -> text that a C library takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

# NUL ends a C string, half a surrogate pair has no UTF-8 (JSON can carry both), and nobody wants to hear the others.
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Marks of direction, joints and the like, which would tear a word apart. Not those that Persian or Hindi are written with.
_INVISIBLE = re.compile(r"[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# Letters and digits that are there twice in Unicode: wide and narrow ones, ligatures, Roman numbers, those of mathematics. The second
# kind is one word each, such as "②".
_DOUBLE = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\ufb00-\ufb06\u2160-\u217f\u2103\u2109\U0001d400-\U0001d7ff]+"
    "|(?P<word>[\u2460-\u24ff\u3200-\u33ff])"
)

# What espeak-ng holds at once is limited, and it says nothing of the rest: of a word some 25 digits, 19 letters that it spells, 50 of
# another alphabet or 120 Latin ones; of a clause 1000 phonemes.
_CONSONANTS = "[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]"
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # kana and Chinese characters: each is a word to espeak-ng
_OTHER = rf"[^\s!-~\u2000-\u206f\u3000-\u303f\uff00-\uff20{_UNSPACED}]"
_LONG_RUN = (
    rf"[0-9]{{16}}(?=[0-9])|{_CONSONANTS}{{15}}(?={_CONSONANTS})|[!-~]{{60}}(?=[!-~])"
    rf"|{_OTHER}{{30}}(?={_OTHER})|[{_UNSPACED}]{{60}}(?=[{_UNSPACED}])"
)

MOST_PHONEMES = 900
PHONEMES_OF_DIGIT = 8  # "seven", with its space and a bit
PHONEMES_OF_LETTER = 3
PHONEMES_OF_SPELT = 10  # "double-u"
PHONEMES_OF_OTHER = 20  # "Chinese letter"


def plain(text: str) -> str:
    """A space for each control character and lone surrogate."""
    return _UNSPEAKABLE.sub(" ", text)


def speakable(text: str) -> str:
    """The text as `plain` leaves it, each character written in the way that engines know: "e" and an accent as "é", "ﬁ" as "fi"."""
    text = plain(text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _DOUBLE.sub(_usual, _INVISIBLE.sub("", text)))


def _usual(found: re.Match[str]) -> str:
    usual = unicodedata.normalize("NFKC", found[0])
    return f"{usual} " if found["word"] else usual


def breakable(text: str) -> str:
    """The text with spaces in what is too long to be one word: of a wall of digits or of Thai, espeak-ng would say the beginning."""
    return _long_run().sub(r"\g<0> ", text)


@cache
def _long_run() -> re.Pattern[str]:
    return re.compile(_LONG_RUN)  # takes 12 ms, which no start should wait for


def portions(text: str) -> Iterator[str]:
    """Cut a text into what espeak-ng takes at once, after white space or a mark where there is one.

    Together they are the text, but for the spaces in walls of letters.
    """
    broken = breakable(text)
    letter = PHONEMES_OF_LETTER if broken == text else PHONEMES_OF_SPELT
    start, cut, phonemes, since_cut = 0, 0, 0, 0
    for place, character in enumerate(broken):
        own = PHONEMES_OF_DIGIT if character.isdigit() else letter if character < "\u0370" else PHONEMES_OF_OTHER
        if phonemes + own > MOST_PHONEMES:
            end = cut if cut > start else place
            yield broken[start:end]
            phonemes = since_cut if cut > start else 0
            start, since_cut = end, phonemes
        phonemes += own
        since_cut += own
        if not character.isalnum():
            cut, since_cut = place + 1, 0
    if start < len(broken):
        yield broken[start:]
