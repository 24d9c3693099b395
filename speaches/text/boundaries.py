"""Where a text may be cut: at the ends of sentences, else of clauses, else between words, else between characters. Rules only.

White space in the text is one space, or one or two ends of lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from speaches.text.abbreviations import LONGEST_ABBREVIATION, is_abbreviation, is_day
from speaches.text.markup import LONGEST_NOTATION, NOTATION, PAUSE
from speaches.text.spoken import CODE, EMPHASIS, LINK, LONGEST_SPAN, TAG, UNSPACED, URL
from speaches.text.weights import reach, weight

FIRST_CLAUSE = 20  # characters at least before the first piece may end at a comma
WRAPPED = 40  # characters at least of a line that goes on in the next one, if that begins with a small letter

_CLOSING_MARKS = "\"'”’“‘»«›‹)]*_~`"  # some of them open in other languages, but then a word follows
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
    r"|(?P<open>!?\[|<(?=[/A-Za-z]|!(?:--|-?\Z)|\Z)|`{1,2}"
    rf"|(?<![^\W_{UNSPACED}])(?:\*{{1,3}}|_{{1,3}}|~~?)))"
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
_QUOTED = ("と", "っ")
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


_Found: TypeAlias = Cut | Literal["too long", "unsure"] | None
"""What an event tells of the end of a stretch: where it is, that it should have come, that more of the text must come first, or nothing."""


def next_cut(
    text: str, start: int, *, final: bool, markdown: bool, clause_from: int | None = None, line: int | None = None
) -> Cut | None:
    """Where the stretch that begins at `start`, which is no white space, ends.

    None: more of the text must come before that is certain, unless it is `final`. Text that comes later never changes an answer.
    `clause_from`: the index from which a clause may end it, too, if it is long enough and something follows.
    `line`: the index at which its line begins, if lines may go on in the next one.
    """
    stretch = _Stretch(text, start, final, clause_from, line)
    found: _Found = None
    for event in (_MARKDOWN if markdown else _PLAIN).finditer(text, start):
        if (found := stretch.at(event)) is not None:
            break
    if isinstance(found, Cut):
        return found
    return None if found == "unsure" else stretch.without_end(found)


class _Stretch:
    """A stretch of text whose end is looked for, one event after the other."""

    def __init__(self, text: str, start: int, final: bool, clause_from: int | None, line: int | None) -> None:
        self._text = text
        self._start = start
        self._final = final
        self._clause_from = clause_from
        self._line = line
        self._until = -1 if final else len(text)
        """The index from which on more is to come."""
        self._limit = reach(text, start)
        """The index up to which it may go."""
        self._clause = start
        """Where its last clause so far ends."""
        self._space = start
        """Where its last word so far ends, with the space after it."""

    def at(self, event: re.Match[str]) -> _Found:
        """What an event tells. Events come in order, up to the first that tells something."""
        if event.start() > self._limit:
            return "too long"
        if event.end() == self._until and self._may_grow(event):
            return "unsure"
        rule = _RULES.get(event.lastgroup)
        return rule(self, event) if rule else None

    def without_end(self, found: Literal["too long"] | None) -> Cut | None:
        """The answer where no event ends it: cut it, if that is needed."""
        text, limit = self._text, self._limit
        if found is None and self._final and limit == len(text):
            return Cut(limit, "rest")
        if not self._final and len(text) < limit + _MARGIN:
            return None
        return Cut(_best(text, self._start, limit, self._clause, self._space), "length")

    def _may_grow(self, event: re.Match[str]) -> bool:
        """Whether more of the text may make something else of an event that ends with what there is."""
        kind = event.lastgroup
        if kind in ("open", "pause") or event[0] == "\n\n":
            return False
        return event.end() <= self._limit or kind in _WHOLE

    # --- What ends it, by kind of event ---

    def _open(self, event: re.Match[str]) -> _Found:
        return "unsure" if not self._final and _NOT_OVER.match(self._text, event.start()) else None

    def _pause(self, event: re.Match[str]) -> _Found:
        return Cut(event.end(), "pause") if event.start() == self._start else Cut(event.start(), "rest")

    def _whole(self, event: re.Match[str]) -> _Found:
        """Nothing is cut in it: it ends before the limit, or the stretch ends before it, or is it alone."""
        if event.end() <= self._limit:
            return None
        if event.start() == self._start:
            return Cut(event.end(), "length")
        self._limit = event.start()
        return "too long"

    def _line_end(self, event: re.Match[str]) -> _Found:
        if self._line is None or not _goes_on(self._text, self._line, event):
            return Cut(event.start(), "line")
        self._line = self._space = event.end()
        return None

    def _space_after(self, event: re.Match[str]) -> _Found:
        self._space = end = event.end()
        ends_clause = _SPACED_CLAUSES.match(self._text, event.start() - 1) and _SPACED_CLAUSES.match(self._text, end)
        return self._clause_to(end) if ends_clause else None

    def _marks(self, event: re.Match[str]) -> _Found:
        """Marks with a space after them: the end of a sentence or of a clause, or a part of a word."""
        if event.end() > self._limit:
            return "too long"
        ending = _ending(self._text, self._start, event, self._final)
        if ending == "clause":
            return self._clause_to(event.end())
        return Cut(event.end(), "sentence") if ending == "sentence" else ending

    def _bare_marks(self, event: re.Match[str]) -> _Found:
        end = event.end()
        if end > self._limit:
            return "too long"
        # 「はい。」と: the sentence goes on with who said that.
        return None if event[0][-1] in "」』" and self._text[end : end + 1] in _QUOTED else Cut(end, "sentence")

    def _clause_mark(self, event: re.Match[str]) -> _Found:
        return self._clause_to(event.end()) if event.end() <= self._limit else "too long"

    def _clause_to(self, end: int) -> _Found:
        """A clause ends here, and the stretch with it where it may."""
        if self._may_end_at(end):
            follows = _follows(self._text, end, self._final)
            if follows != "no":
                return Cut(end, "clause") if follows == "yes" else follows
        self._clause = end
        return None

    def _may_end_at(self, clause: int) -> bool:
        from_ = self._clause_from
        return (
            from_ is not None and clause > from_ and weight(self._text[self._start : clause].rstrip()) >= FIRST_CLAUSE
        )


_RULES: dict[str | None, Callable[[_Stretch, re.Match[str]], _Found]] = {
    "open": _Stretch._open,
    "notation": _Stretch._whole,
    "atom": _Stretch._whole,
    "row": _Stretch._whole,
    "pause": _Stretch._pause,
    "line": _Stretch._line_end,
    "end": _Stretch._marks,
    "bare_end": _Stretch._bare_marks,
    "clause": _Stretch._clause_mark,
    "space": _Stretch._space_after,
}
"""Group of _PLAIN and _MARKDOWN -> what it tells. A marker tells nothing; it is there so that its full stop is no mark."""


def _follows(text: str, end: int, final: bool) -> Literal["yes", "no", "unsure"]:
    """Whether something follows in the line, and not as 2026 does in "November 20, 2026"."""
    after = text[end : end + 2].lstrip(" ")
    if after:
        within = after[0].isdigit() and text[end - 1] == "," and text[end - 2 : end - 1].isdigit()
        return "no" if within or after[0] == "\n" else "yes"
    return "no" if final else "unsure"


def _goes_on(text: str, line: int, event: re.Match[str]) -> bool:
    """Whether a line that began at `line` was only broken because it is long."""
    return (
        len(event[0]) == 1
        and event.start() - line >= WRAPPED
        and text[event.end() : event.end() + 1].islower()
        and (text[event.start() - 1].isalnum() or text[event.start() - 1] in ",-–—)\"'")
    )


def _ending(text: str, start: int, event: re.Match[str], final: bool) -> Literal["sentence", "clause", "unsure"] | None:
    """What ends at marks that are followed by white space; None if nothing does."""
    end = event.end()
    ends_line = text[end : end + 1] == "\n"
    after = "" if ends_line else text[end + 1 : end + 2]
    if not ends_line and not after and not final:
        return "unsure"
    if event[0] == ".":
        before = text[max(start, end - LONGEST_ABBREVIATION) : end]
        if not ends_line and end + 4 > len(text) and not final and is_day(before):
            return "unsure"
        if is_abbreviation(before, "" if ends_line else text[end + 1 : end + 4]):
            return None
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
