from __future__ import annotations

import numpy as np
import pytest

from speaches.audio.resample import Resampler, resample
from tests.recordings import level, noise, pitch, silence, tone

RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)


@pytest.mark.parametrize("to_rate", RATES)
@pytest.mark.parametrize("from_rate", RATES)
def test_the_length_is_right_to_a_sample(from_rate: int, to_rate: int) -> None:
    for count in (0, 1, 100, 4097, 30_001):
        wanted = count * to_rate / from_rate
        assert abs(len(resample(np.zeros(count, np.float32), from_rate, to_rate)) - wanted) <= 1


def test_a_tone_keeps_its_pitch_and_level() -> None:
    for from_rate, to_rate in ((48_000, 16_000), (22_050, 16_000), (24_000, 8_000), (16_000, 24_000)):
        out = resample(tone(440, 2, from_rate), from_rate, to_rate)
        assert pitch(out, to_rate) == pytest.approx(440, abs=1)
        assert level(out[1000:-1000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_what_is_too_high_for_the_new_rate_is_gone_and_does_not_alias() -> None:
    for hertz in (8_500, 10_000, 20_000):
        out = resample(tone(hertz, 1, 48_000), 48_000, 16_000)
        assert level(out[1000:-1000]) < 1e-4


def test_the_same_rate_changes_nothing() -> None:
    samples = noise(0.1)
    assert np.array_equal(resample(samples, 16_000, 16_000), samples)


def test_a_stream_in_blocks_is_the_same_as_the_whole() -> None:
    samples = noise(1.3, 44_100)
    resampler = Resampler(44_100, 16_000)
    blocks = np.split(samples, np.sort(np.random.default_rng(1).integers(0, len(samples), 30)))
    streamed = np.concatenate([*(resampler.push(block) for block in blocks), resampler.finish()])
    assert np.allclose(streamed, resample(samples, 44_100, 16_000), atol=1e-6)


def test_nothing_is_delayed() -> None:
    click = silence(1, 48_000)
    click[24_000] = 1.0
    assert int(np.argmax(np.abs(resample(click, 48_000, 16_000)))) == 8_000
