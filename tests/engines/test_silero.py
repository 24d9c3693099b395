from __future__ import annotations

import numpy as np
import pytest

from speaches.engines.silero import FRAME_SIZE, Silero
from tests.recordings import noise, recording, say, silence


def whole_frames(count: int) -> int:
    return count // FRAME_SIZE * FRAME_SIZE


def test_speech_is_likely_where_somebody_speaks(detector: Silero) -> None:
    speech = say("The quick brown fox jumps over the lazy dog.")
    samples = np.concatenate([silence(1), speech, silence(1)])
    chances = detector.stream().probabilities(samples[: whole_frames(len(samples))])
    assert len(chances) == len(samples) // FRAME_SIZE
    assert chances.dtype == np.float32
    assert chances[:28].max() < 0.5
    assert np.mean(chances[35 : 31 + len(speech) // FRAME_SIZE - 4] > 0.5) > 0.9
    assert ((chances >= 0) & (chances <= 1)).all()


def test_silence_and_noise_are_no_speech(detector: Silero) -> None:
    for samples in (silence(3), noise(3, level=0.05)):
        assert detector.stream().probabilities(samples[: whole_frames(len(samples))]).max() < 0.5


def test_a_stream_in_parts_is_the_same_as_the_whole(detector: Silero) -> None:
    samples = recording(say("Hello world."), say("What time is it?"))
    samples = samples[: whole_frames(len(samples))]
    whole = detector.stream().probabilities(samples)
    for size in (1, 3, 31):
        stream = detector.stream()
        blocks = (samples[start : start + size * FRAME_SIZE] for start in range(0, len(samples), size * FRAME_SIZE))
        assert np.concatenate([stream.probabilities(block) for block in blocks]) == pytest.approx(whole, abs=1e-5)


def test_streams_do_not_disturb_each_other(detector: Silero) -> None:
    samples = recording(say("Hello world."))
    samples = samples[: whole_frames(len(samples))]
    alone = detector.stream().probabilities(samples)
    one, other = detector.stream(), detector.stream()
    parts = []
    for start in range(0, len(samples), FRAME_SIZE):
        parts.append(one.probabilities(samples[start : start + FRAME_SIZE]))
        other.probabilities(noise(0.032, seed=start))
    assert np.concatenate(parts) == pytest.approx(alone, abs=1e-5)


def test_it_is_the_same_network_as_faster_whispers(detector: Silero) -> None:
    from faster_whisper.vad import get_vad_model

    samples = recording(say("The quick brown fox jumps over the lazy dog."))
    samples = samples[: whole_frames(len(samples))]
    theirs = get_vad_model()(samples)
    assert detector.stream().probabilities(samples) == pytest.approx(np.ravel(theirs), abs=1e-4)


def test_nothing_heard_is_nothing_found(detector: Silero) -> None:
    assert len(detector.stream().probabilities(silence(0))) == 0
