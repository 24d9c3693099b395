"""One turn of the user, and what is recognised of it, also while it goes on. Rules only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.errors import SpeachesError
from speaches.realtime.config import SessionConfig
from speaches.realtime.ending import combined, likelihood_of_end
from speaches.realtime.outbox import Outbox
from speaches.realtime.partials import Partials
from speaches.realtime.work import Hearing, Listen, StopTranscribing, Transcribe

if TYPE_CHECKING:
    from speaches.audio.buffer import SampleBuffer
    from speaches.engines.base import Samples, Word

WEAK = 0.35  # after a pause, sounds that are no speech by themselves, but may be the end of it


@dataclass(frozen=True)
class Transcript:
    """What was said."""

    text: str
    language: str | None = None
    logprobs: Sequence[Mapping[str, Any]] | None = None


Heard: TypeAlias = Transcript | SpeachesError | None
"""A transcript, why there is none, or None while it is to come."""


class Turn:
    """Audio of the user, from when it is known to be one utterance until its transcript is there.

    It may be transcribed ahead, at a pause which is perhaps its end; when it goes on, that counts no more.
    """

    def __init__(self, outbox: Outbox, start: int, how: Hearing) -> None:
        self.item_id = outbox.new_id("item")
        self.start = start
        """In samples from the session's start, as all places here."""
        self.hearing = how
        self.partials = Partials(start)
        self.announced = False
        """Whether the client was told that it has begun."""
        self.work_id: str | None = None
        """The Transcribe of the whole turn: begun ahead, or when it was committed."""
        self.heard: Heard = None
        """What came of it."""
        self.paused_ms: int | None = None
        """When the pause began to be noticed in which the user is."""
        self._outbox = outbox
        self._listening: str | None = None
        """The Listen under way."""
        self._loudest = 0.0
        """The highest chance of speech since that pause was noticed."""
        self._words_say = self._sound_says = 0.5
        """How likely the user has finished, by the words and by the voice."""

    # --- What is shown while it goes on ---

    def listen(self, buffer: SampleBuffer) -> None:
        """Ask for the next hypothesis where one is due."""
        end = buffer.end
        if self._listening or not self.partials.due(end):
            return
        start = self.partials.listen_to(end)
        self._listening = self._outbox.new_id("listen")
        self._outbox.ask(Listen(self._listening, buffer.take(start, end), self.hearing, self.partials.before))

    def hypothesis(self, work_id: str, words: Sequence[Word], took_ms: int) -> str:
        """Returns what may be shown now."""
        if self._listening != work_id:
            return ""
        self._listening = None
        return self.partials.heard(words, took_ms)

    def stop_listening(self) -> None:
        if self._listening:
            self._outbox.ask(StopTranscribing(self._listening))
            self._listening = None

    # --- Its pauses ---

    def pause(self, now_ms: int) -> None:
        """The user has paused, perhaps finished."""
        self.paused_ms, self._loudest, self._words_say, self._sound_says = now_ms, 0.0, 0.5, 0.5

    def sounds(self, chances: Sequence[float]) -> None:
        """The chance of speech in the frames that followed."""
        self._loudest = max([self._loudest, *chances])

    def heard_ahead(self, heard: Transcript | SpeachesError) -> None:
        """What came of its Transcribe, before it was over."""
        if isinstance(heard, SpeachesError):
            self.work_id = None  # the turn's own attempt will tell
            return
        self.heard = heard
        self._words_say = likelihood_of_end(heard.text, heard.language or self.hearing.language)

    def sounded(self, likelihood: float) -> None:
        """What a model makes of the voice before the pause."""
        self._sound_says = likelihood

    @property
    def likely_over(self) -> float:
        """How likely the user has finished, by all that is known of the pause."""
        return combined(self._words_say, self._sound_says)

    # --- Its transcript ---

    def transcribe(self, samples: Samples, *, logprobs: bool) -> None:
        """Have it transcribed, ahead or for good."""
        self.work_id = self._outbox.new_id("transcribe")
        self._outbox.ask(Transcribe(self.work_id, samples, self.hearing, logprobs))

    def end(self) -> None:
        """It is over. What was heard ahead counts only where nothing came after it."""
        self.stop_listening()
        if self._loudest >= WEAK:
            self.forget_ahead()

    def forget_ahead(self) -> None:
        """What was heard ahead was not all of it."""
        if self.work_id and self.heard is None:
            self._outbox.ask(StopTranscribing(self.work_id))
        self.work_id = self.heard = self.paused_ms = None


def hearing(config: SessionConfig) -> Hearing:
    """How speech is to be recognised by these settings."""
    how = config.transcription
    if how is None:
        return Hearing(None)
    return Hearing(how.model, how.code, how.prompt, tuple(how.keywords), how.codes)
