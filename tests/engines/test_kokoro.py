"""Kokoro: mixes of voices, times of words, phonemes in the text, long texts and odd exports."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from speaches.engines import devices, kokoro
from speaches.engines.base import Piece, SpokenWord, Utterance
from speaches.engines.kokoro import Kokoro
from speaches.errors import InvalidRequest
from speaches.settings import Settings
from speaches.text.markup import spans

SENTENCE = "The quick brown fox, one of the best, jumps over 123 dogs."
WORDS = ["The", "quick", "brown", "fox,", "one", "of", "the", "best,", "jumps", "over", "123", "dogs."]


class Export:
    """The tiny model as other exports are: without durations, or with a speed that is a whole number."""

    def __init__(self, path: Path, *, durations: bool = True, whole_speed: bool = False) -> None:
        self._session = devices.onnx_session(path, "cpu")
        self._model_path = str(path)
        self._outputs = 2 if durations else 1
        self._whole_speed = whole_speed
        self.speeds: list[float] = []

    def get_inputs(self) -> list[Any]:
        types = {"speed": "tensor(int32)"} if self._whole_speed else {}
        return [
            SimpleNamespace(name=one.name, type=types.get(one.name, one.type)) for one in self._session.get_inputs()
        ]

    def get_outputs(self) -> list[Any]:
        return list(self._session.get_outputs()[: self._outputs])

    def get_modelmeta(self) -> Any:
        return self._session.get_modelmeta()

    def run(self, names: None, inputs: dict[str, Any]) -> list[Any]:
        self.speeds += inputs["speed"].tolist()
        return list(self._session.run(names, inputs | {"speed": inputs["speed"].astype(np.float32)})[: self._outputs])


def exported(folder: Path, monkeypatch: pytest.MonkeyPatch, **how: bool) -> tuple[Kokoro, Export]:
    session = Export(folder / "kokoro-synth" / "model.onnx", **how)
    monkeypatch.setattr(devices, "onnx_session", lambda *arguments, **options: session)
    return kokoro.load(folder / "kokoro-synth", Settings()), session


def timed(engine: Kokoro, text: str, **how: Any) -> Utterance:
    return engine.synthesize(Piece(text, how.pop("voice", "af_heart"), timed=True, **how))


def said(words: tuple[SpokenWord, ...]) -> list[tuple[str, str]]:
    return [(word.word, "".join(one.phoneme for one in word.phonemes)) for word in words]


def in_order(utterance: Utterance) -> bool:
    edges = [edge for word in utterance.words for edge in (word.start, word.end)]
    return all(first <= second for first, second in pairwise([0.0, *edges, len(utterance.samples) / 24_000]))


# --- Mixes ---


def test_a_mix_speaks_with_the_styles_of_its_voices_in_their_shares(tiny_kokoro: Kokoro) -> None:
    heart, sky, mix = (tiny_kokoro._style(name) for name in ("af_heart", "af_sky", "af_heart(3)+af_sky(1)"))
    assert mix.shape == heart.shape
    assert mix.dtype == np.float32
    np.testing.assert_allclose(mix, 0.75 * heart + 0.25 * sky, rtol=1e-5, atol=1e-6)


def test_a_mix_sounds_like_neither_of_its_voices(tiny_kokoro: Kokoro) -> None:
    one, other, mix = (
        tiny_kokoro.synthesize(Piece(SENTENCE, voice)).samples
        for voice in ("af_heart", "bm_george", "af_heart(1)+bm_george(1)")
    )
    shortest = min(map(len, (one, other, mix)))
    assert not np.allclose(mix[:shortest], one[:shortest], atol=0.01)
    assert not np.allclose(mix[:shortest], other[:shortest], atol=0.01)


def test_a_mix_has_the_language_and_gender_of_its_heaviest_voice(tiny_kokoro: Kokoro) -> None:
    voice = tiny_kokoro.voice("af_heart+bm_george(2)")
    assert voice is not None
    assert (voice.id, voice.name) == ("af_heart(1)+bm_george(2)", "Heart + George")
    assert (voice.language, voice.gender) == ("en-GB", "male")
    assert tiny_kokoro.voice(voice.id) == voice
    assert len(tiny_kokoro.synthesize(Piece("Hello.", voice.id)).samples) > 0


def test_a_mix_of_one_is_that_voice(tiny_kokoro: Kokoro) -> None:
    assert tiny_kokoro.voice("af_heart(0.5)") == tiny_kokoro.voice("af_heart")


def test_a_bad_mix_is_the_requests_fault(tiny_kokoro: Kokoro) -> None:
    with pytest.raises(InvalidRequest, match="Unknown voice 'nobody'"):
        tiny_kokoro.voice("af_heart+nobody")
    with pytest.raises(ValueError, match="no voice 'nobody'"):
        tiny_kokoro.synthesize(Piece("Hello.", "nobody"))


def test_few_mixes_are_kept_in_memory(tiny_kokoro: Kokoro) -> None:
    for weight in range(1, 60):
        tiny_kokoro._style(f"af_heart({weight})+af_sky(1)")
    assert tiny_kokoro._style.cache_info().currsize == kokoro.STYLES < 60


# --- Times ---


def test_words_carry_the_times_of_their_phonemes(tiny_kokoro: Kokoro) -> None:
    utterance = timed(tiny_kokoro, SENTENCE)
    assert [word.word for word in utterance.words] == WORDS
    assert not utterance.estimated
    assert in_order(utterance)
    found = dict(said(utterance.words))
    assert (found["fox,"], found["of"], found["the"]) == ("fˈɑːks", "ʌv", "ðə")
    assert found["123"].startswith("wˈʌn") and found["123"].endswith("θɹˈiː")
    for word in utterance.words:
        assert (word.phonemes[0].start, word.phonemes[-1].end) == (word.start, word.end)
        assert 0.1 < word.end - word.start < 2.5


def test_times_are_where_the_sound_is(tiny_kokoro: Kokoro) -> None:
    """The library puts a tenth of a second of silence after the comma."""
    utterance = timed(tiny_kokoro, "Hello, world")
    first, second = utterance.words
    assert second.start - first.end > 0.09
    gap = utterance.samples[round((first.end + 0.04) * 24_000) : round((second.start - 0.04) * 24_000)]
    word = utterance.samples[round(second.start * 24_000) : round(second.end * 24_000)]
    assert np.abs(gap).max() < 0.1 * np.abs(word).max()


def test_the_audio_is_the_same_with_times_and_without(tiny_kokoro: Kokoro) -> None:
    plain = tiny_kokoro.synthesize(Piece(SENTENCE, "af_heart"))
    assert plain.words == ()
    np.testing.assert_array_equal(plain.samples, timed(tiny_kokoro, SENTENCE).samples)


def test_words_of_several_batches_stay_apart(tiny_kokoro: Kokoro) -> None:
    utterance = timed(tiny_kokoro, "one two three four five six seven eight nine ten " * 12)
    assert len(utterance.words) == 120
    assert in_order(utterance)
    assert {"".join(one.phoneme for one in word.phonemes) for word in utterance.words if word.word == "ten"} == {"tˈɛn"}


def test_the_space_that_the_library_leaves_out_between_batches_is_put_back() -> None:
    batches = [SimpleNamespace(phoneme=one, start=at, end=at + 1.0) for at, one in enumerate("a bc d")]
    found = kokoro._spaced("a b c d", batches)
    assert [(one.phoneme, one.start, one.end) for one in found if one.phoneme in "bc"] == [("b", 2, 3), ("c", 3, 4)]
    assert "".join(one.phoneme for one in found) == "a b c d"


def test_without_durations_the_times_are_spread_and_said_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = exported(folder, monkeypatch, durations=False)
    utterance = timed(engine, SENTENCE)
    assert [word.word for word in utterance.words] == WORDS
    assert utterance.estimated
    assert in_order(utterance)
    assert all(word.phonemes == () for word in utterance.words)
    lengths = {word.word: word.end - word.start for word in utterance.words}
    assert lengths["123"] > 2 * lengths["quick"] > 2 * lengths["the"] > 0
    assert utterance.words[-1].end > 0.95 * len(utterance.samples) / 24_000


def test_nothing_to_say_has_no_words(tiny_kokoro: Kokoro) -> None:
    for text in ("", "...", "[[!]]"):
        utterance = timed(tiny_kokoro, text)
        assert (len(utterance.samples), utterance.words, utterance.estimated) == (0, (), False)


# --- Phonemes in the text ---


@pytest.mark.parametrize("notation", ["[[ kˈOkəɹO ]]", "[Kokoro](/kˈOkəɹO/)"])
def test_phonemes_in_the_text_are_spoken_as_they_are(tiny_kokoro: Kokoro, notation: str) -> None:
    utterance = timed(tiny_kokoro, f"This is {notation}, hello.")
    shown = "kˈOkəɹO," if notation.startswith("[[") else "Kokoro,"
    assert said(utterance.words) == [("This", "ðɪs"), ("is", "ɪz"), (shown, "kˈOkəɹO"), ("hello.", "həlˈoʊ")]


def test_phonemes_that_the_model_has_not_are_left_out(tiny_kokoro: Kokoro) -> None:
    assert said(timed(tiny_kokoro, "[[ h@λələ€ʊ ]]").words) == [("h@λələ€ʊ", "hələʊ")]
    assert len(tiny_kokoro.synthesize(Piece("[[ €€€ ]]", "af_heart")).samples) == 0


# --- Long texts ---


@pytest.mark.parametrize("text", ["1234567890", "今天天气很好", "word", "w", "привет", "สวัสดี", "🙂"])
def test_walls_of_text_are_spoken_whole(tiny_kokoro: Kokoro, text: str) -> None:
    """espeak-ng drops what is beyond its limits, and the model takes 510 phonemes at once."""
    count = 300 // len(text)
    half, whole = (
        len(tiny_kokoro.synthesize(Piece(text * times, "af_heart")).samples) for times in (count // 2, count)
    )
    assert whole == pytest.approx(2 * half, rel=0.06)
    assert whole > 10 * 24_000


def test_one_phoneme_is_enough(tiny_kokoro: Kokoro) -> None:
    assert len(tiny_kokoro.synthesize(Piece("[[a]]", "af_heart")).samples) > 500


# --- Languages ---


@pytest.mark.parametrize(
    ("voice", "language", "wanted"),
    [
        ("af_heart", None, "en-us"),
        ("bm_george", None, "en-gb"),
        ("bm_george", "en", "en-gb"),
        ("bm_george", "en-US", "en-us"),
        ("af_heart", "EN-gb", "en-gb"),
        ("af_heart", "pt", "pt-br"),
        ("af_heart", "es-MX", "es"),
        ("bm_george", "xx", "en-gb"),
        ("af_heart", "zh-CN", "cmn"),
        ("af_heart+bm_george(2)", None, "en-gb"),
    ],
)
def test_a_text_is_pronounced_in_its_language_else_the_voices(
    tiny_kokoro: Kokoro, monkeypatch: pytest.MonkeyPatch, voice: str, language: str | None, wanted: str
) -> None:
    asked = []

    def alone(text: str, language: str) -> str:
        asked.append(language)
        return "hə"

    monkeypatch.setattr(tiny_kokoro, "_alone", alone)
    tiny_kokoro.synthesize(Piece("Hello.", voice, language=language))
    assert asked == [wanted]


# --- Odd exports ---


def test_an_export_with_whole_speeds_is_told_only_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, session = exported(folder, monkeypatch, whole_speed=True)
    assert engine.speeds == (1.0, 1.0)
    assert len(engine.synthesize(Piece("Hello.", "af_heart")).samples) > 0
    assert session.speeds == [1]


def test_other_exports_do_half_to_double_speed(tiny_kokoro: Kokoro) -> None:
    assert tiny_kokoro.speeds == (0.5, 2.0)


def test_a_config_with_a_vocabulary_says_which_phonemes_there_are(tmp_path: Path, folder: Path) -> None:
    for name in ("model.onnx", "voices.bin"):
        (tmp_path / name).symlink_to(folder / "kokoro-synth" / name)
    (tmp_path / "config.json").write_text('{"vocab": {"a": 43, "ㄅ": 44}}')
    engine = kokoro.load(tmp_path, Settings(tts_inference_device="cpu"))
    assert engine._phonemes(spans("[[abcaㄅ]]"), "en-us") == "aaㄅ"
    (tmp_path / "config.json").write_text('{"model_type": "style_text_to_speech_2"}')
    assert kokoro._vocabulary(tmp_path) is None
    (tmp_path / "config.json").write_text("{")
    assert kokoro._vocabulary(tmp_path) is None


def test_phonemes_are_remembered_but_not_those_of_long_texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = kokoro.load(folder / "kokoro-synth", Settings(tts_inference_device="cpu"))
    for text in ("Hello.", "Hello.", "x " * 200, "x " * 200):
        engine.synthesize(Piece(text, "af_heart"))
    remembered = engine._remembered.cache_info()
    assert (remembered.hits, remembered.currsize) == (1, 1)


@pytest.mark.parametrize("written", ["ã", "a\u0303"])
def test_phonemes_with_accents_are_those_of_the_model_however_they_are_written(
    tiny_kokoro: Kokoro, written: str
) -> None:
    utterance = timed(tiny_kokoro, f"[[{written}ç]]")
    assert "".join(one.phoneme for one in utterance.words[0].phonemes) == "a\u0303ç"
