"""Where a text may be cut: at the ends of sentences, else of clauses, else between words, else between characters. Rules only.

White space in the text is one space, or one or two ends of lines.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, TypeAlias

from speaches.text.abbreviations import LONGEST_ABBREVIATION, is_abbreviation, is_day
from speaches.text.markup import LONGEST_NOTATION, NOTATION, PAUSE
from speaches.text.spoken import CODE, EMPHASIS, LINK, LONGEST_SPAN, TAG, UNSPACED, URL

FIRST_CLAUSE = 20  # characters at least before the first piece may end at a comma
LONGEST = 300  # characters of a piece; engines read longer ones less well, and the first audio of one takes longer
WRAPPED = 40  # characters at least of a line that goes on in the next one, if that begins with a small letter

# Kokoro takes 510 phonemes at once. Of English words espeak-ng makes 1.1 a character, of French ones 1.5.
_WEIGHTS = (
    (r"\d", 6),  # 11 in "1234567 "
    (r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]", 4),  # 6 or 7, with their tones
    (r"[\u3040-\u30ff\uac00-\ud7af]", 3),
    (r"[%$€£&@#*/\\+=<>~^|©®™°→←]", 4),  # "percent", "asterisk"
    (r"[A-Z]", 2),  # spelt, as in "BBC"
)
_HEAVY = re.compile("|".join(f"({characters})" for characters, _ in _WEIGHTS))

_CLOSING_MARKS = "\"'”’“»)]*_~`"
_CLOSING = f"[{re.escape(_CLOSING_MARKS)}]"
_MARKUP = rf"(?P<notation>{NOTATION.pattern})|(?P<pause>(?i:{PAUSE.pattern}))"
# A run of marks is looked at once (lookbehind, possessive): from each of them anew, the work would grow with their square.
_MARKS = (
    r"(?P<line>\n++)"
    rf"|(?P<end>(?<![.!?…])[.!?…]++{_CLOSING}*+(?:[^\S\n]»(?=\s|\Z))?(?=\s|\Z))"  # with the French "! »"
    # Marks of scripts that put no space after them, or in which they can't be part of a number.
    r"|(?P<bare_end>[。！？｡।॥؟۔။។።།]++[」』”’）】》]*+)"
    rf"|(?P<clause>(?<![,;:—–])[,;:—–]++{_CLOSING}*+(?=[^\S\n])|[、，；：،؛၊]++)"
    r"|(?P<space>[^\S\n]++)"
)
_ITEM = r"(?P<marker>(?<=\n)(?:\d{1,3}|[A-Za-z])[.)](?=\s))"
_PLAIN = re.compile(rf"{_ITEM}|(?=\W)(?:{_MARKUP}|{_MARKS}|(?P<open>\[))")
_MARKDOWN = re.compile(
    rf"{_ITEM}|(?=[\W_hHwW])(?:(?P<row>(?<=\n)\|[^\n]{{0,{2 * LONGEST_SPAN}}}+(?=\n|\Z))|{_MARKUP}"
    rf"|(?P<atom>{CODE}|{LINK}|{TAG}|{URL}|{EMPHASIS})|{_MARKS}"
    r"|(?P<open>!?\[|<(?=[/A-Za-z]|\Z)|`{1,2}|(?<![^\W_])(?:\*{1,3}|_{1,3}|~~?)))"
)
"""What a text may be cut at, and what it must not be cut in."""

_NOT_OVER = re.compile(
    rf"\[\[?[^\[\]\n]{{0,{LONGEST_NOTATION + 2}}}+\]?\Z"
    rf"|!?\[[^\[\]\n]{{0,{LONGEST_SPAN}}}+(?:\](?:\([^\n]{{0,{LONGEST_NOTATION + 2}}}+)?)?\Z"
    rf"|<[^<>\n]{{0,{LONGEST_SPAN}}}+\Z|`{{1,2}}[^`\n]{{0,{LONGEST_SPAN}}}+`?\Z"
    rf"|\*{{1,3}}(?:[^\s*][^*\n]{{0,{LONGEST_SPAN}}}+\*{{0,2}})?\Z|_{{1,3}}(?:[^\s_][^_\n]{{0,{LONGEST_SPAN}}}+_{{0,2}})?\Z"
    rf"|~~?(?:[^\s~][^~\n]{{0,{LONGEST_SPAN}}}+~?)?\Z"
)
"""What may still become notation, a link, code, a tag or emphasis when more of the text comes."""

_SPACED_CLAUSES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Burmese and Khmer put a space where others put a comma."""
_UNSPACED = re.compile(f"[{UNSPACED}]")
_RUN = re.compile(r"[0-9A-Za-z@._:/%+-]")
_JOINED = re.compile(r"[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\udc00-\udfff]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
_BEFORE_ITS_CONSONANT = "เแโใไ\u200d"
_FARTHEST_BACK = 60  # characters to look back for a better place than in the middle of something
_MARGIN = 8  # characters that must be there after a piece of full length, before it is cut

_WHOLE = ("notation", "atom", "row")

Kind: TypeAlias = Literal["sentence", "line", "clause", "length", "pause", "rest"]


@dataclass(frozen=True)
class Cut:
    """Where a stretch of text ends."""

    end: int
    """Its index in the text."""
    kind: Kind
    """What ends it. A pause is a stretch of its own; a `rest` is what is left before one, or before the end of the text."""


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


def next_cut(
    text: str, start: int, *, final: bool, markdown: bool, clause_from: int | None = None, line: int | None = None
) -> Cut | None:
    """Where the stretch that begins at `start`, which is no white space, ends.

    None: more of the text must come before that is certain, unless it is `final`. Text that comes later never changes an answer.
    `clause_from`: the index from which a clause may end it, too, if it is long enough and something follows.
    `line`: the index at which its line begins, if lines may go on in the next one.
    """
    limit = reach(text, start)
    clause = space = start
    for event in (_MARKDOWN if markdown else _PLAIN).finditer(text, start):
        kind, end = event.lastgroup, event.end()
        if event.start() > limit:
            break
        if kind == "open":
            if not final and _NOT_OVER.match(text, event.start()):
                return None
            continue
        if kind == "pause":
            return Cut(end, "pause") if event.start() == start else Cut(event.start(), "rest")
        if end == len(text) and not final and (end <= limit or kind in _WHOLE) and event[0] != "\n\n":
            return None
        if kind == "line":
            if line is None or not _goes_on(text, line, event):
                return Cut(event.start(), "line")
            line = space = end
            continue
        if kind == "space":
            space = end
            if not _SPACED_CLAUSES.match(text, event.start() - 1) or not _SPACED_CLAUSES.match(text, end):
                continue
        elif end > limit:
            if kind in _WHOLE:
                if event.start() == start and (markdown or kind == "notation"):
                    return Cut(end, "length")
                limit = min(limit, event.start())
            break
        elif kind == "end":
            ending = _ending(text, start, event, final)
            if ending is None:
                return None
            if ending == "sentence":
                return Cut(end, "sentence")
            if ending == "no":
                continue
        elif kind == "bare_end":
            return Cut(end, "sentence")
        elif kind != "clause":
            continue
        if clause_from is not None and end > clause_from and weight(text[start:end].rstrip()) >= FIRST_CLAUSE:
            follows = _follows(text, end, final)
            if follows is None:
                return None
            if follows:
                return Cut(end, "clause")
        clause = end
    else:
        if final and limit == len(text):
            return Cut(limit, "rest")
    if not final and len(text) < limit + _MARGIN:
        return None
    return Cut(_best(text, start, limit, clause, space), "length")


def _follows(text: str, end: int, final: bool) -> bool | None:
    """Whether something follows in the line; None if that is still to come."""
    after = text[end : end + 2].lstrip(" ")
    if after:
        return not after.startswith("\n")
    return False if final else None


def _goes_on(text: str, line: int, event: re.Match[str]) -> bool:
    """Whether a line that began at `line` was only broken because it is long."""
    return (
        len(event[0]) == 1
        and event.start() - line >= WRAPPED
        and text[event.end() : event.end() + 1].islower()
        and (text[event.start() - 1].isalnum() or text[event.start() - 1] in ",-–—)\"'")
    )


def _ending(text: str, start: int, event: re.Match[str], final: bool) -> Literal["sentence", "clause", "no"] | None:
    """What ends at marks that are followed by white space; None if the text after them must come first."""
    end = event.end()
    ends_line = text[end : end + 1] == "\n"
    after = "" if ends_line else text[end + 1 : end + 2]
    if not ends_line and not after and not final:
        return None
    if event[0] == ".":
        before = text[max(start, end - LONGEST_ABBREVIATION) : end]
        if not ends_line and end + 4 > len(text) and not final and is_day(before):
            return None
        if is_abbreviation(before, "" if ends_line else text[end + 1 : end + 4]):
            return "no"
    if after.islower() and (event[0].rstrip(_CLOSING_MARKS)[-1:] in ".…" or event[0][-1] not in "!?"):
        return "clause"
    return "sentence"


def _best(text: str, start: int, limit: int, clause: int, space: int) -> int:
    """Where to cut a stretch that is too long: at a clause of its later part, else between words, else between characters."""
    later = start + (limit - start) // 3
    if clause > later:
        return clause
    if space > later or (space > start and not _UNSPACED.match(text, limit - 1)):
        return space
    floor = max(start + 1, limit - _FARTHEST_BACK)
    places = range(limit, floor, -1)
    whole = (at for at in places if not _joined(text, at))
    between = next((at for at in whole if not (_RUN.match(text, at - 1) and _RUN.match(text, at))), None)
    return between or next((at for at in places if not _joined(text, at)), limit)


def _joined(text: str, at: int) -> bool:
    """Whether the characters around an index are seen as one."""
    if at >= len(text):
        return False
    if text[at - 1] in _BEFORE_ITS_CONSONANT or _JOINED.match(text, at) or unicodedata.category(text[at])[0] == "M":
        return True
    flags = 0
    while flags < _FARTHEST_BACK and at > flags and _FLAG.match(text, at - 1 - flags):
        flags += 1
    return flags % 2 == 1 and _FLAG.match(text, at) is not None
