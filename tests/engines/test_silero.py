from __future__ import annotations

import numpy as np
import pytest

from speaches.engines.silero import FRAME_SIZE, Silero
from tests.recordings import noise, recording, say, silence, tone


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


# --- After a long silence ---

QUIET = {
    "zeros": silence(60),
    "faint noise": noise(60, level=0.0003),
    "noise": noise(60, level=0.003),
    "hum": tone(50, 60, level=0.01),
    "offset": np.full(60 * 16_000, 0.02, np.float32),
    "clicks": np.where(np.arange(60 * 16_000) % 80_000 == 0, np.float32(0.5), np.float32(0)),
}


@pytest.mark.parametrize("kind", QUIET)
def test_speech_after_a_long_silence_is_found_as_from_the_start(detector: Silero, kind: str) -> None:
    speech = [say("The quick brown fox jumps over the lazy dog."), silence(0.3), say("What time is it, please?")]
    said = np.concatenate(speech)
    late = []
    for shift in range(0, 64, 21):  # the state may be fresh since a frame or since two seconds
        lead = whole_frames(len(QUIET[kind])) - shift * FRAME_SIZE
        samples = np.concatenate([QUIET[kind][:lead], said])
        after = detector.stream().probabilities(samples[: whole_frames(len(samples))])[lead // FRAME_SIZE :] > 0.5
        soon = np.concatenate([QUIET[kind][-16_384:], said])
        at_once = detector.stream().probabilities(soon[: whole_frames(len(soon))])[32:] > 0.5
        assert after.sum() >= 0.97 * at_once.sum()
        late.append(int(after.argmax()) - int(at_once.argmax()))
    assert max(late) <= 3, late


def test_a_long_silence_is_the_same_in_parts_as_in_the_whole(detector: Silero) -> None:
    speech = say("What time is it?")
    samples = np.concatenate([silence(5), speech, noise(7.3, level=0.002), speech, silence(3.1), speech])
    samples = samples[: whole_frames(len(samples))]
    whole = detector.stream().probabilities(samples)
    for size in (1, 2, 31, 63, 64, 65, 200):
        stream = detector.stream()
        blocks = (samples[start : start + size * FRAME_SIZE] for start in range(0, len(samples), size * FRAME_SIZE))
        assert np.concatenate([stream.probabilities(block) for block in blocks]) == pytest.approx(whole, abs=1e-4)


def test_a_fresh_state_takes_no_noise_for_a_little_speech(detector: Silero) -> None:
    for quiet in (silence(20), noise(20, level=0.001)):
        chances = detector.stream().probabilities(quiet[: whole_frames(len(quiet))])
        assert chances[64:].max() < 0.03


def test_within_speech_the_state_is_never_fresh(detector: Silero) -> None:
    from faster_whisper.vad import get_vad_model

    speech = say("The quick brown fox jumps over the lazy dog.")
    samples = np.concatenate([speech, silence(1.2)] * 8)
    samples = samples[: whole_frames(len(samples))]
    theirs = np.ravel(get_vad_model()(samples))
    assert detector.stream().probabilities(samples) == pytest.approx(theirs, abs=1e-3)
