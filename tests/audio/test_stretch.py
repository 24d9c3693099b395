from __future__ import annotations

import numpy as np
import pytest

from speaches.audio.stretch import stretch
from tests.recordings import level, pitch, silence, tone

TEMPOS = (0.1, 0.25, 0.5, 0.55, 0.9, 1.5, 2.0, 2.1, 4.0, 8.0, 10.0)


@pytest.mark.parametrize("tempo", TEMPOS)
def test_the_length_is_exact_however_short_the_sound(tempo: float) -> None:
    # At tempos over 2, FFmpeg's atempo aborted the process on some short sounds: lengths from 1 sample on.
    for count in (*range(1, 400, 13), 1_000, 5_000, 24_000):
        assert len(stretch(tone(440, count / 24_000, 24_000), 24_000, tempo)) == round(count / tempo)


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_the_pitch_stays_and_the_level_too(tempo: float) -> None:
    out = stretch(tone(300, 2, 22_050), 22_050, tempo)
    assert pitch(out, 22_050) == pytest.approx(300, rel=0.02)
    assert level(out) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


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
