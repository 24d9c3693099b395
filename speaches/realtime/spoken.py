"""Which words of an answer were heard: the text of speech, and how much of the speech was played. Rules only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speaches.engines.base import SpokenWord

WIRE_RATE = 24_000  # samples per second in which the audio of a response is counted, whatever its format


@dataclass(frozen=True)
class _Piece:
    text: str
    start: int
    samples: int
    words: tuple[tuple[str, float], ...]
    """(word, seconds from the start of the piece until most of it was said), in order."""


class Spoken:
    """The speech of one item, as it goes out. All counts are samples at 24 kHz."""

    def __init__(self) -> None:
        self.sent = 0
        """How much of the audio has left."""
        self._pieces: list[_Piece] = []
        self._end = 0
        """Where the last piece ends, whether or not it has left."""
        self._heard: int | None = None
        """How much the client says was played, once it said so."""

    def begin(self, text: str, samples: int, words: Sequence[SpokenWord]) -> None:
        """The next piece starts here."""
        start = max(self._end, self.sent)
        self._end = start + samples
        # A word of which more than half was played counts as heard.
        times = tuple((word.word.strip(), (word.start + word.end) / 2) for word in words)
        self._pieces.append(_Piece(text, start, samples, times))

    def send(self, samples: int) -> None:
        self.sent += samples

    def cut(self, samples: int) -> None:
        """No more than this was played."""
        self._heard = min(samples, self._heard if self._heard is not None else samples)

    @property
    def written(self) -> str:
        """All that was begun to be spoken, as far as it was not cut."""
        return "".join(piece.text for piece in self._pieces) if self._heard is None else self._until(self._heard)

    @property
    def heard(self) -> str:
        """The words of which the audio has left, and was not cut."""
        return self._until(self.sent if self._heard is None else min(self.sent, self._heard))

    @property
    def milliseconds(self) -> int:
        """Of the audio that has left, rounded up: a client may round its own count."""
        return -(-self.sent * 1000 // WIRE_RATE)

    def _until(self, end: int) -> str:
        return "".join(_said(piece, end - piece.start) for piece in self._pieces if piece.start < end).rstrip()


def _said(piece: _Piece, samples: int) -> str:
    """The words of a piece of which so much was played."""
    if samples >= piece.samples:
        return piece.text
    if piece.words:
        place = 0
        for word, middle in piece.words:
            if middle * WIRE_RATE > samples:
                break
            found = piece.text.find(word, place)
            place = found + len(word) if found >= 0 else place
        return piece.text[:place]
    # Without times every character takes as long as every other. The word that is cut in two was not heard.
    place = len(piece.text) * samples // piece.samples
    while place and not piece.text[place].isspace():
        place -= 1
    return piece.text[:place]
