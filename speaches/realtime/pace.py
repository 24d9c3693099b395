"""How fast the audio of an answer leaves: no more than a little ahead of what the client can have played. Rules only.

What has left can't be taken back when the user interrupts.
"""

from __future__ import annotations

LEAD = 1.0  # seconds that the client has in hand: more than networks stutter, less than is lost by an interruption


class Pace:
    """One answer's audio. Time is passed in, in seconds."""

    def __init__(self, lead: float = LEAD) -> None:
        self._lead = lead
        self._ends_at: float | None = None
        """When the client will have played what it got; it starts when it gets the first."""

    def delay(self, now: float) -> float:
        """How long to wait before the next chunk is sent."""
        return 0.0 if self._ends_at is None else max(0.0, self._ends_at - self._lead - now)

    def sent(self, seconds: float, now: float) -> None:
        """A chunk was sent. One that comes too late is played when it comes."""
        self._ends_at = max(now, self._ends_at or now) + seconds
