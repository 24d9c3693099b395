"""Kokoro: natural voices from 82 million parameters, through kokoro-onnx.

Its phonemizer is GPL-3; it is loaded when a request chooses a Kokoro model.
"""

from __future__ import annotations

import functools
import json
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines import mixes
from speaches.engines.alignment import estimated, is_sound, sounding, spoken_words, written
from speaches.engines.base import Piece, SpokenPhoneme, SpokenWord, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.engines.kokoro_phonemes import BOPOMOFO, pronounced
from speaches.text.markup import Phonemes, Words, spans
from speaches.text.plain import speakable

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

NAME = "kokoro"
TASK = Task.TTS
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("*.onnx", "voices*.bin", "config.json", "README.md")

SAMPLE_RATE = 24_000  # Hz
SPEEDS = (0.5, 2.0)  # the library refuses others
STYLES = 32  # voices and mixes kept in memory, half a megabyte each
TEXTS = 1024  # texts whose phonemes are kept, at most LONGEST_TEXT each: four megabytes at most
LONGEST_TEXT = 300  # characters; a longer one is not kept

# The first letter of a voice's name is its language, the second its gender: af_heart is American and female.
# https://huggingface.co/hexgrad/Kokoro-82M/blob/main/VOICES.md
LANGUAGES = {
    "a": ("en-US", "en-us"),
    "b": ("en-GB", "en-gb"),
    "e": ("es", "es"),
    "f": ("fr-FR", "fr-fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "j": ("ja", "ja"),
    "p": ("pt-BR", "pt-br"),
    "z": ("zh", "cmn"),
}
"""Letter -> (BCP 47, espeak-ng's name)."""


def recognises(folder: Path) -> bool:
    return _model(folder) is not None and _voices_file(folder) is not None


def describe(folder: Path | None) -> Description:
    assert folder is not None, "no Kokoro model is built in"
    voices = _voices(folder)
    return Description(tuple(dict.fromkeys(voice.language for voice in voices)), voices, SAMPLE_RATE)


def load(folder: Path | None, settings: Settings) -> Kokoro:
    assert folder is not None, "no Kokoro model is built in"
    return Kokoro(folder, settings)


def _model(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.onnx"))), None)


def _voices_file(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("voices*.bin"))), None)


def _vocabulary(folder: Path) -> dict[str, Any] | None:
    """The config of the model where it names its phonemes, as that of v1.1-zh does: others than v1.0's."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) and isinstance(config.get("vocab"), dict) else None


def _voices(folder: Path) -> tuple[Voice, ...]:
    """The voices in the voices file, a numpy archive with an array for each."""
    file = _voices_file(folder)
    assert file is not None, "checked by recognises"
    with zipfile.ZipFile(file) as archive:
        return tuple(_voice(name.removesuffix(".npy")) for name in sorted(archive.namelist()))


def _voice(name: str) -> Voice:
    language, gender = (name[:1], name[1:2]) if name[2:3] == "_" else ("a", "")
    return Voice(
        id=name,
        name=name.partition("_")[2].title() or name,
        language=LANGUAGES.get(language, LANGUAGES["a"])[0],
        gender="female" if gender == "f" else "male" if gender == "m" else None,
    )


class Kokoro:
    sample_rate = SAMPLE_RATE
    workers = 1  # one sentence uses all cores
    pause = 0.25  # it trims the silence around a piece
    languages: Sequence[str] = tuple(tag for tag, _ in LANGUAGES.values())

    def __init__(self, folder: Path, settings: Settings) -> None:
        import kokoro_onnx

        from speaches.engines.devices import onnx_session

        model = _model(folder)
        assert model is not None, "checked by recognises"
        session = onnx_session(model, settings.tts_inference_device)
        self._kokoro: Any = kokoro_onnx.Kokoro.from_session(
            session, str(_voices_file(folder)), vocab_config=_vocabulary(folder)
        )
        whole = any(one.name == "speed" and "int" in one.type for one in session.get_inputs())
        # An export whose speed is a whole number can only be told 1 or 2: what stretches the rest does it all, evenly.
        self.speeds = (1.0, 1.0) if whole else SPEEDS
        self._bopomofo = BOPOMOFO in self._kokoro.tokenizer.vocab
        self._voices = {voice.id: voice for voice in _voices(folder)}
        self._style = functools.lru_cache(STYLES)(self._blended)
        self._remembered = functools.lru_cache(TEXTS)(self._pronounced)

    def voices(self) -> Sequence[Voice]:
        return tuple(self._voices.values())

    def voice(self, name: str) -> Voice | None:
        """A voice by its name, or a mix of several, such as `af_heart(2)+af_sky(1)`.

        Raises:
            InvalidRequest: If it is a mix, but not a good one.
        """
        if found := self._voices.get(name):
            return found
        mix = mixes.parse(name, self._voices)
        if mix is None:
            return None
        main = self._voices[mixes.heaviest(mix)]
        if len(mix) == 1:
            return main
        title = " + ".join(self._voices[one.voice].name for one in mix)
        return replace(main, id=mixes.canonical(mix), name=title)

    def synthesize(self, piece: Piece) -> Utterance:
        import numpy as np

        voice = self.voice(piece.voice)
        if voice is None:
            raise ValueError(f"Kokoro has no voice {piece.voice!r}")
        language = _espeak_language(piece.language, voice.language)
        parts = spans(speakable(piece.text))
        phonemes = self._phonemes(parts, language)
        if not any(is_sound(phoneme) for phoneme in phonemes):  # dots or quotes, of which the model would make noises
            return Utterance(np.empty(0, np.float32))
        samples, _, timings = self._kokoro.create_timed(phonemes, self._style(voice.id), piece.speed, is_phonemes=True)
        samples = np.asarray(samples, np.float32)
        if not piece.timed:
            return Utterance(samples)
        times = list(_spaced(phonemes, timings)) if timings else estimated(phonemes, *sounding(samples, SAMPLE_RATE))
        words = self._words(parts, times, language, len(samples) / SAMPLE_RATE)
        return Utterance(samples, words if timings else _without_phonemes(words), estimated=not timings)

    def close(self) -> None:
        del self._kokoro, self._style, self._remembered

    def _phonemes(self, parts: Sequence[Words | Phonemes], language: str) -> str:
        """What of a text the model knows, with one space between groups."""
        spelt = []
        for part in parts:
            if isinstance(part, Phonemes):
                spelt.append("".join(map(self._written, part.phonemes)))
            else:
                before, after = part.text[:1].isspace(), part.text[-1:].isspace()
                spelt.append(" " * before + self._alone(part.text.strip(), language) + " " * after)
        return " ".join(self._kokoro.tokenizer.known("".join(spelt)).split())

    def _written(self, phoneme: str) -> str:
        """A phoneme as the model has it: some with their accents apart."""
        return phoneme if phoneme in self._kokoro.tokenizer.vocab else unicodedata.normalize("NFD", phoneme)

    def _words(
        self, parts: Sequence[Words | Phonemes], times: Sequence[SpokenPhoneme], language: str, seconds: float
    ) -> tuple[SpokenWord, ...]:
        known = self._kokoro.tokenizer.known
        return spoken_words(written(parts), times, lambda word: known(self._alone(word, language)), seconds)

    def _alone(self, text: str, language: str) -> str:
        return (self._remembered if len(text) <= LONGEST_TEXT else self._pronounced)(text, language)

    def _pronounced(self, text: str, language: str) -> str:
        return pronounced(text, language, bopomofo=self._bopomofo)

    def _blended(self, voice: str) -> Samples:
        """The style of a voice or mix, one row for each number of phonemes: shape (n, 1, 256), float32."""
        import numpy as np

        mix = mixes.parse(voice, self._voices) or (mixes.Ingredient(voice, 1.0),)
        styles = [np.asarray(self._kokoro.get_voice_style(one.voice), np.float32) for one in mix]
        rows = min(len(style) for style in styles)
        blend = np.zeros_like(styles[0][:rows])
        for style, share in zip(styles, mixes.shares(mix), strict=True):
            blend += np.float32(share) * style[:rows]
        return blend


def _spaced(phonemes: str, timings: Iterable[Any]) -> list[SpokenPhoneme]:
    """The library's times, with the spaces that it leaves out between the batches of a long text."""
    found: list[SpokenPhoneme] = []
    expected = iter(phonemes)
    for timing in timings:
        for phoneme in expected:
            if phoneme == timing.phoneme:
                break
            found.append(SpokenPhoneme(phoneme, timing.start, timing.start))
        found.append(SpokenPhoneme(timing.phoneme, timing.start, timing.end))
    return found


def _without_phonemes(words: Iterable[SpokenWord]) -> tuple[SpokenWord, ...]:
    """Where the times of the words are a guess, those of their phonemes would be no more than that."""
    return tuple(replace(word, phonemes=()) for word in words)


def _espeak_language(wanted: str | None, own: str) -> str:
    """espeak-ng's name for the language to pronounce a text in: the one asked for, where Kokoro has it, else the voice's own.

    Without a country it is the voice's, where that is of this language.
    """
    known = {tag.lower(): name for tag, name in LANGUAGES.values()}
    wanted = (wanted or own).lower()
    if wanted in known:
        return known[wanted]
    alike = [tag for tag in (own.lower(), *known) if tag.split("-")[0] == wanted.split("-")[0]]
    return known[alike[0]] if alike else known[own.lower()]
