"""Text -> pieces to speak: the first short, so that speech starts at once, then sentences. Rules only.

Text is cut twice: as it is written, into stretches that end with a sentence and hold whole links, emphasis and addresses; and, once
these are turned into what is to be spoken, into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from speaches.text.abbreviations import LONGEST_ABBREVIATION
from speaches.text.boundaries import FIRST_CLAUSE, Cut, next_cut
from speaches.text.markup import PAUSE, Part, pause_of
from speaches.text.spoken import Reader, spoken
from speaches.text.weights import LONGEST, weight

__all__ = ["FIRST_CLAUSE", "LONGEST", "Splitter", "pieces", "steps"]

BLOCK = 512  # characters of a text that are looked at together
_CLAUSES_TRIED = 3  # to find one that is long enough when it is spoken
_MUCH_SPACE = re.compile(r"[^\S\n]*+\n\s*+|[^\S\n]{2,}+")


def pieces(text: str, *, normalise: bool = True, language: str | None = None) -> Iterator[Part]:
    """Cut text into pieces and pauses, lazily.

    No piece is empty, or longer than LONGEST letters of English (fewer of other characters), unless it is one notation of phonemes.
    Without `normalise` they are the text, put together, up to white space between them. `language` as in `spoken`.
    """
    return (part for part in steps(text, normalise=normalise, language=language) if part is not None)


def steps(text: str, *, normalise: bool = True, language: str | None = None) -> Generator[Part | None, None, None]:
    """As `pieces`, with a None after each BLOCK of the text, so that whoever looks through one without pieces can stop."""
    splitter = Splitter(normalise=normalise, language=language)
    for block in _blocks(text):
        yield from splitter.take(block)
        yield None
    yield from splitter.take(None)


class Splitter:
    """Cuts a text that is still being written. However it comes, the pieces are those of `pieces`."""

    def __init__(self, *, normalise: bool = True, language: str | None = None) -> None:
        self._language = language
        self._reader = Reader(language) if normalise else None
        self._text = "\n"
        """What is not spoken yet, from `_start` on. Before it is the last character that is, for rules that look back."""
        self._start = 1
        self._line = 1
        """Where the line at `_start` begins; it may be gone."""
        self._starts_line = True
        self._wraps = True
        """Whether the line may go on in the next one."""
        self._first = True
        """Whether nothing has been spoken yet."""

    def push(self, delta: str) -> list[Part]:
        """More of the text -> the pieces that are certain with it."""
        return [part for block in _blocks(delta) for part in self.take(block)]

    def finish(self) -> list[Part]:
        """The pieces of what is left, at the end of the text."""
        return list(self.take(None))

    def rest(self) -> list[Part]:
        """The pieces of what is left where that ends with a sentence, by all that can be known without the text that follows.

        For when none has come for a while: else the last sentence waits for the first word of the next one. The text may go on.
        """
        return self.finish() if self._ends_with_sentence() else []

    def _ends_with_sentence(self) -> bool:
        left = self._text.rstrip()
        if left[-2:-1].isdecimal() and left.endswith("."):  # "3." may become "3.5"
            return False
        start, followed = self._start, f"{left} A{' ' * LONGEST_ABBREVIATION}"
        while start < len(left):
            cut = next_cut(followed, start, final=False, markdown=self._reader is not None)
            if cut is None or cut.kind == "length":
                return False
            if cut.end == len(left):
                return cut.kind == "sentence"
            start = _after_space(followed, cut.end)
        return False

    def take(self, delta: str | None) -> Iterator[Part]:
        """As `push` for at most BLOCK characters, or `finish` with None, but one at a time. All must be taken before the next call."""
        final = delta is None
        self._add(delta or "")
        self._skip_space()
        while self._start < len(self._text) and (cut := self._next_cut(final)):
            yield from self._parts(cut)
            self._start = cut.end
            self._starts_line = False
            self._skip_space()

    def _add(self, delta: str) -> None:
        """Put text behind what is left. Much white space becomes a space, the end of a line or that of a paragraph."""
        before, left = self._text[self._start - 1], self._text[self._start :]
        self._line -= self._start - 1
        self._start = 1
        self._text = before + _MUCH_SPACE.sub(_little_space, left + delta)

    def _skip_space(self) -> None:
        while self._start < len(self._text) and self._text[self._start].isspace():
            if self._text[self._start] == "\n":
                self._starts_line = True
                self._line = self._start + 1
            self._start += 1
        if self._starts_line and self._start < len(self._text):
            fenced = self._reader is not None and self._reader.fenced
            self._wraps = not fenced and self._text[self._start] not in "#|"

    def _next_cut(self, final: bool) -> Cut | None:
        clause_from = self._start if self._first else None
        for _ in range(_CLAUSES_TRIED):
            cut = self._cut(final, clause_from)
            if cut is None or cut.kind != "clause" or self._is_long_enough(cut):
                return cut
            clause_from = cut.end
        return self._cut(final, None)

    def _cut(self, final: bool, clause_from: int | None) -> Cut | None:
        return next_cut(
            self._text,
            self._start,
            final=final,
            markdown=self._reader is not None,
            clause_from=clause_from,
            line=self._line if self._wraps else None,
        )

    def _is_long_enough(self, clause: Cut) -> bool:
        text = self._text[self._start : clause.end]
        return weight(spoken(text, self._language) if self._reader else text) >= FIRST_CLAUSE

    def _parts(self, cut: Cut) -> Iterator[Part]:
        stretch = self._text[self._start : cut.end].strip()
        if cut.kind == "pause" and (pause := PAUSE.match(stretch)):
            yield pause_of(pause)
            return
        text = stretch = stretch.replace("\n", " ")
        if self._reader is not None:
            ends_line = self._text[cut.end : cut.end + 1] in ("", "\n")
            text = self._reader.read(stretch, starts_line=self._starts_line, ends_line=ends_line)
        if text == stretch and cut.kind != "length":  # as most are: there is no other place to cut
            self._first = False
            yield text
            return
        before = "\n" if self._starts_line else " "  # the number of an item is one only at the start of a line
        for part in _final_parts(before + text, first=self._first):
            self._first = self._first and not isinstance(part, str)
            yield part


def _blocks(text: str) -> Iterator[str]:
    return (text[start : start + BLOCK] for start in range(0, len(text), BLOCK))


def _final_parts(text: str, *, first: bool) -> Iterator[Part]:
    """The pieces of a text that is to be spoken as it is. Its first character is only there to be looked back at."""
    start = 1
    while (start := _after_space(text, start)) < len(text):
        cut = next_cut(text, start, final=True, markdown=False, clause_from=start if first else None)
        assert cut is not None, "a final text is certain"
        piece = text[start : cut.end].strip()
        pause = PAUSE.match(piece) if cut.kind == "pause" else None
        yield pause_of(pause) if pause else piece
        first = first and pause is not None
        start = cut.end


def _after_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _little_space(found: re.Match[str]) -> str:
    return "\n" * min(found[0].count("\n"), 2) or " "
