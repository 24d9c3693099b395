"""Every word of human speech, by real Whisper."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE
from tests import recordings as made
from tests.real import recordings as real
from tests.real import weights
from tests.real.conftest import Transcribe
from tests.real.scoring import score

MODES: dict[str, dict[str, str]] = {
    "default": {},
    "without the filter": {"vad_filter": "false"},
    "with context": {"condition_on_previous_text": "true"},
    "without times": {"without_timestamps": "true"},
}


def at(samples: Any, decibels: float) -> Any:
    """Samples whose peak is at this level."""
    return (samples * (10 ** (decibels / 20) / np.abs(samples).max())).astype(np.float32)


@pytest.mark.parametrize("recording", real.ENGLISH, ids=lambda recording: recording.name)
def test_a_recording_is_heard_whole(transcribe: Transcribe, recording: real.Recording) -> None:
    heard = score(recording.text, transcribe(recording.samples)["text"])
    assert heard.longest_lost <= 1, heard
    assert heard.errors <= 2, heard


@pytest.mark.parametrize("mode", MODES)
def test_recordings_of_several_speakers_lose_nothing(transcribe: Transcribe, mode: str) -> None:
    mix = real.mix_of_clips(seed=21, words=200)
    heard = score(mix.text, transcribe(mix.samples, **MODES[mode])["text"])
    assert heard.longest_lost <= 3, heard
    assert heard.rate < 0.07, heard


def test_a_smaller_model_loses_nothing_either(transcribe: Transcribe) -> None:
    mix = real.mix_of_recordings(seed=4, times=1)
    heard = score(mix.text, transcribe(mix.samples, weights.TINY_EN)["text"])
    assert heard.longest_lost <= 3, heard
    assert heard.rate < 0.07, heard


@pytest.mark.parametrize(("seconds", "noise"), [(60, 0.0), (60, 3e-4), (300, 0.0)])
def test_after_a_long_pause_all_is_heard(transcribe: Transcribe, seconds: float, noise: float) -> None:
    paused = real.with_pause(real.JFK, seconds, real.FOX, noise=noise)
    answer = transcribe(paused.samples, response_format="verbose_json")
    heard = score(paused.text, answer["text"])
    assert heard.lost == 0, heard
    assert answer["segments"][-1]["start"] == pytest.approx(paused.speech[1][0], abs=0.6)


@pytest.mark.parametrize("vad_filter", ["true", "false"])
def test_quiet_speech_is_heard_whole(transcribe: Transcribe, vad_filter: str) -> None:
    heard = score(real.JFK.text, transcribe(at(real.JFK.samples, -50), vad_filter=vad_filter)["text"])
    assert heard.lost == 0, heard


def test_speech_in_one_channel_or_in_opposite_ones_is_heard(transcribe: Transcribe) -> None:
    import soundfile

    one = real.JFK.samples
    for channels in ([one, 0 * one], [0 * one, one], [one, -one]):
        file = io.BytesIO()
        soundfile.write(file, np.stack(channels, axis=1), SAMPLE_RATE, format="WAV")
        heard = score(real.JFK.text, transcribe(file.getvalue())["text"])
        assert heard.lost == 0, heard


def test_a_phrase_that_is_said_twelve_times_is_heard_twelve_times(transcribe: Transcribe) -> None:
    said = real.joined("hello", [(real.HELLO.samples, real.HELLO.text)] * 12, [0.5] * 12)
    heard = score(said.text, transcribe(said.samples)["text"])
    assert heard.errors <= 2, heard


@pytest.mark.parametrize("what", ["silence", "noise", "hum"])
def test_where_nobody_speaks_there_is_no_text(transcribe: Transcribe, what: str) -> None:
    sounds = {"silence": made.silence(30), "noise": made.noise(30, level=0.01), "hum": made.tone(100, 30, level=0.1)}
    answer = transcribe(sounds[what], vad_filter="false", language=None, response_format="verbose_json")
    assert (answer["text"], answer["language"]) == ("", "english")


def test_segments_end_where_their_speech_ends(transcribe: Transcribe) -> None:
    speech = np.concatenate([real.HELLO.samples, made.silence(8)])
    (segment,) = transcribe(speech, response_format="verbose_json", vad_filter="false")["segments"]
    assert segment["end"] < len(real.HELLO.samples) / SAMPLE_RATE + 0.3


def test_the_text_of_a_stream_is_that_of_the_answer(transcribe: Transcribe, http: httpx.Client) -> None:
    whole = transcribe(real.TWO_CITIES.samples)["text"]
    wav = made.wav(real.TWO_CITIES.samples)
    form = {"model": weights.BASE, "language": "en", "stream": "true"}
    with http.stream("POST", "/v1/audio/transcriptions", files={"file": ("a.wav", wav)}, data=form) as answer:
        events = [line for line in answer.iter_lines() if line.startswith("data:")]
    assert whole.replace('"', '\\"') in events[-1]
    assert len(events) > 4
