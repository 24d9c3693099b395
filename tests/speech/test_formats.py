"""espeak-ng speaks in every format, other software decodes it, and whisper-synth hears the same words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from speaches.audio.formats import FORMATS
from speaches.audio.resample import resample
from speaches.concurrency import Threads
from speaches.engines.base import SAMPLE_RATE, Voice
from speaches.speech.speak import SpeakOptions, Spoken, encoded, encoded_whole
from tests.audio.test_encode import readers
from tests.recordings import say

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.engines.whisper import Whisper

TEXT = "The quick brown fox jumps over the lazy dog."


async def spoken(samples: Samples, rate: int) -> AsyncGenerator[Spoken]:
    """An answer in pieces, at the rate that is asked for."""
    for block in np.array_split(resample(samples, SAMPLE_RATE, rate), 5):
        yield Spoken(block)


async def bytes_of(samples: Samples, options: SpeakOptions, whole: bool) -> bytes:
    threads = Threads(1, "codecs")
    try:
        answer = spoken(samples, options.sample_rate)
        if whole:
            return await encoded_whole(answer, options, threads)
        return b"".join([part async for part in encoded(answer, options, threads)])
    finally:
        threads.close()


def words_heard(whisper: Whisper, samples: Samples) -> str:
    segments, _ = whisper._model.transcribe(samples, language="en")
    return "".join(segment.text for segment in segments).strip()


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "whole"])
@pytest.mark.parametrize("name", FORMATS)
def test_whisper_hears_the_same_words_in_every_format(name: str, whole: bool, tiny_whisper: Whisper) -> None:
    rate = FORMATS[name].rate
    options = SpeakOptions(Voice("en-us", "English", "en-US"), response_format=name, sample_rate=rate)
    data = asyncio.run(bytes_of(say(TEXT), options, whole))
    # The tiny model has never heard a telephone: at 8 kHz it mistakes a word, whether the format is G.711 or none.
    telephoned = resample(resample(say(TEXT), SAMPLE_RATE, rate), rate, SAMPLE_RATE)
    said = TEXT if rate >= SAMPLE_RATE else words_heard(tiny_whisper, telephoned)
    for reader in readers(name, data):
        assert words_heard(tiny_whisper, resample(reader(data, rate), rate, SAMPLE_RATE)) == said


@pytest.mark.parametrize(("name", "rate"), [("mp3", 16_000), ("mp3", 24_000), ("aac", 16_000), ("opus", 16_000)])
def test_and_at_a_rate_where_a_frame_is_long(name: str, rate: int, tiny_whisper: Whisper) -> None:
    options = SpeakOptions(Voice("en-us", "English", "en-US"), response_format=name, sample_rate=rate)
    data = asyncio.run(bytes_of(say(TEXT), options, whole=False))
    for reader in readers(name, data):
        assert words_heard(tiny_whisper, resample(reader(data, rate), rate, SAMPLE_RATE)) == TEXT
