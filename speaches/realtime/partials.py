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
TRIMMED_ANYWHERE_FROM = 20.0  # s; from here on also where nobody paused
LONGEST_HEARD = 25.0  # s; less than the recogniser's window, whatever was confirmed
KEPT = 5.0  # s that stay when nothing could be confirmed for so long
QUIET = 1.0  # s after all words; Whisper hears little in less
EDGE = 0.05  # s; a word that ends with the audio is perhaps half a word, or only what is likely to follow
PAUSE = 0.3  # s between two words: a cut there goes through no word


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

    @property
    def before(self) -> str:
        """What was said before `cut`. A recogniser goes on after its prompt: words whose audio it is still to hear must not be in it."""
        return self._agreement.left

    def due(self, end: int) -> bool:
        """Whether there is enough new audio to listen again."""
        return end - self._heard_to >= self._step

    def listen_to(self, end: int) -> int:
        """Audio up to `end` is listened to now. Returns from where."""
        self._heard_to = end
        seconds = (end - self.cut) / SAMPLE_RATE
        if seconds > TRIMMED_FROM:
            self._trim((end - self._start) / SAMPLE_RATE, seconds)
        return self.cut

    def heard(self, words: Sequence[Word], took_ms: int) -> str:
        """A hypothesis about the audio from `cut` on. Returns what to send now, maybe nothing."""
        self._step = int(max(SHORTEST_STEP_MS, took_ms * STEP_SHARE)) * SAMPLE_RATE // 1000
        by, last = (self.cut - self._start) / SAMPLE_RATE, (self._heard_to - self._start) / SAMPLE_RATE
        # A recogniser that hears in windows of its own may place a word after all there is; what comes then would be cut off with it.
        moved = [replace(word, start=min(word.start + by, last), end=min(word.end + by, last)) for word in words]
        self._agreement.insert([word for word in moved if word.end <= last - EDGE])
        return self._more(self._agreement.shown)

    def rest(self, transcript: str) -> str:
        """What is to be sent of the whole transcript after all that was sent."""
        return delta(self.shown, transcript)

    def _more(self, text: str) -> str:
        new = text[len(self.shown) :] if self.shown else text.lstrip()
        self.shown += new
        return new

    def _trim(self, end: float, seconds: float) -> None:
        """Cut the audio that is heard again: at the last pause, after a while anywhere between two confirmed words.

        Args:
            end: Seconds of the turn so far.
            seconds: How many of them are heard.
        """
        said_until = self._agreement.confirmed_until
        if not self._agreement.pending and end - said_until >= PAUSE + QUIET:
            at: float | None = said_until + PAUSE  # nobody has spoken since
        else:
            anywhere = seconds > TRIMMED_ANYWHERE_FROM
            at = self._agreement.last_pause(PAUSE) or (self._agreement.last_pause(0.0) if anywhere else None)
        if seconds > LONGEST_HEARD and (at is None or at < end - LONGEST_HEARD + KEPT):
            self._agreement.finish()
            at = max(self._agreement.confirmed_until, end - KEPT)
        if at is not None and self._start + int(at * SAMPLE_RATE) > self.cut:
            self._agreement.trim(at)
            self.cut = self._start + int(at * SAMPLE_RATE)
