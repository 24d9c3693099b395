from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speaches.engines import whisper
from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Hypothesis, Window
from speaches.engines.whisper import Whisper
from speaches.settings import Settings
from tests.recordings import noise, recording, say, silence, tone


def text(hypothesis: Hypothesis) -> str:
    return "".join(segment.text for segment in hypothesis.segments).strip()


def window(samples: Any, **options: Any) -> Window:
    return Window(samples, DecodeOptions(**options))


def test_it_hears_a_sentence(tiny_whisper: Whisper) -> None:
    (heard,) = tiny_whisper.decode([window(recording(say("The quick brown fox jumps over the lazy dog.")))])
    assert text(heard) == "The quick brown fox jumps over the lazy dog."
    assert heard.language == "en"
    assert 0.5 < heard.language_probability <= 1.0


def test_a_batch_of_languages_is_heard_like_each_alone(tiny_whisper: Whisper) -> None:
    said = [("en-us", "Hello world."), ("es", "Buenos días."), ("de", "Wo ist der Bahnhof?"), ("fr", "Merci beaucoup.")]
    windows = [window(recording(say(words, voice, 175))) for voice, words in said]
    together = tiny_whisper.decode(windows)
    assert [text(heard) for heard in together] == [words for _, words in said]
    assert [heard.language for heard in together] == ["en", "es", "de", "fr"]
    assert [text(tiny_whisper.decode([one])[0]) for one in windows] == [words for _, words in said]


def test_it_translates(tiny_whisper: Whisper) -> None:
    (heard,) = tiny_whisper.decode([window(recording(say("Wo ist der Bahnhof?", "de", 175)), task="translate")])
    assert text(heard) == "Where is the train station?"
    assert heard.language == "de"


def test_a_language_that_is_asked_for_is_not_detected(tiny_whisper: Whisper) -> None:
    (heard,) = tiny_whisper.decode([window(recording(say("Hello world.")), language="en")])
    assert (heard.language, heard.language_probability) == ("en", 1.0)


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    "samples",
    [
        silence(0.1), silence(30), noise(5), noise(30, level=0.02), tone(1000, 5), tone(3000, 30), silence(1 / SAMPLE_RATE),
    ],
    ids=["0.1 s silence", "30 s silence", "noise", "30 s quiet noise", "tone", "30 s tone", "one sample"],
)  # fmt: skip
def test_what_is_no_speech_is_no_text(tiny_whisper: Whisper, samples: Any, words: bool) -> None:
    (heard,) = tiny_whisper.decode([window(samples, words=words)])
    assert heard.segments == ()


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 1.7, 3.1, 12.3, 29.9, 30.0])
def test_no_time_is_ever_past_the_window(tiny_whisper: Whisper, seconds: float) -> None:
    speech = np.tile(recording(say("Testing, one two three."), say("What time is it?"), pause=0.1), 10)
    options: dict[str, Any] = {"words": True, "language": "en", "temperatures": (0.0,), "beam_size": 1}
    (heard,) = tiny_whisper.decode([window(speech[: round(seconds * SAMPLE_RATE)], **options)])
    last = 0.0
    for segment in heard.segments:
        assert last <= segment.start <= segment.end <= seconds + 1e-6
        last = segment.start
        for word in segment.words:
            assert 0 <= word.start <= word.end <= seconds + 1e-6


def test_words_have_times_where_they_are_said(tiny_whisper: Whisper) -> None:
    speech = say("The quick brown fox jumps over the lazy dog.")
    starts = {}
    for before in (0.0, 0.4):
        samples = np.concatenate([silence(before), speech, silence(0.4)])
        (heard,) = tiny_whisper.decode([window(samples, words=True, language="en")])
        words = [word for segment in heard.segments for word in segment.words]
        assert "".join(word.word for word in words).strip() == "The quick brown fox jumps over the lazy dog."
        assert all(0 < word.probability <= 1 for word in words)
        assert words[-1].end == pytest.approx(before + len(speech) / SAMPLE_RATE, abs=0.3)
        starts[before] = [word.start - before for word in words]
    assert starts[0.0] == sorted(starts[0.0])
    # The first word begins with the window, in faster-whisper too: nothing comes before it that could be told from it.
    assert starts[0.4][1:] == pytest.approx(starts[0.0][1:], abs=0.12)


def test_word_times_in_a_batch_are_those_of_each_alone(tiny_whisper: Whisper) -> None:
    texts = ("Hello world.", "What time is it?", "The meeting starts at nine.")
    windows = [window(recording(say(words)), words=True, language="en") for words in texts]
    alone = [tiny_whisper.decode([one])[0] for one in windows]
    for together, one in zip(tiny_whisper.decode(windows), alone, strict=True):
        assert text(together) == text(one)
        starts = [word.start for segment in one.segments for word in segment.words]
        assert [word.start for segment in together.segments for word in segment.words] == pytest.approx(
            starts, abs=0.05
        )


def test_sampling_works_too(tiny_whisper: Whisper) -> None:
    (heard,) = tiny_whisper.decode([window(recording(say("Hello world.")), temperatures=(0.2,), language="en")])
    assert heard.segments[0].temperature == 0.2
    assert text(heard)


def test_a_prompt_and_hotwords_do_not_appear_in_the_text(tiny_whisper: Whisper) -> None:
    (heard,) = tiny_whisper.decode([window(recording(say("Hello world.")), prompt="Zanzibar.", hotwords="Timbuktu")])
    assert "Zanzibar" not in text(heard)
    assert "Timbuktu" not in text(heard)


def test_a_prompt_that_is_far_too_long_is_cut_and_does_no_harm(tiny_whisper: Whisper) -> None:
    for options in ({"prompt": "word " * 2000}, {"hotwords": "word " * 2000}, {"prompt": "🙂\ud800 <|endoftext|>"}):
        (heard,) = tiny_whisper.decode([window(recording(say("Hello world.")), language="en", **options)])
        assert isinstance(heard, Hypothesis)


# --- What may share a batch ---


def test_windows_of_the_same_options_share_a_batch_whatever_their_language(tiny_whisper: Whisper) -> None:
    keys = {tiny_whisper.batch_key(window(silence(1), language=language)) for language in ("en", "de", None)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    "options", [{"task": "translate"}, {"prompt": "x"}, {"hotwords": "x"}, {"temperatures": (0.5,)}, {"beam_size": 1}]
)  # fmt: skip
def test_windows_of_other_options_do_not(tiny_whisper: Whisper, options: dict[str, Any]) -> None:
    one, other = window(silence(1), language="en"), window(silence(1), language="en", **options)
    assert tiny_whisper.batch_key(one) != tiny_whisper.batch_key(other)


def test_what_is_made_of_the_answer_does_not_matter(tiny_whisper: Whisper) -> None:
    plain, more = (
        window(silence(1)),
        window(silence(1), words=True, logprobs=True, likely="en", candidates=("en", "de")),
    )
    assert tiny_whisper.batch_key(plain) == tiny_whisper.batch_key(more)


def test_windows_that_the_encoder_sees_more_or_less_of_do_not_share_a_batch(tiny_whisper: Whisper) -> None:
    def prepared(seconds: float, **options: Any) -> Window:
        one = window(silence(seconds), **options)
        return replace(one, features=tiny_whisper.prepare(one.samples, one.options))

    key = tiny_whisper.batch_key
    assert key(prepared(1)) == key(prepared(20))
    short = {"short_window": True, "language": "en"}
    assert key(prepared(1, **short)) == key(prepared(2, **short))
    assert key(prepared(1, **short)) != key(prepared(20, **short))


def test_only_languages_that_lose_nothing_have_a_short_window(tiny_whisper: Whisper) -> None:
    def frames(**options: Any) -> int:
        return int(tiny_whisper.prepare(silence(2), DecodeOptions(short_window=True, **options)).shape[-1])

    assert (frames(language="en"), frames(likely="en")) == (1500, 1500)
    assert (frames(language="de"), frames(likely="de"), frames()) == (3000, 3000, 3000)


# --- Devices ---


def test_a_cuda_device_that_is_asked_for_and_absent_is_a_warning_and_the_cpu(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine = whisper.load(folder / "whisper-synth", Settings(whisper__inference_device="cuda"))
    assert "no CUDA device: using the CPU" in caplog.text
    assert text(engine.decode([window(recording(say("Hello world.")))])[0]) == "Hello world."
    engine.close()


def test_a_cuda_device_that_is_there_and_broken_is_a_warning_and_the_cpu(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctranslate2

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda device: {"float16", "int8"})
    with caplog.at_level(logging.WARNING):
        engine = whisper.load(folder / "whisper-synth", Settings(whisper__num_workers=1))
    assert "CUDA is there but unusable for whisper-synth" in caplog.text
    assert (engine.workers, engine.batch_size) == (1, 1)
    assert text(engine.decode([window(recording(say("Hello world.")))])[0]) == "Hello world."
    engine.close()


def test_threads_and_workers_follow_the_settings(folder: Path) -> None:
    settings = Settings(
        whisper__inference_device="cpu", whisper__num_workers=3, whisper__cpu_threads=1, whisper__batch_size=5
    )
    engine = whisper.load(folder / "whisper-synth", settings)
    assert (engine.workers, engine.batch_size) == (3, 5)
    assert engine.translates
    assert {"en", "es", "de", "fr"} <= set(engine.languages)
    engine.close()
