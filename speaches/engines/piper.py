"""Piper: fast voices in many languages. piper-tts is GPL-3; it is loaded when a request chooses a Piper model."""

from __future__ import annotations

import copy
import functools
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.engines.alignment import estimated, is_sound, sounding, spoken_words, written
from speaches.engines.base import Piece, SpokenPhoneme, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.engines.onnx_graph import with_output_of
from speaches.text.markup import Phonemes, Words, spans
from speaches.text.plain import portions, speakable

if TYPE_CHECKING:
    from speaches.settings import Device, Settings

    Sentence: TypeAlias = tuple[str, ...]

logger = logging.getLogger(__name__)

NAME = "piper"
TASK = Task.TTS
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("*.onnx", "*.json", "README.md")

TEXTS = 512  # texts whose phonemes are kept, at most LONGEST_TEXT each: four megabytes at most
LONGEST_TEXT = 300  # characters; a longer one is not kept
LONGEST_SENTENCE = 510  # phonemes at once, as many as Kokoro takes: they are half a minute, and hundreds of MB
FRAMING = frozenset("_^$")  # padding, start and end: the library adds them
# Kokoro's letters for sounds that Piper writes in two.
_LETTERS = str.maketrans(
    {
        "A": "eɪ",
        "I": "aɪ",
        "O": "oʊ",
        "Q": "əʊ",
        "W": "aʊ",
        "Y": "ɔɪ",
        "ʤ": "dʒ",
        "ʧ": "tʃ",
        "ʦ": "ts",
        "ᵊ": "ə",
        "T": "ɾ",
    }
)
_MARK = re.compile(r"\s*+([.,;:!?])(?=\s|$)")


def recognises(folder: Path) -> bool:
    return any(folder.glob("*.onnx")) and _config_file(folder) is not None


def describe(folder: Path | None) -> Description:
    assert folder is not None, "no Piper model is built in"
    config = _config(folder)
    voices = _voices(config)
    return Description((voices[0].language,), voices, int(config["audio"]["sample_rate"]))


def load(folder: Path | None, settings: Settings) -> Piper:
    assert folder is not None, "no Piper model is built in"
    return Piper(folder, settings)


def _config_file(folder: Path) -> Path | None:
    """`config.json` or, as Piper itself writes it, `<model>.onnx.json`."""
    for file in sorted(folder.glob("*.json")):
        try:
            config = json.loads(file.read_text())
        except ValueError:
            continue
        if isinstance(config, dict) and "phoneme_id_map" in config:
            return file
    return None


def _config(folder: Path) -> dict[str, Any]:
    file = _config_file(folder)
    assert file is not None, "checked by recognises"
    config: dict[str, Any] = json.loads(file.read_text())
    return config


def _voices(config: dict[str, Any]) -> tuple[Voice, ...]:
    """Each speaker of a multi-speaker model, or the model's one voice under the name of its data set (`amy`, `lessac`)."""
    language = str(config.get("language", {}).get("code") or config["espeak"]["voice"]).replace("_", "-")
    names = list(_speakers(config)) or [str(config.get("dataset") or "default")]
    return tuple(Voice(name, name.replace("_", " ").title(), language, _gender(name)) for name in names)


def _speakers(config: dict[str, Any]) -> dict[str, int]:
    """The number of each speaker, by name, in order; by its number where the model has no names. Empty where it has one speaker."""
    count = int(config.get("num_speakers", 1))
    if count <= 1:
        return {}
    return config.get("speaker_id_map") or {str(number): number for number in range(count)}


def _gender(name: str) -> Any:
    return name if name in ("female", "male") else None


class Piper:
    speeds = (0.25, 4.0)
    workers = 1  # one sentence uses all cores
    pause = 0.2

    def __init__(self, folder: Path, settings: Settings) -> None:
        from piper import PiperVoice
        from piper.config import PiperConfig

        config = _config(folder)
        session = _session(sorted(folder.glob("*.onnx"))[0], settings.tts_inference_device)
        self._piper: Any = PiperVoice(session=session, config=PiperConfig.from_dict(config))
        self._voices = {voice.id: voice for voice in _voices(config)}
        self.languages: Sequence[str] = tuple(dict.fromkeys(voice.language for voice in self._voices.values()))
        self._speakers = _speakers(config)
        self.sample_rate = int(config["audio"]["sample_rate"])
        self._remembered = functools.lru_cache(TEXTS)(self._pronounced)

    def voices(self) -> Sequence[Voice]:
        return tuple(self._voices.values())

    def voice(self, name: str) -> Voice | None:
        """A voice by its name or, where the model has several speakers, by its number."""
        if found := self._voices.get(name):
            return found
        return next((self._voices[one] for one, number in self._speakers.items() if name == str(number)), None)

    def synthesize(self, piece: Piece) -> Utterance:
        import numpy as np
        from piper.config import SynthesisConfig

        how = SynthesisConfig(
            speaker_id=self._speakers.get(piece.voice), length_scale=self._piper.config.length_scale / piece.speed
        )
        parts = spans(speakable(piece.text).strip())
        speaker = copy.copy(self._piper)
        speaker.phonemize = lambda text: self._sentences(parts)  # of which some may be told, and some remembered
        chunks = list(speaker.synthesize("", how, include_alignments=piece.timed))
        if not chunks:
            return Utterance(np.empty(0, np.float32))
        samples = np.concatenate([chunk.audio_float_array for chunk in chunks]).astype(np.float32)
        if not piece.timed:
            return Utterance(samples)
        guessed = any(chunk.phoneme_alignments is None for chunk in chunks)
        words = spoken_words(written(parts), self._times(chunks), self._alone, len(samples) / self.sample_rate)
        return Utterance(samples, tuple(replace(word, phonemes=()) for word in words) if guessed else words, guessed)

    def close(self) -> None:
        del self._piper, self._remembered

    # --- Phonemes ---

    def _sentences(self, parts: Iterable[Words | Phonemes]) -> list[list[str]]:
        """The phonemes of each sentence. Those that the text tells belong to the sentence that they stand in."""
        sentences: list[list[str]] = [[]]
        for part in _portioned(parts):
            if _has_ended(sentences[-1]):
                sentences.append([])
            if isinstance(part, Phonemes):
                sentences[-1] += self._known(unicodedata.normalize("NFD", part.phonemes.translate(_LETTERS)))
                continue
            text = part.text
            if sentences[-1] and (mark := _MARK.match(text)):  # espeak-ng leaves out a mark that nothing stands before
                sentences[-1] += self._known(mark[1])
                text = text[mark.end() :]
            sentences[-1] += [" "] * text[:1].isspace()
            first, *others = self._phonemes(text.strip()) or ((),)
            if _has_ended(sentences[-1]):
                sentences.append([])
            sentences[-1] += first
            sentences += (list(sentence) for sentence in others)
            sentences[-1] += [" "] * (bool(text.strip()) and text[-1].isspace())
        stretches = (stretch for sentence in sentences for stretch in _stretches(sentence))
        return [stretch for stretch in stretches if any(is_sound(phoneme) for phoneme in stretch)]

    def _phonemes(self, text: str) -> tuple[Sentence, ...]:
        return (self._remembered if len(text) <= LONGEST_TEXT else self._pronounced)(text)

    def _pronounced(self, text: str) -> tuple[Sentence, ...]:
        return tuple(tuple(self._known(sentence)) for sentence in self._piper.phonemize(text))

    def _known(self, phonemes: Iterable[str]) -> list[str]:
        """Those that the model has. Chinese and some others come as syllables, which the library takes apart itself."""
        if self._piper.config.phoneme_type == "pinyin":
            return list(phonemes)
        return [sys.intern(one) for one in phonemes if one in self._piper.config.phoneme_id_map and one not in FRAMING]

    def _alone(self, word: str) -> str:
        return " ".join("".join(sentence) for sentence in self._phonemes(word))

    # --- Times ---

    def _times(self, chunks: Sequence[Any]) -> list[SpokenPhoneme]:
        """The phonemes of all sentences, with a space between them, in seconds from the start of the first."""
        found: list[SpokenPhoneme] = []
        start = 0.0
        for chunk in chunks:
            found += self._aligned(chunk, start) if chunk.phoneme_alignments else self._guessed(chunk, start)
            start += len(chunk.audio_float_array) / self.sample_rate
            found.append(SpokenPhoneme(" ", start, start))
        return found

    def _aligned(self, chunk: Any, start: float) -> list[SpokenPhoneme]:
        counts = [int(one.num_samples) for one in chunk.phoneme_alignments]
        scale = len(chunk.audio_float_array) / max(sum(counts), 1) / self.sample_rate
        found, before = [], 0
        for one, count in zip(chunk.phoneme_alignments, counts, strict=True):
            if one.phoneme not in FRAMING:
                found.append(SpokenPhoneme(one.phoneme, start + before * scale, start + (before + count) * scale))
            before += count
        return found

    def _guessed(self, chunk: Any, start: float) -> list[SpokenPhoneme]:
        begin, end = sounding(chunk.audio_float_array, self.sample_rate)
        return estimated(chunk.phonemes, start + begin, start + end)


def _portioned(parts: Iterable[Words | Phonemes]) -> Iterator[Words | Phonemes]:
    """The parts, with Words no longer than espeak-ng takes."""
    for part in parts:
        if isinstance(part, Words):
            yield from (Words(portion) for portion in portions(part.text))
        else:
            yield part


def _stretches(sentence: list[str]) -> Iterator[list[str]]:
    """A sentence, cut between words where it is too long to be spoken at once."""
    start = 0
    while len(sentence) - start > LONGEST_SENTENCE:
        end = start + LONGEST_SENTENCE
        end = next((at for at in range(end, start + LONGEST_SENTENCE // 2, -1) if sentence[at].isspace()), end)
        yield sentence[start:end]
        start = end
    yield sentence[start:]


def _has_ended(sentence: Sequence[str]) -> bool:
    return "".join(sentence[-2:]).strip().endswith((".", "!", "?"))


def _session(path: Path, device: Device) -> Any:
    """The model, made to tell how long each phoneme is where it can be."""
    from speaches.engines.devices import onnx_session

    content = with_output_of(path.read_bytes(), "Ceil")  # it rounds each phoneme up to whole frames
    if content is not None:
        try:
            return onnx_session(path, device, content=content)
        except Exception as error:
            logger.warning("%s can't be made to tell when each word is spoken: %s", path.name, error)
    return onnx_session(path, device)
