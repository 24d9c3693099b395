"""What is made of one decoding of a window: the gates of quality, times of words, probabilities of tokens.

Thresholds are those of the paper (https://arxiv.org/abs/2212.04356, section 4.5) and of openai/whisper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from speaches.engines.base import DecodeOptions, Segment, TokenLogprob, Word

Language: TypeAlias = tuple[str, float]
"""ISO 639-1 code, probability."""

TOO_REPETITIVE = 2.4  # compression ratio
TOO_IMPROBABLE = -1.0  # average log probability
NO_SPEECH = 0.6
CERTAINLY_NO_SPEECH = 0.95

ENCODER_FRAMES = 3000  # 30 s, what the model was trained on
SHORTEST_FRAMES = 1500  # below 15 s of context the text suffers
MARGIN_FRAMES = 500  # silence that the encoder sees after the speech
FRAMES_STEP = 100  # so that windows of about one length share a batch
SECONDS_PER_TIME_TOKEN = 0.02
QUIET_PEAK = 0.1
"""A window that stays below this is made louder: Whisper's features have a floor, in which quiet speech drowns."""
LOUD_PEAK = 0.5
MOST_GAIN = 1000.0
CERTAIN_LANGUAGE = 0.8
"""From this probability on a window is taken to be in another language than the recording so far."""

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"


def encoder_frames(frames: int, *, short: bool) -> int:
    """How many frames of 10 ms the encoder is to see of a window.

    With 15 s instead of 30 it takes a third of the time. docs/quality.md has the measurement behind the floor and the margin.
    """
    if not short:
        return ENCODER_FRAMES
    wanted = max(SHORTEST_FRAMES, frames + MARGIN_FRAMES)
    return min(ENCODER_FRAMES, -(-wanted // FRAMES_STEP) * FRAMES_STEP)


def gain(peak: float) -> float:
    """What to multiply a window by whose loudest sample is `peak`."""
    return 1.0 if peak >= QUIET_PEAK or not peak else min(MOST_GAIN, LOUD_PEAK / peak)


def chosen_language(options: DecodeOptions, heard: Sequence[tuple[str, float]]) -> Language:
    """The language of a window.

    Args:
        heard: Each language as CTranslate2 writes it (`<|en|>`) with its probability.
    """
    if options.language is not None:
        return options.language, 1.0
    found = [(token.strip("<|>"), float(probability)) for token, probability in heard]
    allowed = [one for one in found if one[0] in options.candidates]
    total = sum(probability for _, probability in allowed)
    allowed = [(language, probability / total) for language, probability in allowed] if total else found
    best = max(allowed, key=lambda one: one[1])
    if options.likely is not None and best[1] < CERTAIN_LANGUAGE:
        return next((one for one in allowed if one[0] == options.likely), (options.likely, 0.0))
    return best


def row(encoded: Any, place: int) -> Any:
    """The encoder's output for one window of a batch, which would cost as much as all else to compute again."""
    import ctranslate2
    import numpy as np

    # float32, because numpy knows no bfloat16.
    outputs = np.asarray(encoded.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32))
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(outputs[place : place + 1]))


class Decoded:
    """One decoding of one window, and what the gates want to know of it."""

    def __init__(self, result: Any, temperature: float, tokenizer: Any) -> None:
        from faster_whisper.transcribe import get_compression_ratio

        self.tokens: list[int] = result.sequences_ids[0]
        self.temperature = temperature
        self.tokenizer = tokenizer
        self.text: str = tokenizer.decode(self.tokens).strip()
        # CTranslate2's score is the sum of log probabilities over the length; the paper counts the end token too.
        self.avg_logprob = result.scores[0] * len(self.tokens) / (len(self.tokens) + 1)
        self.no_speech_prob: float = result.no_speech_prob
        self.compression_ratio = float(get_compression_ratio(self.text)) if self.text else 0.0

    @staticmethod
    def best(tries: Sequence[Decoded]) -> Decoded:
        """The most probable of those that are not repetitive, or of all."""
        fluent = [one for one in tries if one.compression_ratio <= TOO_REPETITIVE]
        return max(fluent or tries, key=lambda one: one.avg_logprob)

    @property
    def is_silence(self) -> bool:
        improbable = self.no_speech_prob > NO_SPEECH and self.avg_logprob < TOO_IMPROBABLE
        return improbable or self.no_speech_prob > CERTAINLY_NO_SPEECH

    @property
    def is_doubtful(self) -> bool:
        """Whether another try is worth its time."""
        if self.compression_ratio > TOO_REPETITIVE:
            return True
        return self.avg_logprob < TOO_IMPROBABLE and not self.is_silence

    @property
    def text_tokens(self) -> list[int]:
        """The tokens without times and marks."""
        return [token for token in self.tokens if token < self.tokenizer.eot]

    def segment(self, part: dict[str, Any], duration: float, logprobs: Iterator[TokenLogprob]) -> Segment:
        """`part` of this decoding as a segment; its times are cut to the window, which the model does not know the end of."""
        end = min(float(part["end"]), duration)
        start = min(float(part["start"]), end)
        count = sum(token < self.tokenizer.eot for token in part["tokens"])
        return Segment(
            self.tokenizer.decode(part["tokens"]),
            start=start,
            end=end,
            tokens=tuple(part["tokens"]),
            avg_logprob=self.avg_logprob,
            compression_ratio=self.compression_ratio,
            no_speech_prob=self.no_speech_prob,
            temperature=self.temperature,
            words=tuple(_ordered_words(part.get("words", ()), start, end)),
            logprobs=tuple(logprob for _, logprob in zip(range(count), logprobs, strict=False)),
        )


def unfinished(decoded: Decoded, parts: Sequence[dict[str, Any]], duration: float) -> list[dict[str, Any]]:
    """What the model said after the last pair of times, without an end of its own.

    faster-whisper leaves it out of `parts` and goes back to hear it again; a window of ours is heard once.
    """
    rest = decoded.tokens[sum(len(part["tokens"]) for part in parts) :]
    if not any(token < decoded.tokenizer.eot for token in rest):
        return []
    start = max(0, rest[0] - decoded.tokenizer.timestamp_begin) * SECONDS_PER_TIME_TOKEN
    return [{"seek": 0, "start": start, "end": duration, "tokens": rest}]


def within(parts: Sequence[dict[str, Any]], duration: float) -> list[dict[str, Any]]:
    """Without what the model makes up for the silence after the window: it tends to say the last sentence once more."""
    return [part for part in parts if part["start"] < duration]


def _ordered_words(words: Sequence[dict[str, Any]], start: float, end: float) -> Iterator[Word]:
    """Words whose times never go back, and stay within their segment."""
    for word in words:
        start = min(max(start, float(word["start"])), end)
        until = min(max(start, float(word["end"])), end)
        yield Word(word["word"], start, until, float(word["probability"]))
        start = until


def aligned(model: Any, decoded: Decoded, encoded: Any, frames: int, parts: list[dict[str, Any]]) -> None:
    """Put words with times, from the model's cross-attention, into the parts of a decoding."""
    if decoded.text_tokens:
        model.add_word_timestamps([parts], decoded.tokenizer, encoded, [frames], PREPENDED, APPENDED, 0.0)


def token_logprobs(model: Any, decoded: Decoded, encoded: Any, frames: int) -> Iterator[TokenLogprob]:
    """The log probability of each token of the text, given those before it."""
    tokens = decoded.text_tokens
    if not tokens:
        return
    (result,) = model.model.align(encoded, decoded.tokenizer.sot_sequence, [tokens], frames)
    for token, probability in zip(tokens, result.text_token_probs, strict=False):
        text = decoded.tokenizer.tokenizer.id_to_token(token)
        content = _token_bytes(text)
        yield TokenLogprob(content.decode(errors="replace"), content, math.log(max(probability, 1e-10)))


def _token_bytes(token: str) -> bytes:
    """The bytes behind a token as GPT-2's vocabulary writes it: each byte a printable character."""
    return bytes(_BYTES.get(character, ord("?")) for character in token)


def _byte_characters() -> dict[str, int]:
    """https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode, the other way round."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_characters()
