"""What may be shown of a turn while the user still speaks, and when to listen again. Rules only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from speaches.engines.base import SAMPLE_RATE
from speaches.live.agreement import LocalAgreement, delta

if TYPE_CHECKING:
    from speaches.engines.base import Word

SHORTEST_STEP_MS = 600  # of new audio; a hypothesis has two or three new words then
STEP_SHARE = 1.5  # of the time that the last hypothesis took: listening takes two thirds of a recogniser at most
TRIMMED_FROM = 15.0  # s; what is confirmed leaves the audio that is heard again
LONGEST_HEARD = 25.0  # s; less than the recogniser's window, whatever was confirmed
KEPT = 5.0  # s that stay when nothing could be confirmed for so long


class Partials:
    """The text of one turn as it grows. Places are samples from the session's start."""

    def __init__(self, start: int) -> None:
        self.cut = start
        """Where the next hypothesis begins to hear."""
        self.shown = ""
        """What was sent; only grows."""
        self._start = start
        self._heard_to = start
        self._step = SHORTEST_STEP_MS * SAMPLE_RATE // 1000
        self._agreement = LocalAgreement()

    def due(self, end: int) -> bool:
        """Whether there is enough new audio to listen again."""
        return end - self._heard_to >= self._step

    def listen_to(self, end: int) -> int:
        """Audio up to `end` is listened to now. Returns from where."""
        self._heard_to = end
        seconds = (end - self.cut) / SAMPLE_RATE
        if seconds > TRIMMED_FROM:
            self._trim(end, by_force=seconds > LONGEST_HEARD)
        return self.cut

    def heard(self, words: Sequence[Word], took_ms: int) -> str:
        """A hypothesis about the audio from `cut` on. Returns what to send now, maybe nothing."""
        self._step = int(max(SHORTEST_STEP_MS, took_ms * STEP_SHARE)) * SAMPLE_RATE // 1000
        by, last = (self.cut - self._start) / SAMPLE_RATE, (self._heard_to - self._start) / SAMPLE_RATE
        # A recogniser that hears in windows of its own may place a word after all there is; what comes then would be cut off with it.
        moved = [replace(word, start=min(word.start + by, last), end=min(word.end + by, last)) for word in words]
        self._agreement.insert(moved)
        return self._more(self._agreement.shown)

    def rest(self, transcript: str) -> str:
        """What is to be sent of the whole transcript, so that all that was sent reads as it does."""
        return delta(self.shown, transcript)

    def _more(self, text: str) -> str:
        new = text[len(self.shown) :] if self.shown else text.lstrip()
        self.shown += new
        return new

    def _trim(self, end: int, *, by_force: bool) -> None:
        at = self._agreement.confirmed_until
        if by_force and at < (end - self._start) / SAMPLE_RATE - LONGEST_HEARD + KEPT:
            self._agreement.finish()
            at = max(self._agreement.confirmed_until, (end - self._start) / SAMPLE_RATE - KEPT)
        elif pending := self._agreement.pending:
            at = min(at, pending[0].start)
        if self._start + int(at * SAMPLE_RATE) > self.cut:
            self._agreement.trim(at)
            self.cut = self._start + int(at * SAMPLE_RATE)
