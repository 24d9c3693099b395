"""Piper: fast voices in many languages. piper-tts is GPL-3; it is loaded when a request chooses a Piper model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.text.plain import plain

if TYPE_CHECKING:
    from speaches.settings import Settings

NAME = "piper"
TASK = Task.TTS
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("*.onnx", "*.json", "README.md")


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
    names = list(config.get("speaker_id_map") or {}) if config.get("num_speakers", 1) > 1 else []
    if not names:
        names = [str(config.get("dataset") or "default")]
    return tuple(Voice(name, name.replace("_", " ").title(), language, _gender(name)) for name in names)


def _gender(name: str) -> Any:
    return name if name in ("female", "male") else None


class Piper:
    speeds = (0.25, 4.0)
    workers = 1  # one sentence uses all cores
    pause = 0.2

    def __init__(self, folder: Path, settings: Settings) -> None:
        from piper import PiperVoice
        from piper.config import PiperConfig

        from speaches.engines.devices import onnx_session

        config = _config(folder)
        session = onnx_session(sorted(folder.glob("*.onnx"))[0], settings.tts_inference_device)
        self._piper: Any = PiperVoice(session=session, config=PiperConfig.from_dict(config))
        self._voices = {voice.id: voice for voice in _voices(config)}
        self.languages: Sequence[str] = tuple(dict.fromkeys(voice.language for voice in self._voices.values()))
        self._speakers: dict[str, int] = config.get("speaker_id_map") or {}
        self.sample_rate = int(config["audio"]["sample_rate"])

    def voices(self) -> Sequence[Voice]:
        return tuple(self._voices.values())

    def voice(self, name: str) -> Voice | None:
        return self._voices.get(name)

    def synthesize(self, piece: Piece) -> Utterance:
        import numpy as np
        from piper.config import SynthesisConfig

        how = SynthesisConfig(
            speaker_id=self._speakers.get(piece.voice), length_scale=self._piper.config.length_scale / piece.speed
        )
        parts = [chunk.audio_float_array for chunk in self._piper.synthesize(plain(piece.text), how)]
        return Utterance(np.concatenate(parts).astype(np.float32) if parts else np.empty(0, np.float32))

    def close(self) -> None:
        del self._piper
