from __future__ import annotations

import numpy as np

from speaches.audio.pcm import from_pcm16, to_pcm16
from tests.recordings import noise


def _ints(*samples: float) -> list[int]:
    values: list[int] = np.frombuffer(to_pcm16(np.array(samples, np.float32)), "<i2").tolist()
    return values


def test_full_scale_is_the_largest_number() -> None:
    assert _ints(0.0, 1.0, -1.0, 0.5) == [0, 32767, -32767, 16383]


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    assert _ints(1.5, -1.5, 1000.0) == [32767, -32767, 32767]


def test_what_is_no_number_is_silence() -> None:
    assert _ints(np.nan, 0.5, np.inf, -np.inf) == [0, 16383, 0, 0]


def test_there_and_back_is_the_same_to_a_step_or_two() -> None:
    samples = noise(1).clip(-1, 1)
    assert np.abs(from_pcm16(to_pcm16(samples)) - samples).max() < 2.5 / 32768


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert from_pcm16(b"\x00\x40\x00").tolist() == [0.5]
    assert from_pcm16(b"\x00").tolist() == []


def test_bytes_are_little_endian() -> None:
    assert to_pcm16(np.array([1 / 32767], np.float32)) == b"\x01\x00"
    assert from_pcm16(b"\x00\x80").tolist() == [-1.0]
