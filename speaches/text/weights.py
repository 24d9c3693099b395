"""How long a text is to speak: a digit is a word, a Chinese character a syllable or two. Rules only."""

from __future__ import annotations

import re

LONGEST = 300  # characters of a piece; engines read longer ones less well, and the first audio of one takes longer

# Kokoro takes 510 phonemes at once. Of English words espeak-ng makes 1.1 a character, of French ones 1.5.
_WEIGHTS = (
    (r"\d", 6),  # 11 in "1234567 "
    (r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]", 4),  # 6 or 7, with their tones
    (r"[\u3040-\u30ff\uac00-\ud7af]", 3),
    (r"[%$€£&@#*/\\+=<>~^|©®™°→←]", 4),  # "percent", "asterisk"
    (r"[A-Z]", 2),  # spelt, as in "BBC"
)
_HEAVY = re.compile("|".join(f"({characters})" for characters, _ in _WEIGHTS))


def weight(text: str) -> int:
    """How long a text is to speak, in letters of English."""
    return len(text) + sum(_extra(found) for found in _HEAVY.finditer(text))


def _extra(found: re.Match[str]) -> int:
    return _WEIGHTS[(found.lastindex or 1) - 1][1] - 1


def reach(text: str, start: int) -> int:
    """The index up to which a piece that begins at `start` may go."""
    left = LONGEST
    at = start
    for found in _HEAVY.finditer(text, start, start + LONGEST):
        left -= found.start() - at + 1 + _extra(found)
        at = found.end()
        if left < 0:
            return max(found.start() + min(left + 1 + _extra(found), 0), start + 1)
    return min(at + left, len(text))
