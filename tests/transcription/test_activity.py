from __future__ import annotations

import math
from typing import Any

import faster_whisper.vad
import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE
from speaches.transcription.activity import FRAME_SIZE, ActivityOptions, Region, SpeechRegions


def speech(frames: int, chance: float = 0.9) -> list[float]:
    return [chance] * frames


def quiet(frames: int) -> list[float]:
    return [0.0] * frames


def found(chances: list[float], **options: Any) -> list[tuple[int, int]]:
    """Regions in frames, without padding unless asked for."""
    regions = SpeechRegions(ActivityOptions(**{"speech_pad_ms": 0, **options}))
    every = regions.push(chances) + regions.finish(len(chances) * FRAME_SIZE)
    return [(region.start // FRAME_SIZE, region.end // FRAME_SIZE) for region in every]


# --- Rules ---


def test_speech_between_silences() -> None:
    assert found(quiet(10) + speech(20) + quiet(10)) == [(10, 30)]


def test_a_short_pause_does_not_end_speech_and_a_long_one_does() -> None:
    assert found(speech(10) + quiet(4) + speech(10)) == [(0, 24)]
    assert found(speech(10) + quiet(6) + speech(10)) == [(0, 10), (16, 26)]


def test_speech_goes_on_while_it_is_not_quite_silent() -> None:
    assert found(speech(10) + speech(20, chance=0.4) + quiet(10)) == [(0, 30)]


def test_speech_that_is_too_short_is_left_out() -> None:
    assert found(quiet(5) + speech(2) + quiet(20) + speech(9) + quiet(9), min_speech_duration_ms=100) == [(27, 36)]


def test_padding_goes_up_to_the_middle_of_a_pause() -> None:
    chances = quiet(50) + speech(20) + quiet(10) + speech(20) + quiet(50)
    assert found(chances, speech_pad_ms=320) == [(40, 75), (75, 110)]


def test_padding_ends_with_the_recording() -> None:
    assert found(quiet(2) + speech(20) + quiet(6), speech_pad_ms=3200) == [(0, 28)]


def test_speech_that_is_too_long_is_cut_at_its_last_pause() -> None:
    frames = SAMPLE_RATE // FRAME_SIZE
    chances = speech(2 * frames) + quiet(5) + speech(4 * frames)
    regions = found(chances, max_speech_duration_s=4, min_silence_duration_ms=500)
    assert regions[0] == (0, 2 * frames)
    assert regions[1][0] == 2 * frames + 5
    assert all(end - start <= 4 * frames + 1 for start, end in regions)


def test_silence_is_nothing() -> None:
    assert found(quiet(100)) == []
    assert found([]) == []


# --- The same as faster-whisper ---


def _random_case(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], int, dict[str, Any]]:
    """Chances as of somebody who speaks and pauses, and random options."""
    chances: list[float] = []
    frames = rng.integers(1, 1500)
    while len(chances) < frames:
        level = rng.choice([0.02, 0.3, 0.45, 0.6, 0.95])
        length = int(rng.choice([1, 3, 10, 40, 200]) * rng.uniform(0.5, 1.5)) + 1
        chances += np.clip(rng.normal(level, 0.15, length), 0, 1).tolist()
    total = len(chances) * FRAME_SIZE - int(rng.integers(1, FRAME_SIZE + 1))  # the last frame is filled with silence
    options = {
        "threshold": float(rng.choice([0.3, 0.5, 0.75])),
        "neg_threshold": None if rng.random() < 0.7 else float(rng.uniform(0.05, 0.4)),
        "min_speech_duration_ms": int(rng.choice([0, 100, 250])),
        "max_speech_duration_s": float(rng.choice([math.inf, 30, 5, 2])),
        "min_silence_duration_ms": int(rng.choice([0, 100, 160, 500, 2000])),
        "speech_pad_ms": int(rng.choice([0, 30, 200, 400, 1000])),
    }
    return np.array(chances, np.float32), total, options


@pytest.mark.parametrize("block", range(8))
def test_a_stream_gives_the_regions_that_faster_whisper_finds_in_the_whole(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(block * 60, block * 60 + 60):
        rng = np.random.default_rng(seed)
        chances, total, options = _random_case(rng)
        monkeypatch.setattr(faster_whisper.vad, "get_vad_model", lambda chances=chances: lambda audio: chances)
        theirs = faster_whisper.vad.get_speech_timestamps(
            np.zeros(total, np.float32), faster_whisper.vad.VadOptions(**options)
        )
        assert _streamed(chances, total, options, rng) == [Region(one["start"], one["end"]) for one in theirs], seed


def _streamed(chances: Any, total: int, options: dict[str, Any], rng: np.random.Generator) -> list[Region]:
    regions, ours, place = SpeechRegions(ActivityOptions(**options)), [], 0
    while place < len(chances):
        step = int(rng.integers(0, 60))
        needed = regions.needed_from
        new = regions.push(chances[place : place + step])
        assert all(region.start >= needed for region in new)
        assert regions.needed_from >= needed or not new
        ours += new
        place += step
    needed = regions.needed_from
    last = regions.finish(total)
    assert all(region.start >= needed for region in last)
    return ours + last


def test_a_region_is_given_as_soon_as_its_end_is_sure() -> None:
    regions = SpeechRegions(ActivityOptions(min_silence_duration_ms=160, speech_pad_ms=320))
    assert regions.push(quiet(20) + speech(20)) == []
    assert regions.push(quiet(19)) == []
    assert regions.push(quiet(5)) == [Region(10 * FRAME_SIZE, 50 * FRAME_SIZE)]


def test_a_pause_within_a_block_makes_the_region_before_it_sure() -> None:
    regions = SpeechRegions(ActivityOptions(speech_pad_ms=64))
    assert len(regions.push(speech(20) + quiet(20) + speech(20))) == 1


def test_in_silence_nothing_old_is_needed() -> None:
    regions = SpeechRegions(ActivityOptions(speech_pad_ms=320))
    regions.push(speech(20) + quiet(1000))
    assert regions.needed_from == (1020 - 10) * FRAME_SIZE
