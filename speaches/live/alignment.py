"""Where a text that was heard again goes on, though some of its words were heard otherwise before. Rules only."""

from __future__ import annotations

from collections.abc import Sequence


def words_again(known: Sequence[str], heard: Sequence[str]) -> int:
    """How many of the words at the start of `heard` say what `known` says.

    Those with the fewest words to change, add or leave out (Levenshtein's distance from all of `known`). Of several that are as near: the
    longest that ends with the same word, for it is surely no new one; else the one that has about as many words.

    Args:
        known, heard: Words, as they are to be compared.
    """
    if list(heard[: len(known)]) == list(known):
        return len(known)
    changes = _changes(known, heard)
    nearest = [count for count, change in enumerate(changes) if change == min(changes)]
    same_end = [count for count in nearest if count and heard[count - 1] == known[-1]]
    return max(same_end) if same_end else min(nearest, key=lambda count: abs(count - len(known)))


def _changes(known: Sequence[str], heard: Sequence[str]) -> list[int]:
    """Levenshtein's distance of `known` from each start of `heard`, the empty one first."""
    import numpy as np

    numbers = {word: number for number, word in enumerate({*known, *heard})}
    others = np.array([numbers[word] for word in heard], np.int64)
    places = np.arange(len(heard) + 1)
    row = places.copy()
    for word in known:
        changed = row[:-1] + (others != numbers[word])
        row = np.minimum(row + 1, np.concatenate(([row[0] + 1], changed)))
        row = np.minimum.accumulate(row - places) + places  # words that only `heard` has
    return [int(change) for change in row]
