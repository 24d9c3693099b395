"""What the user hears of the answers, and how long they are then waited for. Rules only."""

from __future__ import annotations

from speaches.realtime.input_audio import InputAudio
from speaches.realtime.response import Response
from speaches.realtime.responses import Responses
from speaches.realtime.spoken import WIRE_RATE

ECHO_MS = 300  # that a room and a sound card hold on to


class Audible:
    """The client is taken to play what it is sent at once, without a gap, in the time of its own audio.

    When the user has heard an answer they have `idle_timeout_ms` to speak: this tells `InputAudio` from when on.
    """

    def __init__(self, input_audio: InputAudio, responses: Responses) -> None:
        self._input = input_audio
        self._responses = responses
        self._until = 0
        """When the client has played what it was sent, in milliseconds of the input."""
        self._last: Response | None = None
        """The response in the conversation, when that was last looked at."""
        self._has_answered = False
        """Whether there was one. Before, nobody is waited for."""

    @property
    def may_echo(self) -> bool:
        """Whether an answer may be heard in the client's microphone."""
        return self._input.now_ms < self._until + ECHO_MS

    def sent(self, samples: int) -> None:
        """More audio has left, at 24 kHz."""
        self._until = max(self._until, self._input.now_ms) + samples * 1000 // WIRE_RATE

    def stopped(self) -> None:
        """The client plays no more of what it has."""
        self._until = min(self._until, self._input.now_ms)

    def played(self, response: Response) -> None:
        """WebRTC: nothing of this response is to be heard any more."""
        if response.conversation is not None and self._responses.active is None:
            self._input.await_speech(self._input.now_ms)

    def follow(self, *, was_noise: bool) -> None:
        """See which response there is now; `was_noise` where a turn that was to be answered turned out to be no speech."""
        before, now = self._last, self._responses.active
        if now is before:
            if was_noise and now is None and self._has_answered:
                self._await_speech()  # what sounded like an answer was none
            return
        self._last, self._has_answered = now, True
        if now is not None:
            self._input.stop_awaiting()
        elif before is not None and not self._responses.is_played(before):
            self._await_speech()

    def _await_speech(self) -> None:
        self._input.await_speech(max(self._input.now_ms, self._until))
