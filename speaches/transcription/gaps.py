"""Speech in a window that got no words, and what is made of it when it is heard again. Rules only.

Whisper ends its text before the audio ends, and passes over what another speaker says, mostly where speakers change. It does not say so:
only the times of the words show that there is speech without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from speaches.engines.base import SAMPLE_RATE, Segment, Word
from speaches.transcription.activity import FRAME_SIZE
from speaches.transcription.doubts import TOO_IMPROBABLE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from speaches.engines.base import Samples

FRAME = FRAME_SIZE / SAMPLE_RATE  # seconds
SPEECH = 0.5
"""A frame is speech from this chance on."""
SHORTEST_GAP = 0.7  # seconds of speech; less is the fade of a word, or a breath
LONGEST_FADE = 0.3  # seconds of speech next to a word, and before a pause, that are its own
MARGIN = 0.2  # seconds that are heard again before and after the speech, as far as no word is there
COPY_SHARE = 0.5
"""Words that stand twice are said once where the one takes less than this share of the other's time."""

Gap = tuple[float, float]
"""Seconds from the start of the window."""


def gaps(segments: Sequence[Segment], chances: Samples, duration: float) -> list[Gap]:
    """Where a window has speech of `SHORTEST_GAP` or more and no words.

    Args:
        segments: What was heard in it, with words. Without words nothing is known.
        chances: shape (n,): the chance of speech in each frame of the window.
        duration: Seconds of the window.
    """
    words = [word for segment in segments for word in segment.words]
    if not words:
        return []
    ends = [(0.0, 0.0), *((word.start, word.end) for word in words), (duration, duration)]
    found = []
    for (_, end), (start, _) in pairwise(ends):
        speech = _without_fades(speech_between(chances, end, start), end, start)
        if len(speech) * FRAME >= SHORTEST_GAP:
            found.append((max(end, speech[0] * FRAME - MARGIN), min(start, (speech[-1] + 1) * FRAME + MARGIN)))
    return found


def _without_fades(speech: npt.NDArray[np.intp], end: float, start: float) -> npt.NDArray[np.intp]:
    """Frames with speech between two words, without what belongs to these words: their times are not exact."""
    import numpy as np

    runs = np.split(speech, np.flatnonzero(np.diff(speech) > 1) + 1)
    if len(runs) > 1 and runs[0][0] * FRAME - end < FRAME and len(runs[0]) * FRAME < LONGEST_FADE:
        runs = runs[1:]
    if len(runs) > 1 and start - (runs[-1][-1] + 1) * FRAME < FRAME and len(runs[-1]) * FRAME < LONGEST_FADE:
        runs = runs[:-1]
    return np.concatenate(runs)


def speech_between(chances: Samples, start: float, end: float) -> npt.NDArray[np.intp]:
    """The numbers of the frames with speech from `start` to `end` seconds."""
    import numpy as np

    first, last = round(start / FRAME), round(end / FRAME)
    return np.flatnonzero(chances[first:last] >= SPEECH) + first


def believable(segments: Sequence[Segment]) -> list[Segment]:
    """What was heard in a gap, without what the recogniser doubts: nobody misses a guess."""
    return [segment for segment in segments if segment.avg_logprob >= TOO_IMPROBABLE and segment.text.strip()]


def fill(segments: Sequence[Segment], gap: Gap, found: Sequence[Segment]) -> list[Segment]:
    """The segments of a window with those that were found in a gap, all with times of the window, in order.

    What stands beside the gap already, in too little time, was placed wrongly and is not said twice.
    """
    before, after = [], []
    for segment in segments:
        earlier, later = _split(segment, gap[0])
        before += [earlier] if earlier else []
        after += [later] if later else []
    if not found or _is_copy(found, before[-1:]) or _is_copy(found, after[:1]):
        return list(segments)
    return [*before, *found, *after]


def _split(segment: Segment, at: float) -> tuple[Segment | None, Segment | None]:
    """A segment before and after a gap within it. A word that begins before the gap belongs before it."""
    count = sum(word.start < at for word in segment.words)
    if count == len(segment.words):
        return segment, None
    if not count:
        return None, segment
    text = "".join(word.word for word in segment.words[:count])
    ends = accumulate(len(one.token) for one in segment.logprobs)
    known = sum(1 for end in ends if end <= len(text))
    words, rest = segment.words[:count], segment.words[count:]
    # Which token belongs to which word is not known here: all stay with the first part.
    first = replace(segment, text=text, words=words, end=words[-1].end, logprobs=segment.logprobs[:known])
    text, logprobs = segment.text[len(text) :], segment.logprobs[known:]
    return first, replace(segment, text=text, words=rest, start=rest[0].start, logprobs=logprobs, tokens=())


def _is_copy(found: Sequence[Segment], beside: Sequence[Segment]) -> bool:
    """Whether the words beside a gap are those that were found in it, crammed into too little time."""
    new = [word for segment in found for word in segment.words]
    old = [word for segment in beside for word in segment.words]
    for same in (old[-len(new) :], old[: len(new)]) if new else ():
        if _plain(same) == _plain(new) and _time(same) < COPY_SHARE * _time(new):
            return True
    return False


def _plain(words: Sequence[Word]) -> list[str]:
    return ["".join(filter(str.isalnum, word.word.casefold())) for word in words]


def _time(words: Sequence[Word]) -> float:
    return sum(word.end - word.start for word in words)
