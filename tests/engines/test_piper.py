"""Piper: speakers, times of words, phonemes in the text and long texts."""

from __future__ import annotations

import json
import logging
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speaches.engines import devices, piper
from speaches.engines.base import Piece, SpokenWord, Utterance
from speaches.engines.piper import LONGEST_SENTENCE, Piper
from speaches.settings import Settings
from speaches.text.markup import spans

SENTENCE = "The quick brown fox, one of the best, jumps over 123 dogs."
WORDS = ["The", "quick", "brown", "fox,", "one", "of", "the", "best,", "jumps", "over", "123", "dogs."]


def say(engine: Piper, text: str, **how: Any) -> Utterance:
    return engine.synthesize(Piece(text, how.pop("voice", engine.voices()[0].id), **how))


def said(words: tuple[SpokenWord, ...]) -> list[tuple[str, str]]:
    return [(word.word, "".join(one.phoneme for one in word.phonemes)) for word in words]


def in_order(utterance: Utterance, rate: int) -> bool:
    edges = [edge for word in utterance.words for edge in (word.start, word.end)]
    return all(first <= second for first, second in pairwise([0.0, *edges, len(utterance.samples) / rate]))


def changed(folder: Path, tmp_path: Path, **config: Any) -> Path:
    """The voice with two speakers, with another config."""
    model = folder / "piper-en_US-synth_pair-medium"
    shutil.copy(model / "model.onnx", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(json.loads((model / "config.json").read_text()) | config))
    return tmp_path


# --- Speakers ---


def test_a_speaker_has_a_name_and_a_number(piper_pair: Piper) -> None:
    assert [voice.id for voice in piper_pair.voices()] == ["female", "male"]
    assert piper_pair.voice("1") == piper_pair.voice("male")
    assert piper_pair.voice("0") == piper_pair.voice("female")


@pytest.mark.parametrize("name", ["2", "-1", "01", "1.0", " 1", "١", "9" * 10_000])
def test_a_number_that_no_speaker_has_is_none(piper_pair: Piper, name: str) -> None:
    assert piper_pair.voice(name) is None


def test_a_voice_of_one_speaker_has_no_numbers(tiny_piper: Piper) -> None:
    assert tiny_piper.voice("0") is None


def test_speakers_without_names_are_numbers(folder: Path, tmp_path: Path) -> None:
    engine = piper.load(changed(folder, tmp_path, speaker_id_map={}), Settings(tts_inference_device="cpu"))
    assert [voice.id for voice in engine.voices()] == ["0", "1"]
    one, other = (say(engine, SENTENCE, voice=number).samples for number in ("0", "1"))
    shorter = min(len(one), len(other))
    assert not np.allclose(one[:shorter], other[:shorter], atol=0.01)


def test_a_name_that_is_a_number_means_itself(folder: Path, tmp_path: Path) -> None:
    """As in LibriTTS, whose speakers are called 3922 and the like."""
    path = changed(folder, tmp_path, speaker_id_map={"1": 0, "3922": 1})
    engine = piper.load(path, Settings(tts_inference_device="cpu"))
    assert [voice and voice.id for voice in map(engine.voice, ("1", "3922", "0"))] == ["1", "3922", "1"]


# --- Times ---


def test_words_carry_the_times_of_their_phonemes(tiny_piper: Piper) -> None:
    utterance = say(tiny_piper, SENTENCE, timed=True)
    assert [word.word for word in utterance.words] == WORDS
    assert not utterance.estimated
    assert in_order(utterance, tiny_piper.sample_rate)
    found = dict(said(utterance.words))
    assert (found["fox,"], found["of"], found["the"]) == ("fˈɑːks", "ʌv", "ðə")
    assert found["123"].startswith("wˈʌn") and found["123"].endswith("θɹˈiː")
    for word in utterance.words:
        assert (word.phonemes[0].start, word.phonemes[-1].end) == (word.start, word.end)
        assert 0.05 < word.end - word.start < 2.5


def test_words_of_several_sentences_follow_each_other(piper_pair: Piper) -> None:
    utterance = say(piper_pair, "One. Two three! Four?", timed=True, voice="male")
    assert [word.word for word in utterance.words] == ["One.", "Two", "three!", "Four?"]
    assert in_order(utterance, piper_pair.sample_rate)
    assert not utterance.estimated


def test_without_times_there_are_none(tiny_piper: Piper) -> None:
    utterance = say(tiny_piper, SENTENCE)
    assert (utterance.words, utterance.estimated) == ((), False)
    assert len(utterance.samples) == pytest.approx(len(say(tiny_piper, SENTENCE, timed=True).samples), rel=0.02)


def test_a_model_that_can_not_be_changed_has_its_times_spread(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = devices.onnx_session

    def refuses_changes(path: Path, device: Any, *, content: bytes | None = None) -> Any:
        if content is not None:
            raise RuntimeError("no such operator")
        return real(path, device)

    monkeypatch.setattr(devices, "onnx_session", refuses_changes)
    with caplog.at_level(logging.WARNING):
        engine = piper.load(folder / "piper-en_US-synth-medium", Settings(tts_inference_device="cpu"))
    assert "can't be made to tell when each word is spoken: no such operator" in caplog.text
    utterance = say(engine, SENTENCE, timed=True)
    assert [word.word for word in utterance.words] == WORDS
    assert utterance.estimated
    assert in_order(utterance, engine.sample_rate)
    assert all(word.phonemes == () for word in utterance.words)
    lengths = {word.word: word.end - word.start for word in utterance.words}
    assert lengths["123"] > 2 * lengths["quick"] > 2 * lengths["the"] > 0


def test_nothing_to_say_has_no_words(tiny_piper: Piper) -> None:
    for text in ("", "...", "[[!]]", "[[_^$]]"):
        utterance = say(tiny_piper, text, timed=True)
        assert (len(utterance.samples), utterance.words, utterance.estimated) == (0, (), False)


# --- Phonemes in the text ---


@pytest.mark.parametrize("notation", ["[[ kˈoʊkəɹoʊ ]]", "[Kokoro](/kˈOkəɹO/)"])
def test_phonemes_in_the_text_are_spoken_as_they_are(tiny_piper: Piper, notation: str) -> None:
    utterance = say(tiny_piper, f"Say {notation}, hello.", timed=True)
    shown = "kˈoʊkəɹoʊ," if notation.startswith("[[") else "Kokoro,"
    assert said(utterance.words) == [("Say", "sˈeɪ"), (shown, "kˈoʊkəɹoʊ"), ("hello.", "həlˈoʊ")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Say [[wˈʌn]], [[tˈuː]]. Go on.", ["sˈeɪ wˈʌn, tˈuː.", "ɡˌoʊ ˈɔn."]),
        ("Yes. [[wˈʌn]]! No", ["jˈɛs.", "wˈʌn!", "nˈoʊ"]),
        ("[[wˈʌn]][[tˈuː]]", ["wˈʌntˈuː"]),
        ("[[ã]]", ["ã"]),
        ("[[wˈʌn€_$]]", ["wˈʌn"]),
    ],
)
def test_phonemes_belong_to_the_sentence_that_they_stand_in(tiny_piper: Piper, text: str, wanted: list[str]) -> None:
    assert ["".join(sentence).strip() for sentence in tiny_piper._sentences(spans(text))] == [
        unicodedata.normalize("NFD", sentence) for sentence in wanted
    ]


def test_phonemes_that_the_model_has_not_are_left_out_without_a_word(
    tiny_piper: Piper, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert said(say(tiny_piper, "[[ h€əlˈ☃oʊ ]]", timed=True).words) == [("h€əlˈ☃oʊ", "həlˈoʊ")]
    assert caplog.text == ""


# --- Long texts and many at once ---


@pytest.mark.parametrize("text", ["1234567890", "今天天气很好", "word", "w", "สวัสดี"])
def test_walls_of_text_are_spoken_whole(tiny_piper: Piper, text: str) -> None:
    """espeak-ng drops what is beyond its limits."""
    count = 300 // len(text)
    half, whole = (len(say(tiny_piper, text * times).samples) for times in (count // 2, count))
    assert whole == pytest.approx(2 * half, rel=0.06)
    assert whole > 10 * tiny_piper.sample_rate


def test_a_sentence_of_several_portions_is_one_sentence(tiny_piper: Piper) -> None:
    portions = "It was the wily old walrus of our western lowlands " * 7
    assert len(portions) * 3 > 900
    assert len(tiny_piper._sentences(spans(portions))) == 1
    assert len(tiny_piper._sentences(spans("1 2 3. " * 60))) == 60


@pytest.mark.parametrize(
    "text", ["今" * 300, "1" * 700, "word " * 500, f"[[{'a' * 400}]]" * 9, f"[[{'a ' * 200}]]" * 9]
)
def test_a_sentence_without_an_end_is_cut_before_it_takes_the_memory(tiny_piper: Piper, text: str) -> None:
    sentences = tiny_piper._sentences(spans(text))
    assert sum(map(len, sentences)) > 1200
    assert max(map(len, sentences)) <= LONGEST_SENTENCE


@pytest.mark.parametrize("text", ["今" * 60, "1" * 120, "word " * 300])
def test_words_are_not_torn_where_a_sentence_is_cut(tiny_piper: Piper, text: str) -> None:
    first, *others = tiny_piper._sentences(spans(text))
    assert others
    assert first[-1].isspace() or others[0][0].isspace()
    utterance = say(tiny_piper, text, timed=True)
    assert in_order(utterance, tiny_piper.sample_rate)
    assert " ".join(word.word for word in utterance.words).split() == text.split() or "今" in text


def test_threads_do_not_mix_their_texts_up(tiny_piper: Piper, piper_pair: Piper) -> None:
    jobs = [f"Number {n} of {n * 37}." for n in range(100)]
    serial = [tiny_piper._pronounced(job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        others = threads.map(piper_pair._pronounced, jobs)
        assert list(threads.map(tiny_piper._pronounced, jobs)) == serial == list(others)


def test_two_pieces_at_once_do_not_mix_up(tiny_piper: Piper) -> None:
    texts = ["One.", "This is a longer sentence."] * 10
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: say(tiny_piper, text, timed=True), texts))
    assert [[word.word for word in one.words] for one in found] == [text.split() for text in texts]


def test_phonemes_are_remembered_but_not_those_of_long_texts(folder: Path) -> None:
    engine = piper.load(folder / "piper-en_US-synth-medium", Settings(tts_inference_device="cpu"))
    for text in ("Hello.", "Hello.", "x " * 200, "x " * 200):
        assert engine._phonemes(text)
    remembered = engine._remembered.cache_info()
    assert (remembered.hits, remembered.currsize) == (1, 1)
