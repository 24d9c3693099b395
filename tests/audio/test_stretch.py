from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from speaches.audio.stretch import stretch
from tests.recordings import level, pitch, silence, tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

TEMPOS = (0.1, 0.25, 0.5, 0.55, 0.9, 1.5, 2.0, 2.1, 4.0, 8.0, 10.0)


@pytest.mark.parametrize("tempo", TEMPOS)
def test_the_length_is_exact_however_short_the_sound(tempo: float) -> None:
    # At tempos over 2, FFmpeg's atempo aborted the process on some short sounds: lengths from 1 sample on.
    for count in (*range(1, 400, 13), 1_000, 5_000, 24_000):
        assert len(stretch(tone(440, count / 24_000, 24_000), 24_000, tempo)) == round(count / tempo)


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("tempo", [0.25, 0.4, 0.5, 0.8, 1.3, 2.0, 3.0, 4.0])
def test_pitch_length_and_level_stay_and_nothing_clicks(tempo: float, rate: int) -> None:
    sound = tone(200, 3, rate)
    out = stretch(sound, rate, tempo)
    assert len(out) * tempo == pytest.approx(len(sound), rel=0.01)
    assert pitch(np.pad(out, (0, 2**20 - len(out))), rate) == pytest.approx(200, rel=0.01)
    assert level(out) == pytest.approx(level(sound), rel=0.02)
    inside = out[len(out) // 10 : -len(out) // 10]
    assert _sharpest_turn(inside) < 2 * _sharpest_turn(sound)


def _sharpest_turn(samples: Samples) -> float:
    """The greatest change from one step to the next, by which a click stands out of a tone."""
    return float(np.abs(np.diff(samples, 2)).max())


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_sound_stays_where_it_was_and_its_end_is_not_lost(tempo: float) -> None:
    sound = np.concatenate([silence(1), tone(300, 1)])
    loud = np.flatnonzero(np.abs(stretch(sound, 16_000, tempo)) > 0.1) * tempo / 16_000
    assert loud[0] == pytest.approx(1.0, abs=0.1)
    assert loud[-1] == pytest.approx(2.0, abs=0.02)


def test_no_change_of_tempo_changes_nothing() -> None:
    samples = tone(440, 0.1)
    assert stretch(samples, 16_000, 1.0) is samples


def test_nothing_stretched_is_nothing() -> None:
    assert len(stretch(silence(0), 16_000, 0.5)) == 0
