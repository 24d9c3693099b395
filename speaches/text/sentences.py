"""Text -> pieces to speak: the first short, so that speech starts at once, then sentences. Rules only."""

from __future__ import annotations

import re
from collections.abc import Iterator

FIRST_CLAUSE = 20  # characters at least before the first piece may end at a comma
LONGEST = 300  # characters of a piece; engines read longer ones less well, and the first audio of one takes longer

# An end mark, closing quotes or brackets, and then a space; or an East Asian mark, which needs none.
# A run of marks is looked at once (lookbehind, possessive): from each of its marks anew, a text of a million dots would take hours.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？｡]+[」』”’）]*|\n\s*\n|\n")
_CLAUSE = re.compile(r"[,;:—–]+(?=\s)|[、，；：]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:(?:[A-Z]\.)*[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|cf|No|Nr|bzw|ca|usw|approx|Inc|Ltd|Co|Corp|Fig|Vol|pp?)\.$"
)


def pieces(text: str) -> Iterator[str]:
    """Cut text into pieces, lazily. Put together they are the text, up to white space between them."""
    first = True
    for sentence in _sentences(text):
        for part in _bounded(sentence):
            if first and (cut := _first_clause(part)):
                yield part[:cut].strip()
                part = part[cut:].strip()
            first = False
            yield part


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        if _ABBREVIATION.search(text[max(start, end.end() - 12) : end.end()]):
            continue
        if sentence := text[start : end.end()].strip():
            yield sentence
        start = end.end()
    if rest := text[start:].strip():
        yield rest


def _first_clause(sentence: str) -> int | None:
    """Where the first clause ends, if it is long enough and something follows."""
    for mark in _CLAUSE.finditer(sentence, FIRST_CLAUSE - 1):
        return mark.end() if sentence[mark.end() :].strip() else None
    return None


def _bounded(sentence: str) -> Iterator[str]:
    """Cut a long sentence at its last clause or word that fits; where there is none, anywhere."""
    while len(sentence) > LONGEST:
        marks = [mark.end() for mark in _CLAUSE.finditer(sentence, LONGEST // 3, LONGEST)]
        cut = marks[-1] if marks else sentence.rfind(" ", LONGEST // 3, LONGEST)
        if cut <= 0:
            cut = LONGEST
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    if sentence:
        yield sentence
