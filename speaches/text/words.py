"""Which parts of a text make one word. Rules only."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Thai, Lao, Burmese, Khmer, Japanese and Chinese put no spaces between words.
_UNSPACED = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
_WIDE = re.compile(r"[\u3001-\u303f\uff01-\uff65]")
"""Punctuation of these scripts: nobody puts a space after it."""
_OPENING = ("Ps", "Pi")
"""Categories of marks that belong to what follows: brackets and quotation marks."""

_SPOKEN_MARKS = "&@#*"
"""Punctuation to Unicode, words to people: "Smith & Sons"."""


@cache  # takes 2 ms, which no start should wait for
def unspaced() -> re.Pattern[str]:
    """A character of a script without spaces between words."""
    return re.compile(_UNSPACED)


def sticks(word: str, part: str) -> bool:
    """Whether `part` goes on with `word`: recognisers give ` $43`, `,000` for "$43,000" and ` text`, `-to` for "text-to".

    In scripts without spaces each part stays a word, but for marks: a vowel belongs to its letter, a full stop to what it ends.
    """
    said, more = word.strip(), part.strip()
    if _is_punctuation(said) or not more:
        return True
    first = more[0]
    kind = unicodedata.category(first)
    if part[0].isspace():
        # As in French: "Ça va ?", "4,9 %", "17 €".
        return (_is_punctuation(more) and kind not in _OPENING) or (kind == "Sc" and said[-1].isdecimal())
    if kind[0] == "M" or _opens(said):
        return True
    if unspaced().match(first):
        return False
    # Punctuation ends what is before it; anything else is a word of its own next to such a script, as in "用Python写".
    return (kind[0] == "P" and kind not in _OPENING) or not _ends_unspaced(word)


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(one)[0] == "P" and one not in _SPOKEN_MARKS for one in text)


def _opens(word: str) -> bool:
    """Whether it waits for what follows: `(`, `「`, a `$` before its number."""
    return unicodedata.category(word[-1]) in _OPENING or (len(word) == 1 and unicodedata.category(word) == "Sc")


def _ends_unspaced(word: str) -> bool:
    if _WIDE.match(word[-1]):
        return True
    end = len(word)
    while end and unicodedata.category(word[end - 1])[0] == "P":
        end -= 1
    return bool(end and unspaced().match(word[end - 1]))
