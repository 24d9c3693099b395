"""The detector on human speech after long pauses, and on generated speech whose places are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import numpy as np
import openai
import pytest
from faster_whisper.vad import get_vad_model

from speaches.audio.pcm import from_pcm16
from speaches.audio.resample import resample
from speaches.engines import silero
from speaches.engines.base import SAMPLE_RATE
from speaches.engines.silero import FRAME_SIZE, Silero
from speaches.realtime.turns import ServerVad, SpeechStarted, Turns
from tests.real.recordings import BECKETT, ENDGAME, JFK, LJ6, Recording, silence
from tests.recordings import wav

if TYPE_CHECKING:
    from speaches.engines.base import Samples

SPOKEN = (
    ("af_heart", "The train to the coast leaves at nine, and I would not want to miss it again."),
    ("am_michael", "Did you see the letter on the table? It came this morning."),
)
PAUSES = (0.5, 9.0, 2.0, 70.0, 1.0)  # seconds, around and between them
AUDIBLE = 0.02  # of the loudest frame


@pytest.fixture(scope="module")
def detector() -> Iterator[Silero]:
    engine = silero.load(None, None)  # type: ignore[arg-type]
    yield engine
    engine.close()


def whole_frames(samples: Samples) -> Samples:
    return samples[: len(samples) // FRAME_SIZE * FRAME_SIZE]


def chances(detector: Silero, samples: Samples) -> Samples:
    return detector.stream().probabilities(whole_frames(samples))


# --- After long pauses ---


@pytest.mark.parametrize("recording", [JFK, BECKETT, ENDGAME, LJ6], ids=lambda one: one.name)
@pytest.mark.parametrize(("minutes", "noise"), [(5, 0.0), (2, 0.003)])
def test_speech_after_minutes_of_silence_is_found_as_after_a_second(
    detector: Silero, recording: Recording, minutes: int, noise: float
) -> None:
    quiet = whole_frames(silence(minutes * 60, noise=noise))
    found = []
    for before in (quiet[-31 * FRAME_SIZE :], quiet):
        after = chances(detector, np.concatenate([before, recording.samples]))[len(before) // FRAME_SIZE :]
        found.append(after >= 0.5)
    assert found[1].sum() >= 0.97 * found[0].sum()
    assert found[1].argmax() - found[0].argmax() <= 3  # frames


def test_a_recording_after_ten_minutes_of_silence_starts_where_it_starts(http: httpx.Client) -> None:
    samples = np.concatenate([silence(600), JFK.samples])
    answer = http.post("/v1/audio/speech/timestamps", files={"file": ("a.wav", wav(samples))})
    soon = http.post("/v1/audio/speech/timestamps", files={"file": ("a.wav", wav(samples[599 * SAMPLE_RATE :]))})
    starts, wanted = ([region["start"] for region in one.json()] for one in (answer, soon))
    assert [start - 599_000 for start in starts] == pytest.approx(wanted, abs=64)


@pytest.mark.parametrize("noise", [0.0, 0.0003])
def test_the_turn_after_minutes_of_a_muted_microphone_starts_in_time(detector: Silero, noise: float) -> None:
    """As in Realtime: a frame at a time."""
    samples = whole_frames(np.concatenate([silence(180, noise=noise), JFK.samples]))
    stream, turns = detector.stream(), Turns(ServerVad())
    events = [event for frame in samples.reshape(-1, FRAME_SIZE) for event in turns.hear(stream.probabilities(frame))]
    first = events[0]
    assert isinstance(first, SpeechStarted)
    assert first.audio_start_ms == pytest.approx(180_000, abs=300)


# --- Against the bare detector ---


@pytest.fixture(scope="module")
def clean(client: openai.OpenAI) -> Samples:
    """Two voices with pauses between them."""
    said = {}
    for voice, text in SPOKEN:
        answer = client.audio.speech.create(model="tts-1", voice=voice, input=text, response_format="pcm")
        said[voice] = resample(from_pcm16(answer.content), 24_000, SAMPLE_RATE)
    parts = [silence(PAUSES[0])]
    for (voice, _), pause in zip(SPOKEN * 2, PAUSES[1:], strict=True):
        parts += [said[voice], silence(pause)]
    return whole_frames(np.concatenate(parts))


def f1(found: np.ndarray, labels: np.ndarray) -> float:
    right = (found & labels).sum()
    return float(2 * right / (found.sum() + labels.sum()))


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
def test_frames_are_found_at_least_as_well_as_by_the_bare_detector(
    detector: Silero, clean: Samples, noise: float
) -> None:
    level = np.sqrt(np.mean(np.square(clean.reshape(-1, FRAME_SIZE)), axis=1))
    labels = level > AUDIBLE * level.max()
    heard = clean + silence(len(clean) / SAMPLE_RATE, noise=noise)
    ours, bare = f1(chances(detector, heard) >= 0.5, labels), f1(np.ravel(get_vad_model()(heard)) >= 0.5, labels)
    print(f"noise {noise}: F1 {ours:.4f}, bare {bare:.4f}")
    assert ours >= bare
