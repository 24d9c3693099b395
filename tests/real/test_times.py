"""Words on real weights: numbers are whole, the text can be rebuilt from the words in every language, and each word takes time."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openai
import pytest

from speaches.engines.base import SAMPLE_RATE, WINDOW_SAMPLES, DecodeOptions, Hypothesis, Window, Word
from speaches.engines.whisper import Whisper
from speaches.settings import Settings
from tests.real import weights
from tests.real.conftest import Transcribe
from tests.real.recordings import JFK, LJ6, OTHERS, STEREO, Recording

FRAME = 0.02  # seconds
NEARLY = 1e-6
PANGRAMS = [one for one in OTHERS if one.name in ("fr/pangrama", "hi/pangrama", "ja/pangrama", "zh/pangrama")]
NUMBERS = "It cost $43,000, or 4.9% more, at 3:00 PM."


@pytest.fixture(scope="module")
def whisper(real_models: Path) -> Iterator[Whisper]:
    engine = Whisper(real_models / weights.BASE, Settings())
    yield engine
    engine.close()


def hear(whisper: Whisper, recording: Recording) -> Hypothesis:
    samples = recording.samples[:WINDOW_SAMPLES]
    (heard,) = whisper.decode(
        [Window(samples, DecodeOptions(language=recording.language, words=True, temperatures=(0.0,)))]
    )
    return heard


def words_of(heard: Hypothesis) -> list[Word]:
    return [word for segment in heard.segments for word in segment.words]


def test_a_number_is_one_word(client: openai.OpenAI, transcribe: Transcribe) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="af_heart", input=NUMBERS, response_format="wav")
    form: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    answer = transcribe(speech.content, **form)
    words = [word["word"] for word in answer["words"]]
    assert " ".join(words) == answer["text"]
    assert any("43,000" in word for word in words), words
    assert any("4.9%" in word for word in words), words
    assert all(any(letter.isalnum() for letter in word) for word in words), words
    assert all(word["end"] - word["start"] >= FRAME for word in answer["words"])


@pytest.mark.parametrize("recording", [STEREO, *PANGRAMS], ids=lambda one: one.name)
def test_the_words_are_the_text_and_take_time_in_order(whisper: Whisper, recording: Recording) -> None:
    heard = hear(whisper, recording)
    words = words_of(heard)
    assert words
    for segment in heard.segments:
        assert "".join(word.word for word in segment.words) == segment.text
    assert all(word.end - word.start >= FRAME for word in words)
    assert all(one.end <= other.start + NEARLY for one, other in pairwise(words))
    assert words[-1].end <= len(recording.samples) / SAMPLE_RATE + NEARLY


@pytest.mark.parametrize("recording", [JFK, LJ6], ids=lambda one: one.name)
def test_words_start_where_the_bare_library_has_them(whisper: Whisper, recording: Recording) -> None:
    segments, _ = whisper._model.transcribe(np.array(recording.samples), language="en", word_timestamps=True)
    bare = [word for segment in segments for word in segment.words]
    ours = words_of(hear(whisper, recording))
    same = SequenceMatcher(None, [one.word for one in ours], [one.word for one in bare], autojunk=False)
    apart = [
        abs(ours[block.a + index].start - bare[block.b + index].start)
        for block in same.get_matching_blocks()
        for index in range(block.size)
    ]
    assert len(apart) >= 0.9 * len(bare)
    assert median(apart) <= FRAME
