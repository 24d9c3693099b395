from __future__ import annotations

import numpy as np
import pytest

from speaches.audio.loudness import MOST_GAIN, PEAK, REMEMBERED_BLOCKS, Loudness
from tests.recordings import noise, silence, tone


def test_ordinary_speech_is_left_as_it_is() -> None:
    samples = tone(440, 1, level=0.3)
    assert Loudness().even(samples) is samples


def test_silence_stays_silence() -> None:
    assert not Loudness().even(silence(1)).any()


def test_a_quiet_recording_becomes_a_loud_one() -> None:
    evened = Loudness().even(tone(440, 1, level=0.003))
    assert np.abs(evened).max() == pytest.approx(PEAK, rel=0.01)


def test_the_noise_of_a_microphone_does_not_become_loud() -> None:
    hiss = noise(1, level=1e-5)
    assert np.abs(Loudness().even(hiss)).max() <= np.abs(hiss).max() * MOST_GAIN * 1.001


def test_a_pause_after_loud_speech_is_not_made_louder_at_once() -> None:
    loudness, quiet = Loudness(), tone(440, 1, level=0.003)
    loudness.even(tone(440, 1, level=0.5))
    for _ in range(REMEMBERED_BLOCKS - 1):
        assert loudness.even(quiet) is quiet
    assert np.abs(loudness.even(quiet)).max() == pytest.approx(PEAK, rel=0.01)
