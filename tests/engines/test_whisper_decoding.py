from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Hypothesis, Window
from speaches.engines.whisper import LONGEST_PROMPT, Whisper
from speaches.engines.whisper_decoding import (
    CERTAIN_LANGUAGE,
    CERTAINLY_NO_SPEECH,
    NO_SPEECH,
    TOO_IMPROBABLE,
    Decoded,
    _ordered_words,
    _token_bytes,
    chosen_language,
    encoder_frames,
    unfinished,
    within,
)
from tests.recordings import english_sentences, noise, recording, say, silence

TIME_BEGIN, END = 50364, 50257  # of Whisper's vocabulary


def text(hypothesis: Hypothesis) -> str:
    return "".join(segment.text for segment in hypothesis.segments).strip()


def window(samples: Any, **options: Any) -> Window:
    return Window(samples, DecodeOptions(**options))


# --- How much the encoder sees ---


@pytest.mark.parametrize(
    ("frames", "seen"),
    [(0, 1500), (1, 1500), (1000, 1500), (1001, 1600), (1100, 1600), (1101, 1700), (2400, 2900), (2401, 3000), (2999, 3000), (3000, 3000)],
)  # fmt: skip
def test_the_encoder_sees_a_short_window_with_a_margin(frames: int, seen: int) -> None:
    assert encoder_frames(frames, short=True) == seen
    assert encoder_frames(frames, short=False) == 3000


# --- Languages ---

FOUND = [("<|en|>", 0.5), ("<|de|>", 0.3), ("<|haw|>", 0.2)]
SURE = [("<|en|>", CERTAIN_LANGUAGE), ("<|de|>", 0.1)]


@pytest.mark.parametrize(
    ("options", "found", "language", "probability"),
    [
        ({}, FOUND, "en", 0.5),
        ({"language": "fr"}, FOUND, "fr", 1.0),
        ({"language": "fr", "likely": "de", "candidates": ("en",)}, FOUND, "fr", 1.0),
        ({"candidates": ("de", "haw")}, FOUND, "de", 0.6),
        ({"candidates": ("haw",)}, FOUND, "haw", 1.0),
        ({"candidates": ("xx",)}, FOUND, "en", 0.5),
        ({"likely": "de"}, FOUND, "de", 0.3),
        ({"likely": "de"}, SURE, "en", CERTAIN_LANGUAGE),
        ({"likely": "en"}, SURE, "en", CERTAIN_LANGUAGE),
        ({"likely": "fr"}, FOUND, "fr", 0.0),
        ({"likely": "haw", "candidates": ("de", "haw")}, FOUND, "haw", 0.4),
        ({"likely": "de", "candidates": ("de", "haw")}, SURE, "de", 1.0),
    ],
)
def test_the_language_of_a_window_is_likeliest_among_those_allowed(
    options: dict[str, Any], found: list[tuple[str, float]], language: str, probability: float
) -> None:
    chosen, chance = chosen_language(DecodeOptions(**options), found)
    assert chosen == language
    assert chance == pytest.approx(probability)


# --- Gates ---


@dataclass
class Result:
    """What CTranslate2 gives for one window."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float = 0.0


@dataclass
class Letters:
    """A tokenizer whose tokens are letters; times are those of Whisper."""

    eot: int = END
    timestamp_begin: int = TIME_BEGIN

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(token) for token in tokens if token < self.eot)


def decoded(text: str = "abc", *, score: float = -0.1, no_speech: float = 0.0) -> Decoded:
    tokens = list(map(ord, text))
    mean = score * (len(tokens) + 1) / max(1, len(tokens))  # so that avg_logprob is the score
    return Decoded(Result([tokens], [mean], no_speech), 0.0, Letters())


LOOP = "again and again " * 30


@pytest.mark.parametrize(
    ("one", "silent", "doubtful"),
    [
        (decoded(), False, False),
        (decoded(score=TOO_IMPROBABLE), False, False),
        (decoded(score=TOO_IMPROBABLE - 0.01), False, True),
        (decoded(score=-3.0, no_speech=NO_SPEECH), False, True),
        (decoded(score=-3.0, no_speech=NO_SPEECH + 0.01), True, False),
        (decoded(no_speech=NO_SPEECH + 0.3), False, False),
        (decoded(no_speech=CERTAINLY_NO_SPEECH), False, False),
        (decoded(no_speech=CERTAINLY_NO_SPEECH + 0.01), True, False),
        (decoded(LOOP), False, True),
        (decoded(LOOP, score=-3.0, no_speech=0.9), True, True),
        (decoded(""), False, False),
    ],
)
def test_the_gates(one: Decoded, silent: bool, doubtful: bool) -> None:
    assert (one.is_silence, one.is_doubtful) == (silent, doubtful)


def test_the_average_counts_the_end_token() -> None:
    assert Decoded(Result([[65, 66, 67]], [-0.4]), 0.0, Letters()).avg_logprob == pytest.approx(-0.3)


def test_the_best_try_is_the_most_probable_of_those_that_are_no_loop() -> None:
    loop, bad, good = decoded(LOOP, score=-0.01), decoded("x", score=-2.0), decoded("y", score=-1.5)
    assert Decoded.best([loop, bad, good]) is good
    assert Decoded.best([loop]) is loop
    assert Decoded.best([decoded(LOOP, score=-0.5), loop]) is loop


def test_text_tokens_are_without_times_and_marks() -> None:
    one = Decoded(Result([[TIME_BEGIN, 65, 66, TIME_BEGIN + 50, END]], [-0.1]), 0.0, Letters())
    assert one.text_tokens == [65, 66]


# --- Segments ---


def part(start: float, end: float, *tokens: int, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "tokens": list(tokens), **more}


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0.0, 2.0, (0.0, 2.0)), (1.0, 30.0, (1.0, 5.0)), (6.0, 7.0, (5.0, 5.0)), (3.0, 2.0, (2.0, 2.0))],
)
def test_a_segment_ends_with_its_window(start: float, end: float, wanted: tuple[float, float]) -> None:
    segment = decoded().segment(part(start, end, 65), 5.0, iter(()))
    assert (segment.start, segment.end) == wanted


def test_words_never_go_back_and_stay_inside_of_their_segment() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        words = [
            {"word": " a", "start": start, "end": end, "probability": 0.5} for start, end in rng.uniform(-5, 35, (6, 2))
        ]
        start, end = sorted(rng.uniform(0, 30, 2))
        place = start
        for word in _ordered_words(words, start, end):
            assert place <= word.start <= word.end <= end
            place = word.end


def test_what_a_model_says_after_its_last_pair_of_times_is_kept() -> None:
    tokens = [TIME_BEGIN, 65, TIME_BEGIN + 50, TIME_BEGIN + 60, 66, 67]
    one = Decoded(Result([tokens], [-0.1]), 0.0, Letters())
    rest = unfinished(one, [part(0.0, 1.0, *tokens[:3])], 5.0)
    assert rest == [{"seek": 0, "start": pytest.approx(1.2), "end": 5.0, "tokens": tokens[3:]}]
    assert unfinished(one, [part(0.0, 5.0, *tokens)], 5.0) == []
    closed = Decoded(Result([[*tokens[:3], TIME_BEGIN + 60]], [-0.1]), 0.0, Letters())
    assert unfinished(closed, [part(0.0, 1.0, *tokens[:3])], 5.0) == []


def test_what_begins_after_the_window_was_not_said() -> None:
    said, late = part(0.0, 15.9, 65), part(15.7, 16.4, 66)
    assert within([said, late], 15.68) == [said]
    assert within([said, late], 15.72) == [said, late]


# --- Tokens and their bytes ---


@pytest.mark.parametrize(
    "said", [" Hello", "é", " für", "🙂", "日本", "–", " naïve café 🙂👍🏽 ¡ñandú!", "\x00\x7f\xa0­"]
)
def test_the_bytes_of_tokens_put_together_are_the_text(tiny_whisper: Whisper, said: str) -> None:
    tokenizer = tiny_whisper._model.hf_tokenizer
    tokens = tokenizer.encode(said, add_special_tokens=False).tokens
    assert b"".join(map(_token_bytes, tokens)).decode() == said


def test_an_emoji_is_split_over_tokens_that_are_no_characters_alone(tiny_whisper: Whisper) -> None:
    parts = [
        _token_bytes(token) for token in tiny_whisper._model.hf_tokenizer.encode("🙂", add_special_tokens=False).tokens
    ]
    assert len(parts) > 1
    assert all("\ufffd" in one.decode(errors="replace") for one in parts)


def test_log_probabilities_are_those_of_the_text(tiny_whisper: Whisper) -> None:
    for said in english_sentences()[:8]:
        (heard,) = tiny_whisper.decode([window(recording(say(said), pause=0.3), language="en", logprobs=True)])
        ours = [one for segment in heard.segments for one in segment.logprobs]
        assert b"".join(one.bytes for one in ours).decode().strip() == said
        assert "".join(one.token for one in ours).strip() == said
        assert all(math.log(1e-10) <= one.logprob <= 0 for one in ours)
        # The average also counts two times and the end.
        mean = sum(one.logprob for one in ours) / (len(ours) + 3)
        assert mean == pytest.approx(heard.segments[0].avg_logprob, abs=0.15)


def test_each_segment_has_the_log_probabilities_of_its_own_tokens(tiny_whisper: Whisper) -> None:
    samples = recording(*map(say, english_sentences()[:4]), pause=1.2)
    (heard,) = tiny_whisper.decode([window(samples, language="en", logprobs=True, words=True)])
    assert len(heard.segments) > 1
    for segment in heard.segments:
        assert "".join(one.token for one in segment.logprobs) == segment.text
        assert "".join(word.word for word in segment.words) == segment.text


# --- Short windows ---


@dataclass
class Spied:
    """How many frames the encoder saw in each call."""

    frames: list[int] = field(default_factory=list)


@pytest.fixture
def spied(tiny_whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> Spied:
    spy, encode = Spied(), tiny_whisper._model.encode

    def spying(features: Any) -> Any:
        spy.frames.append(features.shape[-1])
        return encode(features)

    monkeypatch.setattr(tiny_whisper._model, "encode", spying)
    return spy


def test_every_sentence_is_heard_as_well_by_a_part_of_the_encoder(tiny_whisper: Whisper, spied: Spied) -> None:
    wrong = []
    for said in english_sentences():
        (heard,) = tiny_whisper.decode([window(recording(say(said), pause=0.3), language="en", short_window=True)])
        if text(heard) != said:
            wrong.append((text(heard), said))
    assert wrong == []
    assert sorted(spied.frames)[len(spied.frames) // 2] == 1500


def test_doubtful_text_of_a_short_window_is_heard_again_by_the_whole_encoder(
    tiny_whisper: Whisper, spied: Spied, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = iter([True])
    doubt = Decoded.is_doubtful.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Decoded, "is_doubtful", property(lambda one: next(first, False) or doubt(one)))
    (heard,) = tiny_whisper.decode([window(recording(say("What time is it?")), language="en", short_window=True)])
    assert text(heard) == "What time is it?"
    assert spied.frames == [1500, 3000]
    assert heard.segments[0].temperature == 0.0


def test_doubtful_text_of_a_whole_window_is_heard_again_warmer(
    tiny_whisper: Whisper, spied: Spied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoded, "is_doubtful", property(lambda one: one.temperature < 0.4))
    (heard,) = tiny_whisper.decode([window(recording(say("What time is it?")), language="en")])
    assert heard.segments[0].temperature == pytest.approx(0.4)
    assert set(spied.frames) == {3000}


def test_in_a_batch_only_what_is_doubtful_is_heard_again(
    tiny_whisper: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoded, "is_doubtful", property(lambda one: one.temperature == 0 and "time" in one.text))
    said = ["Hello world.", "What time is it?", "The meeting starts at nine."]
    heard = tiny_whisper.decode([window(recording(say(words)), language="en", words=True) for words in said])
    assert [one.segments[0].temperature for one in heard] == [0.0, 0.2, 0.0]
    assert [text(one) for one in heard][::2] == said[::2]
    assert all(segment.words for one in heard for segment in one.segments)


def test_noise_and_silence_are_nothing_in_a_short_window_too(tiny_whisper: Whisper) -> None:
    for samples in (silence(0.5), noise(3), silence(1 / SAMPLE_RATE)):
        (heard,) = tiny_whisper.decode([window(samples, short_window=True, words=True, logprobs=True)])
        assert heard.segments == ()


# --- Prompts ---


@pytest.mark.parametrize("hotwords", [None, "Anna", "word " * 100, "word " * 2000])
@pytest.mark.parametrize("prompt", [None, "Names.", "word " * 2000])
def test_a_prompt_with_hotwords_leaves_room_for_the_text(
    tiny_whisper: Whisper, prompt: str | None, hotwords: str | None
) -> None:
    samples = recording(say("Hello world."))
    (heard,) = tiny_whisper.decode([window(samples, language="en", prompt=prompt, hotwords=hotwords)])
    assert text(heard).startswith("Hello")
    tokenizer, _ = tiny_whisper._tokenizer("transcribe", "en")
    tokens = tiny_whisper._prompt(tokenizer, DecodeOptions(prompt=prompt, hotwords=hotwords))
    assert len(tokens) <= LONGEST_PROMPT + 5
    if hotwords and "word" not in hotwords:
        assert "Anna" in tokenizer.decode(tokens)
