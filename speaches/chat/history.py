"""What was said in earlier answers, by their audio ids: a client sends the id instead of the text."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from time import time

LIFETIME = 3600  # seconds, as OpenAI keeps them
MOST = 4096  # answers that are remembered


class SpokenHistory(Mapping[str, str]):
    """Transcripts by audio id. Bounded: the oldest go."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._said: OrderedDict[str, tuple[int, str]] = OrderedDict()
        """Audio id -> (when it expires, transcript), the oldest first."""

    def add(self, transcript: str) -> tuple[str, int]:
        """Remember an answer. Returns its new id, and when it expires in seconds since 1970."""
        audio_id, expires_at = f"audio_{uuid.uuid4().hex}", int(self._clock()) + LIFETIME
        self._said[audio_id] = (expires_at, transcript)
        while len(self._said) > MOST or next(iter(self._said.values()))[0] <= self._clock():
            self._said.popitem(last=False)
        return audio_id, expires_at

    def __getitem__(self, audio_id: str) -> str:
        expires_at, transcript = self._said[audio_id]
        if expires_at <= self._clock():
            raise KeyError(audio_id)
        return transcript

    def __iter__(self) -> Iterator[str]:
        return (audio_id for audio_id in self._said if audio_id in self)

    def __contains__(self, audio_id: object) -> bool:
        return audio_id in self._said and self._said[audio_id][0] > self._clock()  # type: ignore[index]

    def __len__(self) -> int:
        return sum(1 for _ in self)
