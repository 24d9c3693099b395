"""Words with times -> subtitle cues that a person can read. Rules only.

The limits are those of broadcasters: two lines of 42 characters, seven seconds
(https://partnerhelp.netflixstudios.com/hc/en-us/articles/215758617, EBU-TT-D). A cue ends at the end of a sentence, at a pause and where
the speaker changes; a sentence that is too long is cut after a comma if there is one in its later part, else between words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from speaches.text.abbreviations import is_abbreviation
from speaches.text.subtitles import Cue
from speaches.text.words import sticks, unspaced

_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]」』）]*$")
_CLAUSE_END = re.compile(r"[,;:、，；：]$")
SHORTEST = 0.04  # seconds, one frame of film: a cue must not end where it begins


@dataclass(frozen=True)
class CueOptions:
    max_chars: int = 42
    """Characters of a line."""
    max_lines: int = 2
    max_seconds: float = 7.0
    min_seconds: float = 0.8
    """A cue stays for as long where nothing follows it sooner: five sixths of a second is what broadcasters take for readable."""
    pause: float = 0.7
    """Seconds of silence that end a cue."""


@dataclass(frozen=True)
class Spoken:
    """A word as it is spoken, with whatever sticks to it."""

    text: str
    """With its leading space, where the language has spaces."""
    start: float
    end: float
    speaker: str | None = None


def cues(words: Iterable[Spoken], options: CueOptions = CueOptions(), until: float = math.inf) -> Iterator[Cue]:
    """Group words into cues, in order. No word is cut or left out.

    Args:
        until: Where the recording ends, in seconds; no cue is made to stay for longer.
    """
    held: Cue | None = None
    for cue in _grouped(words, options):
        if held is not None:
            yield _readable(held, cue.start, options)
        held = cue
    if held is not None:
        yield _readable(held, until, options)


def _readable(cue: Cue, until: float, options: CueOptions) -> Cue:
    """The cue, staying for the least time of one as far as nothing else begins before."""
    wanted = cue.start + min(options.min_seconds, options.max_seconds)
    return replace(cue, end=max(cue.end, min(wanted, until)))


def _grouped(words: Iterable[Spoken], options: CueOptions) -> Iterator[Cue]:
    """Cues that end with their words."""
    open_cue: list[Spoken] = []
    for word in _whole(words):
        if open_cue and _must_break(open_cue[-1], word, options):
            yield _cue(open_cue, options)
            open_cue = []
        while open_cue and not _fits([*open_cue, word], options):
            cut = _best_cut(open_cue)
            yield _cue(open_cue[:cut], options)
            open_cue = open_cue[cut:]
        open_cue.append(word)
    if open_cue:
        yield _cue(open_cue, options)


def _whole(words: Iterable[Spoken]) -> Iterator[Spoken]:
    """Put the parts of words together, where they are not yet."""
    held: Spoken | None = None
    for word in words:
        if not word.text.strip():
            continue
        if held is not None and word.speaker == held.speaker and sticks(held.text, word.text):
            held = Spoken(held.text + word.text, held.start, max(held.end, word.end), held.speaker)
            continue
        if held is not None:
            yield held
        held = word
    if held is not None:
        yield held


def _must_break(last: Spoken, word: Spoken, options: CueOptions) -> bool:
    return (
        word.speaker != last.speaker
        or word.start - last.end >= options.pause
        or _ends_sentence(last.text.strip(), word.text.strip())
    )


def _ends_sentence(last: str, following: str) -> bool:
    end = _SENTENCE_END.search(last)
    return end is not None and not (end[0] == "." and is_abbreviation(last, following))


def _fits(words: Sequence[Spoken], options: CueOptions) -> bool:
    if words[-1].end - words[0].start > options.max_seconds:
        return False
    return len(_wrapped(_text(words), options.max_chars)) <= options.max_lines


def _best_cut(words: Sequence[Spoken]) -> int:
    """After how many words to end a cue that can't hold the next one: the last clause of its later half, else all of it."""
    for count in range(len(words), len(words) // 2, -1):
        if count < len(words) and _CLAUSE_END.search(words[count - 1].text):
            return count
    return len(words)


def _cue(words: Sequence[Spoken], options: CueOptions) -> Cue:
    start = words[0].start
    # A recogniser may give one word all of a pause.
    end = min(max(words[-1].end, start + SHORTEST), start + options.max_seconds)
    return Cue(start, end, "\n".join(_wrapped(_text(words), options.max_chars)))


def _text(words: Sequence[Spoken]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; two of about the same length where two are enough. A longer word has a line of its own."""
    if len(text) <= width:
        return [text]
    places = [match.start() for match in re.finditer(" ", text)] or [
        place for place in range(1, len(text)) if unspaced().match(text[place])
    ]
    halves = [
        (abs(len(text) - 2 * place), place) for place in places if place <= width and len(text[place:].strip()) <= width
    ]
    if halves:
        _, place = min(halves)
        return [text[:place].rstrip(), text[place:].lstrip()]
    first = max((place for place in places if place <= width), default=min(places, default=len(text)))
    rest = text[first:].strip()
    return [text[:first].rstrip(), *(_wrapped(rest, width) if rest else [])]
