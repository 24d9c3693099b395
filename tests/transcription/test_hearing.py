"""espeak-ng speaks, whisper-synth hears: the real libraries, from a file to text."""

from __future__ import annotations

import asyncio
import difflib
from pathlib import Path

import numpy as np
import pytest

from speaches.engines import whisper
from speaches.engines.base import SAMPLE_RATE, Segment
from speaches.engines.pocketsphinx import PocketSphinx
from speaches.engines.silero import Silero
from speaches.engines.whisper import Whisper
from speaches.settings import Settings
from tests.audio.files import by_libsndfile
from tests.recordings import english_sentences, foreign_sentences, noise, recording, say, silence, tone
from tests.transcription.hearing import Ears, ears, text_of

ENGLISH = english_sentences()
FOREIGN = foreign_sentences()
DEFAULT_RATE = 175  # words a minute, espeak-ng's own
FEW = 0.05  # of the words; in 30 s of dense speech whisper-synth errs now and then, under faster-whisper's own loops more often


async def heard(listener: Ears, said: list[tuple[str, str, int]], **options: object) -> list[tuple[str, str]]:
    """(text, language) of each (voice, text, rate), each in a recording of its own, all at the same time."""
    recordings = (recording(say(text, voice, rate), pause=0.3) for voice, text, rate in said)
    answers = await asyncio.gather(*(listener.hear(samples, **options) for samples in recordings))
    return [(text_of(segments), outcome.language) for segments, outcome in answers]


@pytest.fixture(scope="session")
def batching_whisper(folder: Path) -> Whisper:
    settings = Settings(whisper__inference_device="cpu", whisper__num_workers=1, whisper__batch_size=4)
    return whisper.load(folder / "whisper-synth", settings)


def test_there_are_sentences_to_hear() -> None:
    assert len(ENGLISH) == 30
    assert len(FOREIGN) == 43


# --- Exact words ---


@pytest.mark.parametrize("part", range(3))
async def test_every_english_sentence_is_heard_exactly(tiny_whisper: Whisper, detector: Silero, part: int) -> None:
    sentences = ENGLISH[part::3]
    async with ears(tiny_whisper, detector) as listener:
        answers = await heard(listener, [("en-us", text, 160) for text in sentences])
    assert answers == [(text, "en") for text in sentences]


@pytest.mark.parametrize("rate", [130, 190])
async def test_a_slower_and_a_faster_voice_are_heard_exactly(
    tiny_whisper: Whisper, detector: Silero, rate: int
) -> None:
    sentences = ENGLISH[:6]
    async with ears(tiny_whisper, detector) as listener:
        answers = await heard(listener, [("en-us", text, rate) for text in sentences], language="en")
    assert answers == [(text, "en") for text in sentences]


@pytest.mark.parametrize("language", ["es", "de", "fr"])
async def test_other_languages_are_detected_and_written_down(
    tiny_whisper: Whisper, detector: Silero, language: str
) -> None:
    said = [(code, text) for code, text, _ in FOREIGN if code == language]
    async with ears(tiny_whisper, detector) as listener:
        answers = await heard(listener, [(code, text, DEFAULT_RATE) for code, text in said])
    assert answers == [(text, language) for _, text in said]


@pytest.mark.parametrize("language", ["es", "de", "fr"])
async def test_other_languages_are_translated(tiny_whisper: Whisper, detector: Silero, language: str) -> None:
    said = [row for row in FOREIGN if row[0] == language]
    async with ears(tiny_whisper, detector) as listener:
        answers = await heard(listener, [(code, text, DEFAULT_RATE) for code, text, _ in said], task="translate")
    assert answers == [(meaning, language) for _, _, meaning in said]


async def test_batches_of_several_languages_give_the_same_texts(batching_whisper: Whisper, detector: Silero) -> None:
    said = [("en-us", text, 160) for text in ENGLISH[:6]]
    said += [(code, text, DEFAULT_RATE) for code, text, _ in FOREIGN[:9]]
    calls = []
    decode = batching_whisper.decode
    batching_whisper.decode = lambda windows: calls.append(len(windows)) or decode(windows)  # type: ignore[method-assign, func-returns-value]
    try:
        async with ears(batching_whisper, detector) as listener:
            answers = await heard(listener, said)
    finally:
        batching_whisper.decode = decode  # type: ignore[method-assign]
    assert [text for text, _ in answers] == [text for _, text, _ in said]
    assert max(calls) == 4


async def test_two_minutes_of_sentences_are_heard(tiny_whisper: Whisper, detector: Silero) -> None:
    sentences = (ENGLISH * 2)[:40]
    samples = recording(*(say(text) for text in sentences), pause=0.9)
    assert len(samples) > 120 * SAMPLE_RATE
    async with ears(tiny_whisper, detector) as listener:
        segments, outcome = await listener.hear(samples, words=True)
    assert wrong_words(text_of(segments), " ".join(sentences)) <= FEW
    assert outcome.duration == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.01)
    assert 0.5 * outcome.duration < outcome.speech_seconds <= outcome.duration
    check_times(segments, outcome.duration)


def wrong_words(text: str, wanted: str) -> float:
    """Share of the words that were added, left out or heard as others."""
    matching = difflib.SequenceMatcher(None, text.split(), wanted.split(), autojunk=False)
    edits = (max(i2 - i1, j2 - j1) for what, i1, i2, j1, j2 in matching.get_opcodes() if what != "equal")
    return sum(edits) / len(wanted.split())


def check_times(segments: list[Segment], duration: float) -> None:
    """Segments and words are in order, none ends before it starts or lies outside of the file."""
    place = 0.0
    for segment in segments:
        assert place <= segment.start <= segment.end <= duration + 0.001
        place = segment.start
    words = [word for segment in segments for word in segment.words]
    assert "".join(word.word for word in words).strip() == text_of(segments)
    place = 0.0
    for word in words:
        assert place - 0.001 <= word.start <= word.end <= duration + 0.001
        place = word.start


async def test_words_are_where_they_were_said(tiny_whisper: Whisper, detector: Silero) -> None:
    """Each sentence after a pause of its own, long enough to be left out, so that the times go through the map."""
    sentences = ["What time is it?", "Testing, one two three.", "Open the door and close the window."]
    parts, places, samples = [], [], 0
    for number, text in enumerate(sentences):
        parts += [silence(2.0 + number), say(text)]
        samples += len(parts[-2])
        places.append((samples / SAMPLE_RATE, (samples + len(parts[-1])) / SAMPLE_RATE, text))
        samples += len(parts[-1])
    async with ears(tiny_whisper, detector) as listener:
        segments, outcome = await listener.hear(np.concatenate([*parts, silence(2)]), words=True)
    words = [word for segment in segments for word in segment.words]
    for start, end, text in places:
        mine, words = words[: len(text.split())], words[len(text.split()) :]
        assert "".join(word.word for word in mine).strip() == text
        assert start - 0.5 <= mine[0].start <= start + 0.15  # speech is padded by 0.4 s
        assert mine[-1].end == pytest.approx(end, abs=0.45)
        for word in mine[1:]:
            assert start < word.start < end
    check_times(segments, outcome.duration)


# --- What is not said ---


@pytest.mark.parametrize("vad_filter", [True, False])
async def test_silence_and_noise_give_no_text(tiny_whisper: Whisper, detector: Silero, vad_filter: bool) -> None:
    async with ears(tiny_whisper, detector) as listener:
        for samples in (silence(3), noise(8), noise(35, level=0.02), silence(0.1)):
            segments, outcome = await listener.hear(samples, vad_filter=vad_filter)
            assert segments == []
            assert outcome.duration == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.01)


@pytest.mark.parametrize("hertz", [100, 440, 1000, 3000])
async def test_a_pure_tone_gives_no_text(tiny_whisper: Whisper, detector: Silero, hertz: float) -> None:
    async with ears(tiny_whisper, detector) as listener:
        for seconds in (2, 31):
            segments, _ = await listener.hear(tone(hertz, seconds))
            assert segments == []


async def test_without_the_filter_nothing_of_a_long_recording_is_lost(tiny_whisper: Whisper, detector: Silero) -> None:
    sentences = ENGLISH[11:29]
    samples = recording(*(say(text) for text in sentences), pause=1.5)
    assert len(samples) > 68 * SAMPLE_RATE
    async with ears(tiny_whisper, detector) as listener:
        segments, outcome = await listener.hear(samples, vad_filter=False, language="en", words=True)
    assert wrong_words(text_of(segments), " ".join(sentences)) <= FEW
    assert outcome.speech_seconds == pytest.approx(outcome.duration, abs=0.01)
    check_times(segments, outcome.duration)


# --- Other files and engines ---


async def test_a_file_of_another_format_and_rate_is_heard_as_well(tiny_whisper: Whisper, detector: Silero) -> None:
    stereo = np.repeat(recording(say("Hello world, how are you today?")), 3).reshape(-1, 1).repeat(2, axis=1)
    async with ears(tiny_whisper, detector) as listener:
        for kind, subtype in (("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
            segments, _ = await listener.hear(by_libsndfile(stereo, 48_000, kind, subtype))
            assert text_of(segments) == "Hello world, how are you today?"


async def test_pocketsphinx_takes_the_same_path(sphinx: PocketSphinx, detector: Silero) -> None:
    samples = recording(say("one two three four five", "en-us+f5", 140), pause=0.5)
    async with ears(sphinx, detector) as listener:
        segments, outcome = await listener.hear(samples, words=True)
    assert sum(word in text_of(segments).split() for word in ("one", "two", "three", "four", "five")) >= 4
    check_times(segments, outcome.duration)
