"""What was said in earlier answers, by their audio ids: a client sends the id instead of the text."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from time import time

LIFETIME = 3600  # seconds, as OpenAI keeps them
MOST = 4096  # answers that are remembered
MOST_CHARS = 16_000_000  # of their transcripts


def new_id() -> str:
    return f"audio_{uuid.uuid4().hex}"


class SpokenHistory(Mapping[str, str]):
    """Transcripts by audio id. Bounded: the oldest go."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._said: OrderedDict[str, tuple[int, StringIO]] = OrderedDict()
        """Audio id -> (when it expires, transcript so far), the oldest first."""
        self._chars = 0

    def add(self, audio_id: str, text: str) -> int:
        """Remember what an answer says, or says further. Returns when it expires, in seconds since 1970."""
        expires_at, said = self._said.setdefault(audio_id, (int(self._clock()) + LIFETIME, StringIO()))
        said.write(text)
        self._chars += len(text)
        while self._said and self._has_to_go(next(iter(self._said.values()))[0]):
            self._chars -= self._said.popitem(last=False)[1][1].tell()
        return expires_at

    def _has_to_go(self, expires_at: int) -> bool:
        """Whether the oldest, which expires then, has to."""
        return len(self._said) > MOST or self._chars > MOST_CHARS or expires_at <= self._clock()

    def __getitem__(self, audio_id: str) -> str:
        expires_at, said = self._said[audio_id]
        if expires_at <= self._clock():
            raise KeyError(audio_id)
        return said.getvalue()

    def __iter__(self) -> Iterator[str]:
        return (audio_id for audio_id in self._said if audio_id in self)

    def __contains__(self, audio_id: object) -> bool:
        return audio_id in self._said and self._said[audio_id][0] > self._clock()  # type: ignore[index]

    def __len__(self) -> int:
        return sum(1 for _ in self)
