"""Whisper through CTranslate2, with faster-whisper's tokenizer, features, prompts and word times.

One call hears a batch of windows, possibly of different requests. The rules of CTranslate2 for a batch: every prompt has the same length
and layout, and one beam and temperature hold for all (`batch_key`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines.base import DecodeOptions, Hypothesis, Segment, Task, Window, Word
from speaches.engines.description import Description
from speaches.text.plain import plain

if TYPE_CHECKING:
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

NAME = "whisper"
TASK = Task.STT
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*", "README.md")

GPU_BATCH = 8  # windows; larger batches add latency and little throughput, as a batch runs to its longest text

# Thresholds of the paper (https://arxiv.org/abs/2212.04356, section 4.5) and of openai/whisper.
TOO_REPETITIVE = 2.4  # compression ratio
TOO_IMPROBABLE = -1.0  # average log probability
NO_SPEECH = 0.6
CERTAINLY_NO_SPEECH = 0.95
MAX_TOKENS = 448

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"


def recognises(folder: Path) -> bool:
    return (folder / "model.bin").is_file() and (folder / "config.json").is_file() and any(folder.glob("vocabulary.*"))


def describe(folder: Path | None) -> Description:
    """The languages on the model's card, if it has one: the files themselves tell only one language from many."""
    assert folder is not None, "no Whisper model is built in"
    return Description(languages=_card_languages(folder / "README.md"))


def _card_languages(card: Path) -> tuple[str, ...]:
    try:
        head = card.read_text(errors="replace").split("---")[1]
    except (OSError, IndexError):
        return ()
    lines = head.partition("language:")[2].splitlines()
    if lines and lines[0].strip():
        return (lines[0].strip(),)
    languages = []
    for line in lines[1:]:
        if not line.startswith("- "):
            break
        languages.append(line[2:].strip().strip("'\""))
    return tuple(languages)


def load(folder: Path | None, settings: Settings) -> Whisper:
    assert folder is not None, "no Whisper model is built in"
    return Whisper(folder, settings)


def _on_cuda(folder: Path, compute_type: str) -> Any:
    """The model on the GPU, or None where that does not work."""
    import numpy as np
    from faster_whisper import WhisperModel

    try:
        model = WhisperModel(str(folder), device="cuda", compute_type=compute_type)
        # CTranslate2 looks for cuBLAS only when it first needs it, and that would be in the middle of a request.
        model.encode(np.zeros((model.model.n_mels, model.feature_extractor.nb_max_frames), np.float32))
    except Exception as error:
        logger.warning("CUDA is there but unusable for %s (%s): using the CPU.", folder.name, error)
        return None
    return model


class Whisper:
    translates: bool
    workers: int
    batch_size: int

    def __init__(self, folder: Path, settings: Settings) -> None:
        from speaches.engines.devices import cores, whisper_device

        device, compute_type = whisper_device(settings.whisper__inference_device, settings.whisper__compute_type)
        threads = settings.whisper__cpu_threads or 1
        workers = settings.whisper__num_workers or max(1, cores() // threads)
        self._model: Any = _on_cuda(folder, compute_type) if device == "cuda" else None
        on_cuda = self._model is not None
        self.workers = 1 if on_cuda else workers
        self.batch_size = settings.whisper__batch_size or (GPU_BATCH if on_cuda else 1)
        if not on_cuda:
            from faster_whisper import WhisperModel

            _, compute_type = whisper_device("cpu", settings.whisper__compute_type)
            self._model = WhisperModel(
                str(folder), device="cpu", compute_type=compute_type, cpu_threads=threads, num_workers=workers
            )
        self.languages: Sequence[str] = tuple(self._model.supported_languages)
        self.translates = bool(self._model.model.is_multilingual)
        # A method of its own cache, so that closing the engine frees it.
        self._tokenizer = functools.lru_cache(maxsize=256)(self._make_tokenizer)

    def batch_key(self, window: Window) -> object:
        options = window.options
        # Word times are aligned for one language at a time, so it has to be known.
        alone = object() if options.words and options.language is None else None
        language = options.language if options.words else None
        return (alone, language, replace(options, language=None))

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        import numpy as np
        from faster_whisper.audio import pad_or_trim

        features = [pad_or_trim(self._model.feature_extractor(window.samples)[..., :-1]) for window in windows]
        encoded = self._model.encode(np.stack(features))
        languages = self._languages(encoded, windows)
        first = windows[0].options.temperatures[0]
        tried = self._generate(encoded, windows, languages, first)
        hypotheses = []
        for index, (window, language, best) in enumerate(zip(windows, languages, tried, strict=True)):
            own = encoded
            if _needs_another_try(best) and len(window.options.temperatures) > 1:
                own = encoded if len(windows) == 1 else self._model.encode(features[index])
                best = self._warmer(own, window, language, best)
            elif len(windows) > 1 and window.options.words:
                own = self._model.encode(features[index])
            hypotheses.append(self._hypothesis(own, window, language, best))
        return hypotheses

    def close(self) -> None:
        self._tokenizer.cache_clear()
        self._model.model.unload_model()
        del self._model

    def _languages(self, encoded: Any, windows: Sequence[Window]) -> list[tuple[str, float]]:
        """The language of each window with its probability: as asked, else as heard."""
        if not self.translates:
            return [("en", 1.0)] * len(windows)
        if all(window.options.language for window in windows):
            return [(str(window.options.language), 1.0) for window in windows]
        heard = self._model.model.detect_language(encoded)
        return [
            (window.options.language, 1.0) if window.options.language else (best[0][0].strip("<|>"), float(best[0][1]))
            for window, best in zip(windows, heard, strict=True)
        ]

    def _generate(
        self, encoded: Any, windows: Sequence[Window], languages: Sequence[tuple[str, float]], temperature: float
    ) -> list[_Decoded]:
        """Decode every window once. At a temperature above 0, the best of five samples."""
        options = windows[0].options
        warm = {"beam_size": 1, "num_hypotheses": 5, "sampling_topk": 0, "sampling_temperature": temperature}
        tokenizers = [self._tokenizer(options.task, language) for language, _ in languages]
        results = self._model.model.generate(
            encoded,
            [self._prompt(tokenizer, options) for tokenizer, _ in tokenizers],
            max_length=MAX_TOKENS,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=tokenizers[0][1],
            **({"beam_size": options.beam_size} if temperature == 0 else warm),
        )
        return [
            _Decoded(result, temperature, tokenizer) for result, (tokenizer, _) in zip(results, tokenizers, strict=True)
        ]

    def _warmer(self, encoded: Any, window: Window, language: tuple[str, float], first: _Decoded) -> _Decoded:
        """Try again at rising temperatures until the text is good enough; the most probable of all where none is."""
        tries = [first]
        for temperature in window.options.temperatures[1:]:
            tries += self._generate(encoded, [window], [language], temperature)
            if not _needs_another_try(tries[-1]):
                return tries[-1]
        fluent = [one for one in tries if one.compression_ratio <= TOO_REPETITIVE]
        return max(fluent or tries, key=lambda one: one.avg_logprob)

    def _prompt(self, tokenizer: Any, options: DecodeOptions) -> list[int]:
        before = tokenizer.encode(" " + plain(options.prompt).strip()) if options.prompt else []
        tokens: list[int] = self._model.get_prompt(
            tokenizer, before, without_timestamps=not options.timestamps, hotwords=plain(options.hotwords or "") or None
        )
        return tokens

    def _make_tokenizer(self, task: str, language: str) -> tuple[Any, list[int]]:
        """The tokenizer for a task and language, and the tokens it never lets the model say (music notes, brackets)."""
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = Tokenizer(self._model.hf_tokenizer, self.translates, task=task, language=language)
        return tokenizer, list(get_suppressed_tokens(tokenizer, [-1]))

    def _hypothesis(self, encoded: Any, window: Window, language: tuple[str, float], decoded: _Decoded) -> Hypothesis:
        if decoded.is_silence:
            return Hypothesis((), *language)
        duration = len(window.samples) / self._model.feature_extractor.sampling_rate
        frames = round(duration * self._model.frames_per_second)
        parts, _, _ = self._model._split_segments_by_timestamps(
            tokenizer=decoded.tokenizer,
            tokens=decoded.tokens,
            time_offset=0.0,
            segment_size=frames,
            segment_duration=duration,
            seek=0,
        )
        if window.options.words and decoded.text:
            self._model.add_word_timestamps([parts], decoded.tokenizer, encoded, [frames], PREPENDED, APPENDED, 0.0)
        segments = (decoded.segment(part, duration) for part in parts)
        return Hypothesis(tuple(segment for segment in segments if segment.text.strip()), *language)


class _Decoded:
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

    @property
    def is_silence(self) -> bool:
        improbable = self.no_speech_prob > NO_SPEECH and self.avg_logprob < TOO_IMPROBABLE
        return improbable or self.no_speech_prob > CERTAINLY_NO_SPEECH

    def segment(self, part: dict[str, Any], duration: float) -> Segment:
        """`part` of this decoding as a segment; its times are cut to the window, which the model does not know the end of."""
        text = self.tokenizer.decode(part["tokens"])
        end = min(float(part["end"]), duration)
        words = (
            Word(word["word"], min(float(word["start"]), end), min(float(word["end"]), end), float(word["probability"]))
            for word in part.get("words", ())
        )
        return Segment(
            text,
            start=min(float(part["start"]), end),
            end=end,
            tokens=tuple(part["tokens"]),
            avg_logprob=self.avg_logprob,
            compression_ratio=self.compression_ratio,
            no_speech_prob=self.no_speech_prob,
            temperature=self.temperature,
            words=tuple(words),
        )


def _needs_another_try(decoded: _Decoded) -> bool:
    if decoded.compression_ratio > TOO_REPETITIVE:
        return True
    return decoded.avg_logprob < TOO_IMPROBABLE and not decoded.is_silence
