"""What may be shown of a hypothesis that will still change: what two in a row agree on. Rules only: no audio, model or clock.

LocalAgreement-2 of Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System" (2023), section 3. Audio gathers in a
buffer that is recognised again and again; each result is given to `insert`. The longest common prefix of the last two is confirmed, and
never changes again. Audio whose words are confirmed may leave the buffer (`cut_at`, `trim`), else each step takes longer than the last.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise, takewhile

from speaches.engines.base import Segment, Word
from speaches.live.alignment import words_again

JOINT_WORDS = 5  # as in the paper's code: so many words may come again where the buffer was cut
JOINT_SECONDS = 1.0  # likewise: a hypothesis that begins further from what is confirmed repeats nothing
EARLY = 0.1  # s, likewise: times move so much from one hypothesis to the next
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
"""Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese): each character is compared for itself."""
_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[^\s])+")
LONGEST_WAIT = 10.0  # s of speech without agreement, after which the newest hypothesis is believed: the buffer must not grow for ever


def normalised(text: str) -> str:
    """What is left to compare without case, width, spaces and punctuation; text of nothing else stays."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    return "".join(filter(_in_word, plain)) or plain


def delta(sent: str, text: str) -> str:
    """What to send after `sent`, so that both together say what `text` does from where `sent` ends.

    What was sent stays as it is, also where `text` has another spelling or other words: what follows them is sent all the same.
    """
    if text.startswith(sent):
        return text[len(sent) :]
    letters = [(letter, place) for place, character in enumerate(text) for letter in _letters(character)]
    said = [letter for character in sent for letter in _letters(character)]
    if said and said == [letter for letter, _ in letters[: len(said)]]:
        end = letters[len(said) - 1][1] + 1
        if len(letters) == len(said) or letters[len(said)][1] >= end:  # not half of a "ß"
            return text[end:]
    return _after_words(sent, text)


def _after_words(sent: str, text: str) -> str:
    """`text` after those of its words that were sent, some of them perhaps otherwise."""
    words = _words(text)
    count = words_again([normalised(one[0]) for one in _words(sent)], [normalised(one[0]) for one in words])
    if count == len(words):  # a mark alone would only decorate what was heard wrong
        return ""
    last = words[count - 1] if count else None
    return text[last.start() + _end_of_words(last[0]) :].rstrip() if last else f" {text.strip()}"


def _words(text: str) -> list[re.Match[str]]:
    return [one for one in _WORD.finditer(text) if any(map(_in_word, one[0]))]


def _letters(character: str) -> str:
    return "".join(filter(_in_word, unicodedata.normalize("NFKC", character).casefold()))


def _end_of_words(text: str) -> int:
    """Where its last word ends, and punctuation begins."""
    end = len(text)
    while end and not _in_word(text[end - 1]):
        end -= 1
    return end


def _in_word(character: str) -> bool:
    # Letters, marks and numbers. Not `str.isalnum`: the vowels of Hindi and Thai are marks.
    return unicodedata.category(character)[0] in "LMN"


class LocalAgreement:
    """The words of one stretch of speech, from hypotheses about all of it or, once the buffer was cut, about its rest.

    Times are seconds from where the stretch began, in hypotheses about its rest too: the caller adds what was cut away. What `insert` and
    `finish` return is, one after another, the transcript, but for punctuation that was not `shown` yet; no word is taken back.
    """

    def __init__(self, *, longest_wait: float = LONGEST_WAIT, hold_back: int = 0) -> None:
        """
        Args:
            longest_wait: Seconds of speech without agreement, after which the newest hypothesis is confirmed.
            hold_back: How many words at the end are not confirmed even when two agree on them: the last may be half a word.
        """
        self._longest_wait = longest_wait
        self._hold_back = hold_back
        self._text = ""
        self._left = ""
        self._in_buffer: list[Word] = []
        """Confirmed words whose audio is still in the buffer: a hypothesis begins with them again."""
        self._latest: list[Word] = []
        """The last confirmed words, in the buffer or not: where it was cut they may come again."""
        self._pending: list[Word] = []
        self._waiting_since = 0.0
        """How far the hypothesis went from which on none agreed with the one before."""
        self._confirmed_until = 0.0
        self._trimmed = 0.0

    @property
    def shown(self) -> str:
        """What is confirmed, as text; without the punctuation at its end, which is often only there because the audio stopped.

        Each value is a prefix of the next.
        """
        return self._text[: _end_of_words(self._text)]

    @property
    def left(self) -> str:
        """The confirmed words whose audio has left the buffer, as text: what a hypothesis about the rest goes on from."""
        return self._left.strip()

    @property
    def pending(self) -> Sequence[Word]:
        """What the newest hypothesis says beyond what is confirmed."""
        return tuple(self._pending)

    @property
    def confirmed_until(self) -> float:
        """Where the last confirmed word ends; 0 before there is one. Only grows."""
        return self._confirmed_until

    def insert(self, words: Sequence[Word]) -> list[Word]:
        """The words of a new hypothesis about the whole buffer. Returns those that it confirms, as it spells them."""
        rest = self._beyond(words)
        agreed = sum(1 for _ in takewhile(lambda pair: _same(*pair), zip(self._pending, rest, strict=False)))
        if agreed or not self._pending:
            self._waiting_since = rest[-1].end if rest else 0.0
        if agreed or not rest or rest[-1].end - self._waiting_since < self._longest_wait:
            return self._confirm(rest, min(agreed, len(rest) - self._hold_back))
        return self._confirm(rest, len(rest) - max(1, self._hold_back))

    def finish(self, words: Sequence[Word] | None = None) -> list[Word]:
        """The speech is over. Confirms what its last hypothesis says beyond what was confirmed before, or without one what is pending."""
        rest = self._pending if words is None else self._beyond(words)
        return self._confirm(rest, len(rest))

    def cut_at(self, segments: Sequence[Segment]) -> float | None:
        """Where to cut the buffer: the end of the newest hypothesis's last segment that is confirmed whole. None where that is nowhere.

        Never at the end of the last segment: it is still being spoken.
        """
        ends = [segment.end for segment in segments[:-1] if self._trimmed < segment.end <= self._confirmed_until]
        return max(ends, default=None)

    def last_pause(self, shortest: float) -> float | None:
        """The middle of the last pause after a confirmed word whose audio is in the buffer; None where there is none between two words.

        Args:
            shortest: Seconds that it has to be long.
        """
        words = [*self._in_buffer, *self._pending[:1]]
        pauses = [(word.end + after.start) / 2 for word, after in pairwise(words) if after.start - word.end >= shortest]
        return max(pauses, default=None)

    def trim(self, at: float) -> None:
        """The audio before `at` has left the buffer: the hypotheses to come begin there.

        Raises:
            ValueError: If words would be lost that are not confirmed.
        """
        if self._pending and at > self._pending[0].start + EARLY:
            raise ValueError(
                f"can't cut at {at:.2f} s: words from {self._pending[0].start:.2f} s on are not confirmed yet"
            )
        self._trimmed = max(self._trimmed, at)
        gone = next((place for place, word in enumerate(self._in_buffer) if word.end > at), len(self._in_buffer))
        self._left += "".join(word.word for word in self._in_buffer[:gone])
        self._in_buffer = self._in_buffer[gone:]

    def _beyond(self, words: Sequence[Word]) -> list[Word]:
        """What a hypothesis says after the confirmed words."""
        words = [word for word in words if word.word.strip()]
        known = self._in_buffer
        # By the words, not by their times: these move from one hypothesis to the next, more than the paper's code allows for.
        if len(words) >= len(known) and all(map(_same, known, words)) and (known or not self._latest):
            if known and len(words) > len(known):
                # The audio did not stop there: its punctuation was not shown yet, and now it is known better.
                last = words[len(known) - 1].word.rstrip()
                self._text = self.shown + last[_end_of_words(last) :]
            return words[len(known) :]
        if known:
            again = words_again([normalised(one.word) for one in known], [normalised(one.word) for one in words])
            return words[again:]
        rest = [word for word in words if word.start > self._confirmed_until - EARLY]
        return rest[self._repeated(rest) :]

    def _repeated(self, rest: Sequence[Word]) -> int:
        """How many of these words are confirmed ones heard again at the joint. The most that fit: one of "no, no" would stay otherwise."""
        if not rest or abs(rest[0].start - self._confirmed_until) >= JOINT_SECONDS:
            return 0
        for count in range(min(len(self._latest), len(rest)), 0, -1):
            if all(map(_same, self._latest[-count:], rest)):
                return count
        return 0

    def _confirm(self, rest: Sequence[Word], count: int) -> list[Word]:
        confirmed, self._pending = list(rest[: max(0, count)]), list(rest[max(0, count) :])
        self._in_buffer += confirmed
        self._latest = (self._latest + confirmed)[-JOINT_WORDS:]
        self._text = (self._text + "".join(word.word for word in confirmed)).lstrip()
        self._confirmed_until = max([self._confirmed_until, *(word.end for word in confirmed)])
        return confirmed


def _same(one: Word, other: Word) -> bool:
    return normalised(one.word) == normalised(other.word)
