"""When the user's turn starts and when it is over, from the chance of speech in each frame. Rules only: no audio, model or clock.

Time is that of the audio: a session that gets a recording faster or slower than it was spoken finds the same turns. The driver gives each
frame's probability to `hear`, and what the words so far say about being finished (`ending.py`, or a model) to `ending`.

A turn starts at the second loud frame of three. One loud frame (32 ms) is a click or a knock on the table; espeak-ng's quickest "stop" has
eleven. It costs 32 ms, 64 at most, and nothing of the audio, for the turn reaches back before the first of them. A turn ends when it has
been quiet for long enough: with `ServerVad` as long as the client said, with `SemanticVad` as long as the words let one expect more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from speaches.engines.base import SAMPLE_RATE
from speaches.transcription.activity import FRAME_SIZE

FRAME_MS = FRAME_SIZE * 1000 // SAMPLE_RATE  # 32
HYSTERESIS = 0.15  # speech goes on down to this much under the threshold: Silero's own rule
# Silero's chances fall a frame after the speech: 33 ms at the median, 59 at the 95th percentile (espeak-ng's voice, three levels of noise).
HANGOVER = FRAME_SIZE
PAUSE_MS = 3 * FRAME_MS  # a pause this long is worth asking a recogniser what was said; stops within words are shorter
LONGEST_TURN_MS = (
    5 * 60_000
)  # as much 24 kHz audio as fits into OpenAI's largest event; a radio in the room would go on for ever

Eagerness: TypeAlias = Literal["low", "medium", "high", "auto"]
SILENCE_MS: dict[Eagerness, tuple[int, int, int]] = {  # after what sounds unfinished, unknown, finished
    "low": (8000, 1000, 400),
    "medium": (4000, 600, 250),
    "auto": (4000, 600, 250),
    "high": (2000, 400, 200),
}


@dataclass(frozen=True)
class ServerVad:
    """Silence ends a turn. OpenAI's `server_vad`, as far as it concerns turns."""

    threshold: float = 0.5
    """A frame is speech from this chance on."""
    prefix_padding_ms: int = 300
    """How much audio before the speech belongs to the turn."""
    silence_duration_ms: int = 500
    """How long it must be quiet for the turn to end."""
    idle_timeout_ms: int | None = None
    """How long to wait for the user to answer (see `Turns.await_speech`); None waits for ever."""


@dataclass(frozen=True)
class SemanticVad:
    """Silence ends a turn, sooner when the words sound finished. OpenAI's `semantic_vad`, as far as it concerns turns."""

    eagerness: Eagerness = "auto"
    """`auto` is `medium`."""


Detection: TypeAlias = ServerVad | SemanticVad


@dataclass(frozen=True)
class SpeechStarted:
    """A turn has begun."""

    audio_start_ms: int
    """Where its audio starts, prefix padding included."""


@dataclass(frozen=True)
class SpeechPaused:
    """Within a turn it has been quiet for `PAUSE_MS`: a good moment to hear what was said so far, perhaps it was all."""

    speech_end_ms: int
    """Where the speech before the pause ended: nothing of it is later."""


@dataclass(frozen=True)
class SpeechResumed:
    """The pause was none: what was made of the speech up to it is not the whole turn."""


@dataclass(frozen=True)
class SpeechStopped:
    """The turn is over."""

    audio_start_ms: int
    """Where its audio starts, as `SpeechStarted` said."""
    audio_end_ms: int
    """Where its audio ends: now, the silence included, as OpenAI counts."""
    speech_end_ms: int
    """Where the speech in it ended: nothing of it is later."""


@dataclass(frozen=True)
class IdleTimeout:
    """The user has not answered for `idle_timeout_ms`."""

    audio_start_ms: int
    """Since when it was waited for, or since the buffer was last emptied."""
    audio_end_ms: int
    """Now."""


TurnEvent: TypeAlias = SpeechStarted | SpeechPaused | SpeechResumed | SpeechStopped | IdleTimeout


def silence_needed(likelihood: float | None, eagerness: Eagerness) -> float:
    """Milliseconds of silence that end a turn whose words are finished with this likelihood; None where nothing is known of them.

    The longest are those that OpenAI gives for `semantic_vad`. Between the three it goes in equal ratios.
    """
    unfinished, unknown, finished = SILENCE_MS[eagerness]
    if likelihood is None:
        return unknown
    distance = min(max(2 * likelihood - 1, -1.0), 1.0)
    return float(unknown * ((finished if distance > 0 else unfinished) / unknown) ** abs(distance))


class Turns:
    """Finds the turns in one session's audio.

    All times are whole milliseconds since the session's first sample. The driver gives each frame of 512 samples at 16 kHz once, in order:
    to `hear` its chance of speech, or to `skip` its samples where no detector ran.
    """

    def __init__(self, detection: Detection | None, *, longest_turn_ms: int = LONGEST_TURN_MS) -> None:
        """`detection` None finds no turns (push-to-talk). A turn is cut after `longest_turn_ms`; speech that goes on begins another."""
        self._longest = _samples(longest_turn_ms)
        self._position = 0
        """Samples so far."""
        self._floor = 0
        """No turn reaches back before this sample: the last turn's end, or where the buffer was emptied."""
        self._start: int | None = None
        """Where the audio of the turn under way starts; None between turns."""
        self._loud: int | None = None
        """Between turns, the last loud frame: another one near it makes a turn."""
        self._quiet_from = 0
        """Where the last loud frame of the turn ended."""
        self._quiet = False
        """Whether a frame since then was quiet: only then it is a pause, and not a weak sound."""
        self._announced = False
        """Whether `SpeechPaused` was given for it."""
        self._likelihood: float | None = None
        """What `ending` said of it."""
        self._awaited: int | None = None
        """Since when the user is waited for; perhaps to come."""
        self.update(detection)

    @property
    def now_ms(self) -> int:
        """How much audio there has been."""
        return _ms(self._position)

    @property
    def speaking(self) -> bool:
        """Whether a turn is under way (pauses in it included)."""
        return self._start is not None

    @property
    def needed_from_ms(self) -> int:
        """By the present settings no event to come speaks of audio before this."""
        if self._start is not None:
            return _ms(self._start)
        loud = self._position if self._loud is None else self._loud
        needed = max(self._floor, loud - self._padding)
        if self._idle_timeout is not None and self._awaited is not None:
            needed = min(needed, max(self._awaited, self._floor))
        return _ms(needed)

    def update(self, detection: Detection | None) -> None:
        """Detect by other rules from the next frame on.

        A turn under way goes on by the new ones. None forgets it, without an event: its audio stays in the buffer for the client to commit.
        """
        server = detection if isinstance(detection, ServerVad) else ServerVad()
        self._detection = detection
        self._threshold = server.threshold
        self._negative = max(server.threshold - HYSTERESIS, 0.01)
        self._padding = _samples(server.prefix_padding_ms)
        self._idle_timeout = None if server.idle_timeout_ms is None else _samples(server.idle_timeout_ms)
        if detection is None:
            self._forget()

    def hear(self, probabilities: Iterable[float]) -> list[TurnEvent]:
        """The chance of speech in the next frames. Returns what happened, in order; nothing while detection is off."""
        events: list[TurnEvent] = []
        for probability in probabilities:
            begin = self._position
            self._position += FRAME_SIZE
            if self._detection is None:
                continue
            if self._start is None:
                self._listen(begin, float(probability), events)
            else:
                self._follow(float(probability), events)
        return events

    def skip(self, samples: int) -> None:
        """So many samples at 16 kHz went by without a detector, as they do while detection is off."""
        self._position += samples

    def ending(self, likelihood: float, heard_until_ms: int) -> list[TurnEvent]:
        """How likely the words (or the sound) up to `heard_until_ms` are the end of what the user has to say.

        May come at any time, and late: it counts while the pause goes on whose beginning it heard. 0 is surely unfinished, 0.5 tells
        nothing, 1 is surely finished. Returns `SpeechStopped` when it has been quiet for long enough already. Only `SemanticVad` listens.
        """
        events: list[TurnEvent] = []
        if self._paused and heard_until_ms >= _ms(self._quiet_from):
            self._likelihood = likelihood
            self._rest(events)
        return events

    def reset(self) -> None:
        """The client cleared or committed the buffer: a turn under way is forgotten without an event, and none reaches back before now."""
        self._forget()
        self._floor = self._position

    def await_speech(self, from_ms: int) -> None:
        """The response ends to be heard at `from_ms` (perhaps to come): from then on the user has `idle_timeout_ms` to speak.

        Speech, `IdleTimeout` and `stop_awaiting` end the wait. A user who speaks is not waited for. Audio that stays away stops the clock.
        """
        if self._start is None:
            self._awaited = _samples(from_ms)

    def stop_awaiting(self) -> None:
        """There is a response again: nobody is waited for until the next `await_speech`."""
        self._awaited = None

    def _listen(self, begin: int, probability: float, events: list[TurnEvent]) -> None:
        """One frame between turns."""
        recent = self._loud is not None and begin - self._loud <= 2 * FRAME_SIZE
        if probability < self._threshold:
            if not recent:
                self._loud = None
                self._check_idle(events)
        elif not recent:
            self._loud = begin
        else:
            assert self._loud is not None
            self._start = max(self._floor, self._loud - self._padding)
            self._loud = self._awaited = None
            self._speak()
            events.append(SpeechStarted(_ms(self._start)))

    def _check_idle(self, events: list[TurnEvent]) -> None:
        if self._awaited is None or self._idle_timeout is None or self._position - self._awaited < self._idle_timeout:
            return
        events.append(IdleTimeout(_ms(max(self._awaited, self._floor)), self.now_ms))
        self._awaited = None
        self._floor = self._position

    def _follow(self, probability: float, events: list[TurnEvent]) -> None:
        """One frame within a turn."""
        if probability >= self._threshold:
            if self._announced:
                events.append(SpeechResumed())
            self._speak()
        else:
            # Once it has been quiet, all since the last loud frame was the pause: speech fades out over a frame or two.
            self._quiet = self._quiet or probability < self._negative
            self._rest(events)
        if self._start is not None and self._position - self._start >= self._longest:
            self._stop(events)

    def _speak(self) -> None:
        """No pause any more."""
        self._quiet_from = self._position
        self._quiet = self._announced = False
        self._likelihood = None

    @property
    def _paused(self) -> bool:
        return self._start is not None and self._quiet

    def _rest(self, events: list[TurnEvent]) -> None:
        """Within a turn it may be quiet: perhaps for long enough."""
        if not self._paused:
            return
        # To the nearest frame: always waiting for a whole one more would make every answer half a frame later.
        silence = self._position - self._quiet_from + HANGOVER + FRAME_SIZE // 2
        if silence >= self._silence_needed():
            self._stop(events)
        elif not self._announced and silence >= _samples(PAUSE_MS):
            self._announced = True
            events.append(SpeechPaused(_ms(self._quiet_from)))

    def _silence_needed(self) -> float:
        if isinstance(self._detection, SemanticVad):
            return silence_needed(self._likelihood, self._detection.eagerness) * SAMPLE_RATE / 1000
        assert self._detection is not None
        return _samples(self._detection.silence_duration_ms)

    def _stop(self, events: list[TurnEvent]) -> None:
        assert self._start is not None
        speech_end = self._quiet_from if self._quiet else self._position
        events.append(SpeechStopped(_ms(self._start), self.now_ms, _ms(speech_end)))
        self.reset()

    def _forget(self) -> None:
        self._start = self._loud = None
        self._speak()


def _samples(ms: int) -> int:
    return ms * SAMPLE_RATE // 1000


def _ms(samples: int) -> int:
    return samples * 1000 // SAMPLE_RATE
