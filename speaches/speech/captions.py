"""What was spoken when: words and cues on the time line of the audio that a client decodes. Rules only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speaches.text import cues
from speaches.text.cues import CueOptions
from speaches.text.subtitles import Cue

if TYPE_CHECKING:
    from speaches.engines.base import SpokenWord
    from speaches.speech.speak import Spoken


class Captions:
    """The words of one answer so far.

    Args:
        lead: Seconds that they are heard later than they were spoken.
    """

    def __init__(self, lead: float = 0.0) -> None:
        self.lead = lead
        self.words: list[SpokenWord] = []
        """With their times in the audio that a client decodes."""
        self.estimated = False
        """Whether some of the times are guessed."""
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What was spoken."""
        return " ".join(self._texts)

    def add(self, spoken: Spoken) -> list[SpokenWord]:
        """Take the next stretch; its words."""
        if spoken.text:
            self._texts.append(_shown(spoken.text))
        self.estimated = self.estimated or spoken.estimated
        words = [_later(word, self.lead) for word in spoken.words]
        self.words += words
        return words


def _shown(piece: str) -> str:
    """A piece as its words are written, of phonemes those that they stand for."""
    from speaches.text.markup import Words, spans
    from speaches.text.plain import speakable

    parts = spans(speakable(piece))
    return "".join(part.text if isinstance(part, Words) else part.written or part.phonemes for part in parts)


def _later(word: SpokenWord, seconds: float) -> SpokenWord:
    if not seconds:
        return word
    phonemes = tuple(replace(one, start=one.start + seconds, end=one.end + seconds) for one in word.phonemes)
    return replace(word, start=word.start + seconds, end=word.end + seconds, phonemes=phonemes)


def as_json(words: Sequence[SpokenWord], *, phonemes: bool) -> list[dict[str, Any]]:
    """Words as an answer has them: times in seconds, to the millisecond."""
    return [_times(word) | ({"phonemes": _phonemes(word)} if phonemes else {}) for word in words]


def _phonemes(word: SpokenWord) -> list[dict[str, Any]]:
    return [{"phoneme": one.phoneme, "start": round(one.start, 3), "end": round(one.end, 3)} for one in word.phonemes]


def _times(word: SpokenWord) -> dict[str, Any]:
    return {"word": word.word, "start": round(word.start, 3), "end": round(word.end, 3)}


class Subtitles:
    """Cues as their words are spoken. The last cue is held back until it is known that no word follows in it."""

    def __init__(self, options: CueOptions) -> None:
        self._options = options
        self._open: list[cues.Spoken] = []
        """Words that may still get company."""

    def add(self, text: str, words: Sequence[SpokenWord]) -> list[Cue]:
        """Take the words of a piece of text; the cues that are complete by now."""
        self._open += _spaced(_shown(text), words)
        complete = list(cues.cues(self._open, self._options))[:-1]
        letters = sum(len("".join(cue.text.split())) for cue in complete)
        while letters > 0:
            letters -= len("".join(self._open.pop(0).text.split()))
        return complete

    def finish(self, until: float = math.inf) -> list[Cue]:
        """The rest, of audio that ends after `until` seconds."""
        return list(cues.cues(self._open, self._options, until))


def _spaced(text: str, words: Sequence[SpokenWord]) -> Iterator[cues.Spoken]:
    """Words with the space before them, where the text has one: Chinese and Japanese have none."""
    at = 0
    for word in words:
        found = text.find(word.word, at)
        before = text[at:found] if found >= 0 else " "
        yield cues.Spoken(f" {word.word}" if not at or before[:1].isspace() else word.word, word.start, word.end)
        at = max(at, found + len(word.word))
