"""Whether a text is to be believed by itself: Whisper's own gates. Rules only.

Thresholds are those of the paper (https://arxiv.org/abs/2212.04356, section 4.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from speaches.engines.base import Segment

TOO_REPETITIVE = 2.4  # compression ratio
TOO_IMPROBABLE = -1.0  # average log probability


def is_loop(segments: Sequence[Segment]) -> bool:
    return any(segment.compression_ratio > TOO_REPETITIVE for segment in segments)


def is_doubtful(segments: Sequence[Segment]) -> bool:
    return is_loop(segments) or any(segment.avg_logprob < TOO_IMPROBABLE for segment in segments)


def likelihood(segments: Sequence[Segment]) -> float:
    """The average log probability; of no text, less than that of any."""
    return min((segment.avg_logprob for segment in segments), default=float("-inf"))
