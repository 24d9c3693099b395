"""The engines that speak, by what must hold for all of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from speaches.engines.base import Piece, TextToSpeech
from speaches.engines.espeak import Espeak
from speaches.engines.kokoro import LANGUAGES, Kokoro
from speaches.engines.piper import Piper
from tests.recordings import level

if TYPE_CHECKING:
    from speaches.engines.base import Samples

ENGINES = ("espeak_ng", "tiny_kokoro", "tiny_piper", "piper_pair")
SENTENCE = "The quick brown fox jumps over the lazy dog."

ODD = {
    "empty": "",
    "white space": " \t\n",
    "dots": "...",
    "quotes": "\"'`",
    "dashes": "—–-" * 100,
    "emoji": "🙂🎉",
    "emoji in text": "Hi 🙂 there",
    "control characters": "a\x00b\x07c\x1b[31m\x7f\x85",
    "lone surrogates": "a\ud800b \udfff",
    "half an emoji": "\ud83d",
    "byte order mark": "\ufeffHello",
    "private use": "\ue000\U000f0000",
    "no characters": "\uffff\ufffe",
    "combining marks": "e\u0301" * 50 + "\u200d\u200b",
    "direction marks": "\u202eabc\u202c",
    "2000 letters": "x" * 2000,
    "400 words": "word " * 400,
    "a long number": "1234567890" * 15,
    "chinese": "今天天气很好",
    "japanese": "こんにちは、世界",
    "arabic": "مرحبا بالعالم",
    "russian": "Привет, мир",
    "hindi": "नमस्ते",
    "ssml": "<speak><break time='1s'/>a & b</speak>",
    "phonemes": "[[h@l'oU]]",
    "piper's own marks": "_^$#",
}
SILENT = ("empty", "white space", "dots", "quotes", "dashes", "half an emoji", "no characters")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> TextToSpeech:
    found: TextToSpeech = request.getfixturevalue(request.param)
    return found


def voice_of(engine: TextToSpeech) -> str:
    return (engine.voice("en-us") or engine.voices()[0]).id


def test_a_sentence_is_speech(engine: TextToSpeech) -> None:
    samples = engine.synthesize(Piece(SENTENCE, voice_of(engine))).samples
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 1.5 < len(samples) / engine.sample_rate < 5
    assert 0.01 < level(samples) < 0.5
    assert np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("what", ODD)
def test_odd_text_is_spoken_or_left_out_but_never_fails(engine: TextToSpeech, what: str) -> None:
    samples = engine.synthesize(Piece(ODD[what], voice_of(engine))).samples
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    if what in SILENT:
        assert len(samples) == 0
    if what in ("2000 letters", "400 words"):
        assert len(samples) / engine.sample_rate > 20


def test_speed_changes_the_length_by_as_much(engine: TextToSpeech) -> None:
    slowest, fastest = engine.speeds
    lengths = [
        len(engine.synthesize(Piece(SENTENCE, voice_of(engine), speed)).samples) * speed
        for speed in (slowest, 0.8, 1.0, 1.5, fastest)
    ]
    assert lengths == pytest.approx([lengths[2]] * 5, rel=0.4)  # the tiny models' sounds have few lengths


def test_every_voice_speaks(engine: TextToSpeech) -> None:
    for voice in engine.voices():
        assert engine.voice(voice.id) == voice
        assert len(engine.synthesize(Piece("Hello world 1 2 3", voice.id)).samples) > 2000


def test_a_voice_that_is_not_there_is_none(engine: TextToSpeech) -> None:
    for name in ("nobody", "", "../af_heart", "af_heart ", "en-us+", "en-us+../f2", "\0"):
        assert engine.voice(name) is None


def test_the_same_text_sounds_the_same_again(engine: TextToSpeech) -> None:
    first, second = (engine.synthesize(Piece(SENTENCE, voice_of(engine))).samples for _ in range(2))
    assert len(first) == pytest.approx(len(second), rel=0.02)


# --- espeak-ng ---


def test_espeak_knows_ways_to_speak(espeak_ng: Espeak) -> None:
    plain, female = (espeak_ng.synthesize(Piece(SENTENCE, voice)).samples for voice in ("en-us", "en-us+f2"))
    assert not np.array_equal(plain[: len(female)], female[: len(plain)])
    assert espeak_ng.voice("EN-US+f2") is not None


def loudness(samples: Samples) -> Samples:
    """Of each 20 ms."""
    frames = samples[: len(samples) // 441 * 441].reshape(-1, 441)
    return np.asarray(np.sqrt(np.mean(frames**2, axis=1)), np.float32)


def test_espeak_from_eight_threads_says_the_same_as_one_after_the_other(espeak_ng: Espeak) -> None:
    jobs = [
        Piece(f"Sentence number {n}.", voice, 1.0 + n % 3 / 4)
        for n in range(8)
        for voice in ("en-us", "de", "en-us+f2", "es")
    ]
    serial = [espeak_ng.synthesize(job).samples for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        concurrent = [said.samples for said in threads.map(espeak_ng.synthesize, jobs)]
    # Not the same bytes, even one after the other: its noise and the flutter of its voice go on from one sentence to the next.
    for one, other in zip(concurrent, serial, strict=True):
        assert len(one) == pytest.approx(len(other), rel=0.05)
        length = min(len(one), len(other))
        assert np.corrcoef(loudness(one[:length]), loudness(other[:length]))[0, 1] > 0.7


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("en-gb", "en-gb"), ("fr-fr", "fr-fr"), ("en", "en-gb"), ("fr", "fr-fr"), ("pt-br", "pt-br"), ("EN-US", "en-us")],
)
def test_espeak_knows_a_voice_by_each_of_its_languages(espeak_ng: Espeak, name: str, wanted: str) -> None:
    voice = espeak_ng.voice(name)
    assert voice is not None
    assert voice.id == wanted
    assert len(espeak_ng.synthesize(Piece("Hello world", voice.id)).samples) > 5000
    assert len(espeak_ng.synthesize(Piece("Hello world", f"{voice.id}+f3")).samples) > 5000


def test_espeak_complains_of_a_voice_that_it_lacks(espeak_ng: Espeak) -> None:
    with pytest.raises(ValueError, match="no voice 'xx-nowhere'"):
        espeak_ng.synthesize(Piece("Hello", "xx-nowhere"))
    assert len(espeak_ng.synthesize(Piece("Hello", "en-us")).samples) > 0


# --- Kokoro and Piper ---


@pytest.mark.parametrize("language", [*(tag for tag, _ in LANGUAGES.values()), "en", "pt", "xx", "EN-us"])
def test_kokoro_pronounces_text_in_every_language_it_has_voices_for(tiny_kokoro: Kokoro, language: str) -> None:
    assert len(tiny_kokoro.synthesize(Piece("Hola mundo", "af_heart", language=language)).samples) > 0


def test_pipers_speakers_are_different_voices(piper_pair: Piper) -> None:
    female, male = (piper_pair.synthesize(Piece(SENTENCE, name)).samples for name in ("female", "male"))
    shorter = min(len(female), len(male))
    assert not np.allclose(female[:shorter], male[:shorter], atol=0.01)


def test_kokoros_voices_are_different(tiny_kokoro: Kokoro) -> None:
    one, other = (tiny_kokoro.synthesize(Piece(SENTENCE, name)).samples for name in ("af_heart", "bm_george"))
    shorter = min(len(one), len(other))
    assert not np.allclose(one[:shorter], other[:shorter], atol=0.01)
