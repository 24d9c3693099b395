"""Whole answers that were given before, for texts that come again: greetings, menus, station names. Rules only."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

LARGEST_SHARE = 8  # an answer may take this part of the cache at most, else one long text would throw out everything
OVERHEAD = 512  # bytes that an entry takes besides its audio, roughly: many tiny answers must not be free


@dataclass(frozen=True)
class Kept:
    """An answer that was given to its end."""

    data: bytes
    """Encoded, with true lengths in its headers."""
    seconds: float
    """How long it sounds."""


class SpeechCache:
    """Answers by key, the least recently asked for going first.

    Args:
        capacity: Bytes of all answers together; 0 keeps none.
    """

    def __init__(self, capacity: int) -> None:
        self.largest = capacity // LARGEST_SHARE - OVERHEAD
        """Bytes of an answer that is still kept; negative where none is."""
        self._capacity = capacity
        self._used = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    @property
    def is_on(self) -> bool:
        return self.largest > 0

    def get(self, key: bytes) -> Kept | None:
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an answer, unless it is too large."""
        if len(kept.data) > self.largest:
            return
        if (before := self._kept.pop(key, None)) is not None:
            self._used -= len(before.data) + OVERHEAD
        self._kept[key] = kept
        self._used += len(kept.data) + OVERHEAD
        while self._used > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            self._used -= len(oldest.data) + OVERHEAD


def key_of(*facts: object) -> bytes:
    """A key from all that an answer depends on, short however long the text is. Takes milliseconds for a megabyte."""
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).digest()
