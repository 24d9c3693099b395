from __future__ import annotations

import numpy as np

from speaches.audio.buffer import SampleBuffer
from tests.recordings import noise


def filled(*lengths: int) -> SampleBuffer:
    """Blocks of these lengths; each sample is its own place in the recording."""
    buffer = SampleBuffer()
    for length in lengths:
        buffer.add(np.arange(buffer.end, buffer.end + length, dtype=np.float32))
    return buffer


def test_samples_are_found_at_their_place() -> None:
    buffer = filled(3, 4, 5)
    assert buffer.end == 12
    assert buffer.take(0, 12).tolist() == list(range(12))
    assert buffer.take(2, 8).tolist() == [2, 3, 4, 5, 6, 7]
    assert buffer.take(4, 5).tolist() == [4]


def test_what_is_not_there_is_left_out() -> None:
    buffer = filled(3)
    assert buffer.take(2, 10).tolist() == [2]
    assert buffer.take(5, 10).tolist() == []
    assert buffer.take(1, 1).tolist() == []


def test_dropping_keeps_all_from_the_place_on() -> None:
    buffer = filled(3, 4, 5)
    buffer.drop(5)
    assert buffer.take(5, 12).tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert buffer.take(0, 3).tolist() == []
    assert buffer.end == 12


def test_dropping_all_leaves_the_count() -> None:
    buffer = filled(3)
    buffer.drop(3)
    buffer.add(np.array([3.0], np.float32))
    assert buffer.end == 4
    assert buffer.take(0, 4).tolist() == [3]


def test_what_is_taken_is_a_copy() -> None:
    buffer = filled(3)
    buffer.take(0, 3)[:] = 7
    assert buffer.take(0, 3).tolist() == [0, 1, 2]


def test_a_buffer_that_is_dropped_from_is_the_recording_from_there_on() -> None:
    rng = np.random.default_rng(0)
    whole = noise(2)
    buffer, place, oldest = SampleBuffer(), 0, 0
    while place < len(whole):
        step = int(rng.integers(0, 4000))
        buffer.add(whole[place : place + step])
        place = min(place + step, len(whole))
        oldest = int(rng.integers(oldest, place + 1))
        buffer.drop(oldest)
        start, end = sorted(rng.integers(oldest, place + 1, 2).tolist())
        assert np.array_equal(buffer.take(start, end), whole[start:end])
    assert buffer.end == len(whole)
