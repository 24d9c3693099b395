"""Kokoro: natural voices from 82 million parameters, through kokoro-onnx.

Its phonemizer is GPL-3; it is loaded when a request chooses a Kokoro model.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.text.plain import plain

if TYPE_CHECKING:
    from speaches.settings import Settings

NAME = "kokoro"
TASK = Task.TTS
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("*.onnx", "voices*.bin", "config.json", "README.md")

SAMPLE_RATE = 24_000  # Hz

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
    speeds = (0.5, 2.0)  # the library refuses others
    workers = 1  # one sentence uses all cores
    pause = 0.25  # it trims the silence around a piece
    languages: Sequence[str] = tuple(tag for tag, _ in LANGUAGES.values())

    def __init__(self, folder: Path, settings: Settings) -> None:
        import kokoro_onnx

        from speaches.engines.devices import onnx_session

        model = _model(folder)
        assert model is not None, "checked by recognises"
        session = onnx_session(model, settings.tts_inference_device)
        self._kokoro: Any = kokoro_onnx.Kokoro.from_session(session, str(_voices_file(folder)))
        self._voices = {voice.id: voice for voice in _voices(folder)}

    def voices(self) -> Sequence[Voice]:
        return tuple(self._voices.values())

    def voice(self, name: str) -> Voice | None:
        return self._voices.get(name)

    def synthesize(self, piece: Piece) -> Utterance:
        import numpy as np

        phonemes = self._kokoro.tokenizer.phonemize(plain(piece.text), _espeak_language(piece))
        if not any(phoneme.isalpha() for phoneme in phonemes):  # dots or quotes, of which the model would make noises
            return Utterance(np.empty(0, np.float32))
        samples, _ = self._kokoro.create(phonemes, piece.voice, piece.speed, is_phonemes=True)
        return Utterance(np.asarray(samples, np.float32))

    def close(self) -> None:
        del self._kokoro


def _espeak_language(piece: Piece) -> str:
    """The language to pronounce the text in: the one asked for, else the voice's."""
    by_voice = LANGUAGES.get(piece.voice[:1], LANGUAGES["a"])[1]
    if piece.language is None:
        return by_voice
    wanted = piece.language.lower()
    known = {tag.lower(): name for tag, name in LANGUAGES.values()}
    return known.get(wanted) or next((name for tag, name in known.items() if tag.split("-")[0] == wanted), by_voice)
