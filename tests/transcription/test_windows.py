from __future__ import annotations

import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE, WINDOW_SAMPLES, Segment, Word
from speaches.transcription.activity import Region
from speaches.transcription.windows import CUT_SHARE, TimeMap, WindowPacker, quietest_cut

FULL = WINDOW_SAMPLES


def packed(*regions: tuple[int, int], size: int = 100) -> list[list[tuple[int, int]]]:
    packer = WindowPacker()
    packer.size = size
    windows = [window for start, end in regions for window in packer.add(Region(start, end))] + packer.finish()
    return [[(region.start, region.end) for region in window] for window in windows]


# --- Packing ---


def test_regions_share_a_window_until_it_is_full() -> None:
    assert packed((0, 40), (50, 90), (200, 220)) == [[(0, 40), (50, 90), (200, 220)]]
    assert packed((0, 40), (50, 90), (200, 221)) == [[(0, 40), (50, 90)], [(200, 221)]]


def test_pauses_take_no_room() -> None:
    assert packed((0, 50), (10_000, 10_050)) == [[(0, 50), (10_000, 10_050)]]


def test_a_region_that_is_too_long_is_cut() -> None:
    assert packed((0, 10), (20, 20 + 2 * FULL)) == [[(0, 10)], [(20, 20 + FULL)], [(20 + FULL, 20 + 2 * FULL)]]


def test_a_window_spans_two_minutes_at_most_so_that_no_pause_is_kept_in_memory() -> None:
    minute = 60 * SAMPLE_RATE
    assert packed((0, 50), (minute, minute + 10), (2 * minute, 2 * minute + 10)) == [
        [(0, 50), (minute, minute + 10)],
        [(2 * minute, 2 * minute + 10)],
    ]


def test_a_region_of_just_a_window_fills_it() -> None:
    assert packed((0, 100), (100, 200)) == [[(0, 100)], [(100, 200)]]


def test_nothing_packed_is_no_window() -> None:
    assert packed() == []


def test_any_regions_are_packed_wholly_in_order_and_in_windows_that_are_not_too_long() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        places = np.cumsum(rng.integers(0, 150, 40)).tolist()
        regions = [(start, end) for start, end in zip(places[::2], places[1::2], strict=True) if end > start]
        windows = packed(*regions)
        assert all(len(window) == 1 or sum(end - start for start, end in window) <= 100 for window in windows)
        said = {place for start, end in regions for place in range(start, end)}
        flat = [region for window in windows for region in window]
        assert {place for start, end in flat for place in range(start, end)} == said
        assert flat == sorted(flat)


def test_what_an_open_window_needs_is_from_its_first_region_on() -> None:
    packer = WindowPacker()
    packer.size = 100
    assert packer.needed_from is None
    packer.add(Region(20, 60))
    packer.add(Region(70, 100))
    assert packer.needed_from == 20
    packer.add(Region(200, 290))
    assert packer.needed_from == 200
    packer.finish()
    assert packer.needed_from is None


# --- Times ---


def seconds(*regions: tuple[float, float]) -> TimeMap:
    return TimeMap(tuple(Region(int(start * SAMPLE_RATE), int(end * SAMPLE_RATE)) for start, end in regions))


def test_a_time_in_the_window_is_a_time_in_the_recording() -> None:
    times = seconds((10, 12), (20, 23), (40, 41))
    assert [times.time(t) for t in (0, 1, 1.999, 2.5, 4.999, 5.25)] == [10, 11, 11.999, 20.5, 22.999, 40.25]


def test_at_a_join_an_end_belongs_to_what_was_before_and_a_start_to_what_comes() -> None:
    times = seconds((10, 12), (20, 23))
    assert times.time(2.0, is_end=True) == 12
    assert times.time(2.0) == 20


def test_a_time_past_the_window_is_its_end() -> None:
    assert seconds((10, 12), (20, 23)).time(99) == 23
    assert seconds((10, 12)).time(2.0001, is_end=True) == 12


def test_a_segment_moves_with_its_words() -> None:
    words = (Word(" a", 0.5, 2.0, 0.9), Word(" b", 2.0, 3.0, 0.9))
    moved = seconds((10, 12), (20, 23)).segment(Segment(" a b", 0.5, 3.0, words=words))
    assert (moved.start, moved.end) == (10.5, 21.0)
    assert [(word.start, word.end) for word in moved.words] == [(10.5, 12.0), (20.0, 21.0)]


def test_times_never_go_back() -> None:
    times = seconds((0, 1.5), (3, 4), (9, 15))
    mapped = [times.time(t) for t in np.arange(0, 9, 0.01)]
    assert mapped == sorted(mapped)


# --- Cuts ---


def test_a_full_window_is_cut_at_its_quietest_frame() -> None:
    chances = [0.9] * 937
    chances[800] = 0.1
    assert quietest_cut(chances) == 800


def test_only_the_last_ten_seconds_are_looked_at() -> None:
    chances = [0.9] * 937
    chances[100] = 0.0
    chances[700] = 0.5
    assert quietest_cut(chances) == 700
    assert 937 - CUT_SHARE > 600


@pytest.mark.parametrize("count", [1, 2, 10, CUT_SHARE, CUT_SHARE + 1])
def test_a_cut_leaves_something_before_it(count: int) -> None:
    for chances in ([0.0] * count, [0.5] * (count - 1) + [0.0]):
        assert 1 <= quietest_cut(chances) <= count
