"""The words of a window as people count them: whole, with all of the text between them, and each with a length. Rules only.

faster-whisper gives " $43" and ",000" for "$43,000", words that begin where they end, and, where a token crosses from one segment to the
next, a segment the words of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, islice, pairwise, takewhile

from speaches.engines.base import Segment, Word
from speaches.text.words import sticks

SHORTEST_WORD = 0.06
"""Seconds, three of the frames by which Whisper counts: "a" in quick speech."""


def whole_words(segments: Sequence[Segment], duration: float) -> tuple[Segment, ...]:
    """The same segments with their words mended: put together, they are the segment's text.

    Args:
        segments: Those of one window, in order. Without words they come back as they are.
        duration: Seconds of the window. No word ends later.
    """
    words = [word for segment in segments for word in segment.words]
    if not words:
        return tuple(segments)
    shares = [_join(own) for own in _share(words, [segment.text for segment in segments])]
    timed = iter(_lengthen([word for own in shares for word in own], duration))
    return tuple(
        _with_words(segment, tuple(islice(timed, len(own)))) for segment, own in zip(segments, shares, strict=True)
    )


def _with_words(segment: Segment, words: tuple[Word, ...]) -> Segment:
    if not words:
        return replace(segment, words=())
    return replace(segment, words=words, start=words[0].start, end=words[-1].end)


def _share(words: Sequence[Word], texts: Sequence[str]) -> list[list[Word]]:
    """The words of each text, between them exactly its characters. A word in two texts is cut, its time by its characters."""
    text = "".join(texts)
    spans = list(zip(words, pairwise(_places([word.word for word in words], text)), strict=True))
    return [
        [
            _cut(word, text, span, (max(span[0], first), min(span[1], last)))
            for word, span in spans
            if max(span[0], first) < min(span[1], last)
        ]
        for first, last in pairwise(accumulate(map(len, texts), initial=0))
    ]


def _cut(word: Word, text: str, span: tuple[int, int], kept: tuple[int, int]) -> Word:
    """The part of a word that is in its text from `kept[0]` to `kept[1]`; all of it is at `span`."""
    per_character = (word.end - word.start) / (span[1] - span[0])
    start, end = (word.start + (place - span[0]) * per_character for place in kept)
    return Word(text[slice(*kept)], start, word.end if kept[1] == span[1] else end, word.probability)


def _places(parts: Sequence[str], text: str) -> list[int]:
    """Where each part begins in the text, and the end of the last.

    Parts and text are the same but where tokens are no whole characters: each reader writes these in its own way.
    """
    said = "".join(parts)
    ends = list(accumulate(map(len, parts), initial=0))
    if said == text:
        return ends
    alike_before = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(said, text, strict=False)))
    room = min(len(said), len(text)) - alike_before
    backwards = islice(zip(reversed(said), reversed(text), strict=False), room)
    alike_after = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], backwards))
    last = len(text) - alike_after
    places = [
        end
        if end <= alike_before
        else end + len(text) - len(said)
        if end >= len(said) - alike_after
        else min(end, last)
        for end in ends
    ]
    return [0, *places[1:-1], len(text)]


def _join(parts: Sequence[Word]) -> list[Word]:
    """The parts of each word put together. Its probability is their mean, weighted by their letters."""
    words: list[Word] = []
    for part in parts:
        if words and sticks(words[-1].word, part.word):
            words[-1] = _add(words[-1], part)
        else:
            words.append(part)
    return words


def _add(word: Word, part: Word) -> Word:
    letters, more = max(1, len(word.word.strip())), len(part.word.strip())
    probability = (word.probability * letters + part.probability * more) / (letters + more)
    return Word(word.word + part.word, word.start, max(word.end, part.end), probability)


def _lengthen(words: Sequence[Word], duration: float) -> Iterator[Word]:
    """Words in order, none shorter than `SHORTEST_WORD` where there is room for all. Those that are long enough stay as they are.

    A word gets what it lacks from the pause after it, then from the pause before it, then from the longer of its neighbours.
    """
    shortest = min(SHORTEST_WORD, duration / len(words)) if words else 0.0
    starts, ends = [word.start for word in words], [word.end for word in words]
    for i in range(len(words)):
        if ends[i] - starts[i] >= shortest:
            continue
        before, after = _neighbours(starts, ends, i, shortest, duration)
        ends[i] = max(ends[i], min(starts[i] + shortest, after))
        starts[i] = max(min(starts[i], before), ends[i] - shortest)
        if i:
            ends[i - 1] = min(ends[i - 1], starts[i])
    _push_apart(starts, ends, shortest, duration)
    for word, start, end in zip(words, starts, ends, strict=True):
        yield replace(word, start=start, end=end)


def _neighbours(
    starts: Sequence[float], ends: Sequence[float], i: int, shortest: float, duration: float
) -> tuple[float, float]:
    """How far back word `i` may begin, and how far on it may end."""
    before, after = ends[i - 1] if i else 0.0, starts[i + 1] if i + 1 < len(starts) else duration
    following = ends[i + 1] - starts[i + 1] if i + 1 < len(starts) else 0.0
    if i and ends[i - 1] - starts[i - 1] >= max(2 * shortest, following):
        before = ends[i - 1] - shortest
    return before, after


def _push_apart(starts: list[float], ends: list[float], shortest: float, duration: float) -> None:
    """Later where a word before needs the room, then earlier where the window ends."""
    end = 0.0
    for i in range(len(starts)):
        starts[i] = max(starts[i], end)
        ends[i] = end = max(ends[i], starts[i] + shortest)
    start = duration
    for i in reversed(range(len(starts))):
        ends[i] = min(ends[i], start)
        starts[i] = start = max(0.0, min(starts[i], ends[i] - shortest))
