"""How far a transcript is from what was said: errors, words lost, and the longest stretch that is missing."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import jiwer

NUMBERS = {
    "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine", "10": "ten",
}  # fmt: skip
UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u9fff])")


@dataclass(frozen=True)
class Score:
    words: int
    """Of what was said."""
    errors: int
    """Words that are wrong, missing or too many."""
    lost: int
    """Words that are missing."""
    added: int
    """Words that are too many."""
    longest_lost: int
    """The most missing words in a row."""
    longest_added: int
    """The most words too many in a row."""

    @property
    def rate(self) -> float:
        """Word error rate."""
        return self.errors / max(1, self.words)

    def __str__(self) -> str:
        return (
            f"{self.rate:.1%}, {self.lost} of {self.words} lost (at most {self.longest_lost} together),"
            f" {self.added} added (at most {self.longest_added})"
        )


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation; numbers to ten spelled out; each Chinese and Japanese character a word."""
    plain = UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text).casefold().replace("’", "'"))
    kept = "".join(one if unicodedata.category(one)[0] in "LMN" or one == "'" else " " for one in plain)
    return [NUMBERS.get(word, word) for word in kept.split()]


def score(said: str, heard: str) -> Score:
    """Compare a transcript with what was said."""
    reference, hypothesis = " ".join(words_of(said)), " ".join(words_of(heard))
    if not hypothesis:  # jiwer takes no empty texts
        count = len(reference.split())
        return Score(count, count, count, 0, count, 0)
    result = jiwer.process_words(reference, hypothesis)
    chunks = result.alignments[0]
    missing = [chunk.ref_end_idx - chunk.ref_start_idx for chunk in chunks if chunk.type == "delete"]
    extra = [chunk.hyp_end_idx - chunk.hyp_start_idx for chunk in chunks if chunk.type == "insert"]
    return Score(
        len(reference.split()),
        result.substitutions + result.deletions + result.insertions,
        result.deletions,
        result.insertions,
        max(missing, default=0),
        max(extra, default=0),
    )
