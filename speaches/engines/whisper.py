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

from speaches.engines.base import SHORT_WINDOW_LANGUAGES, DecodeOptions, Hypothesis, Task, Window
from speaches.engines.description import Description
from speaches.engines.whisper_decoding import (
    ENCODER_FRAMES,
    Decoded,
    Language,
    aligned,
    chosen_language,
    encoder_frames,
    gain,
    row,
    token_logprobs,
    unfinished,
    within,
)
from speaches.engines.whisper_files import check_files
from speaches.engines.word_times import whole_words
from speaches.text.plain import plain

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

NAME = "whisper"
TASK = Task.STT
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("model.bin", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*", "README.md")

GPU_BATCH = 8  # windows; larger batches add latency and little throughput, as a batch runs to its longest text
MAX_TOKENS = 448
TOKENS_PER_SECOND = 25  # more than anybody says in any script: a loop in a short window ends sooner
SPARE_TOKENS = 30
LONGEST_PROMPT = MAX_TOKENS // 2 - 1  # tokens, as in openai/whisper


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
    check_files(folder)
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

    def prepare(self, samples: Samples, options: DecodeOptions) -> Any:
        """Log-mel features, shape (mels, frames), padded to what the encoder is to see."""
        import numpy as np
        from faster_whisper.audio import pad_or_trim

        loudness = gain(float(np.abs(samples).max(initial=0.0)))
        features = self._model.feature_extractor(samples if loudness == 1.0 else samples * loudness)[..., :-1]
        short = options.short_window and self._is_safe(options.language or options.likely)
        return pad_or_trim(features, encoder_frames(features.shape[-1], short=short))

    def _is_safe(self, language: str | None) -> bool:
        """Whether words in this language are the same where the encoder sees less than 30 s."""
        return not self.translates or language in SHORT_WINDOW_LANGUAGES

    def _prepare_whole(self, window: Window) -> Any:
        return self.prepare(window.samples, replace(window.options, short_window=False))

    def batch_key(self, window: Window) -> object:
        # Languages and what is made of the answer may differ within a batch.
        alike = replace(window.options, language=None, likely=None, candidates=(), words=False, logprobs=False)
        return (alike, None if window.features is None else window.features.shape)

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        import numpy as np

        prepared = [window.features for window in windows]
        features = [
            self.prepare(window.samples, window.options) if one is None else one
            for window, one in zip(windows, prepared, strict=True)
        ]
        encoded = self._model.encode(np.stack(features))
        languages = self._languages(encoded, windows)
        if features[0].shape[-1] < ENCODER_FRAMES and not all(self._is_safe(language) for language, _ in languages):
            features = [self._prepare_whole(window) for window in windows]
            encoded = self._model.encode(np.stack(features))
        tried = self._generate(encoded, windows, languages, windows[0].options.temperatures[0])
        best: list[tuple[Decoded, Any]] = []
        for window, own, language, one in zip(windows, features, languages, tried, strict=True):
            best.append(self._improved(window, own, language, one) if one.is_doubtful else (one, None))
        return self._hypotheses(windows, encoded, languages, best)

    def close(self) -> None:
        self._tokenizer.cache_clear()
        self._model.model.unload_model()
        del self._model

    def _languages(self, encoded: Any, windows: Sequence[Window]) -> list[Language]:
        """The language of each window with its probability: as asked, else as heard."""
        if not self.translates:
            return [("en", 1.0)] * len(windows)
        if all(window.options.language for window in windows):
            return [(str(window.options.language), 1.0) for window in windows]
        heard = self._model.model.detect_language(encoded)
        return [chosen_language(window.options, found) for window, found in zip(windows, heard, strict=True)]

    def _generate(
        self, encoded: Any, windows: Sequence[Window], languages: Sequence[Language], temperature: float
    ) -> list[Decoded]:
        """Decode every window once. At a temperature above 0, the best of five samples."""
        options = windows[0].options
        warm = {"beam_size": 1, "num_hypotheses": 5, "sampling_topk": 0, "sampling_temperature": temperature}
        tokenizers = [self._tokenizer(options.task, language) for language, _ in languages]
        prompts = [self._prompt(tokenizer, options) for tokenizer, _ in tokenizers]
        seconds = max(len(window.samples) for window in windows) / self._model.feature_extractor.sampling_rate
        results = self._model.model.generate(
            encoded,
            prompts,
            max_length=min(MAX_TOKENS, len(prompts[0]) + int(SPARE_TOKENS + seconds * TOKENS_PER_SECOND)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=tokenizers[0][1],
            **({"beam_size": options.beam_size} if temperature == 0 else warm),
        )
        return [
            Decoded(result, temperature, tokenizer) for result, (tokenizer, _) in zip(results, tokenizers, strict=True)
        ]

    def _improved(self, window: Window, features: Any, language: Language, first: Decoded) -> tuple[Decoded, Any]:
        """Try again: with the whole encoder if it saw less, then at rising temperatures, until the text is good enough.

        Returns:
            The first that is, else the most probable of all, and the encoder's output that it came from.
        """
        full = self._prepare_whole(window)
        encoded = self._model.encode(full)
        tries = [first]
        temperatures = window.options.temperatures if full.shape != features.shape else window.options.temperatures[1:]
        for temperature in temperatures:
            tries += self._generate(encoded, [window], [language], temperature)
            if not tries[-1].is_doubtful:
                return tries[-1], encoded
        return Decoded.best(tries), encoded

    def _prompt(self, tokenizer: Any, options: DecodeOptions) -> list[int]:
        before = tokenizer.encode(" " + plain(options.prompt).strip()) if options.prompt else []
        hotwords = tokenizer.encode(" " + plain(options.hotwords).strip()) if options.hotwords else []
        # Together no more than half of what the decoder holds, else there would be no room for the text.
        hotwords = hotwords[:LONGEST_PROMPT]
        before = before[max(0, len(before) - (LONGEST_PROMPT - len(hotwords))) :]
        tokens: list[int] = self._model.get_prompt(
            tokenizer, [*hotwords, *before], without_timestamps=not options.timestamps
        )
        return tokens

    def _make_tokenizer(self, task: str, language: str) -> tuple[Any, list[int]]:
        """The tokenizer for a task and language, and the tokens it never lets the model say (music notes, brackets)."""
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = Tokenizer(self._model.hf_tokenizer, self.translates, task=task, language=language)
        return tokenizer, list(get_suppressed_tokens(tokenizer, [-1]))

    def _hypotheses(
        self,
        windows: Sequence[Window],
        encoded: Any,
        languages: Sequence[Language],
        best: Sequence[tuple[Decoded, Any]],
    ) -> list[Hypothesis]:
        """Segments with what was asked for. Alignment needs the encoder's output of the window alone."""
        hypotheses = []
        for place, (window, language, (decoded, own)) in enumerate(zip(windows, languages, best, strict=True)):
            options = window.options
            if (options.words or options.logprobs) and own is None and not decoded.is_silence:
                own = encoded if len(windows) == 1 else row(encoded, place)
            hypotheses.append(self._hypothesis(window, language, decoded, own))
        return hypotheses

    def _hypothesis(self, window: Window, language: Language, decoded: Decoded, encoded: Any) -> Hypothesis:
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
        parts = within([*parts, *unfinished(decoded, parts, duration)], duration)
        if window.options.words:
            aligned(self._model, decoded, encoded, frames, parts)
        logprobs = token_logprobs(self._model, decoded, encoded, frames) if window.options.logprobs else iter(())
        segments = whole_words([decoded.segment(part, duration, logprobs) for part in parts], duration)
        return Hypothesis(tuple(segment for segment in segments if segment.text.strip()), *language)
