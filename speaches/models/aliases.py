"""Other names for models.

Clients rarely ask which models exist: they send OpenAI's names, faster-whisper's sizes, or the repository of the
original weights. All of these lead to a model that can run here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["BUILT_IN", "Aliases"]

OPENAI = {
    "whisper-1": "Systran/faster-whisper-large-v3",
    "gpt-transcribe": "whisper-1",
    "gpt-live-transcribe": "whisper-1",
    "gpt-4o-transcribe": "whisper-1",
    "gpt-4o-transcribe-diarize": "whisper-1",
    "gpt-4o-mini-transcribe": "whisper-1",
    "gpt-realtime-whisper": "whisper-1",
    "tts-1": "speaches-ai/Kokoro-82M-v1.0-ONNX",
    "tts-1-hd": "tts-1",
    "gpt-4o-mini-tts": "tts-1",
}
"""Most lead to `whisper-1` and `tts-1`, so that who overrides those two overrides all. A name with more behind it, like
`gpt-4o-mini-tts-2025-12-15` or `tts-1-hd-1106`, is the same model in another version."""

WHISPER_SIZES = {
    "tiny": "Systran/faster-whisper-tiny",
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "base": "Systran/faster-whisper-base",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "deepdml/faster-whisper-large-v3-turbo-ct2",
    "turbo": "deepdml/faster-whisper-large-v3-turbo-ct2",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}
"""What faster-whisper and whisper call the sizes."""

ORIGINAL_WEIGHTS = {
    **{f"openai/whisper-{size}": repo for size, repo in WHISPER_SIZES.items() if not size.startswith("distil")},
    **{f"distil-whisper/{size}": repo for size, repo in WHISPER_SIZES.items() if size.startswith("distil")},
    "hexgrad/Kokoro-82M": "speaches-ai/Kokoro-82M-v1.0-ONNX",
}
"""Repositories whose weights need PyTorch, and their conversions."""

BUILT_IN: Mapping[str, str] = {
    **OPENAI,
    **WHISPER_SIZES,
    **{f"whisper-{size}": repo for size, repo in WHISPER_SIZES.items() if size.startswith("large")},  # Groq's names
    **ORIGINAL_WEIGHTS,
    "kokoro": "speaches-ai/Kokoro-82M-v1.0-ONNX",
    "coqui-tts": "tts-1",
    "silero_vad": "silero_vad_v6",
    "silero_vad_v5": "silero_vad_v6",
}

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Aliases:
    """Finds the model behind a name. The user's own aliases win over the built-in ones."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._table = {**BUILT_IN, **(own or {})}
        self._families = sorted(OPENAI, key=len, reverse=True)

    def resolve(self, name: str) -> str:
        """The model's id; the name itself where it is no alias.

        An alias may lead to another. One that leads back to where it has been ends there.
        """
        seen = {name}
        while (target := self._next(name)) is not None and target not in seen:
            seen.add(target)
            name = target
        return name

    def names(self) -> dict[str, str]:
        """Every alias and the id it leads to, for lists of models."""
        return {name: self.resolve(name) for name in self._table}

    def _next(self, name: str) -> str | None:
        if name in self._table:
            return self._table[name]
        if "/" in name:
            return None
        if (undated := _DATE.sub("", name)) in self._table:
            return undated
        return next((family for family in self._families if name.startswith(f"{family}-")), None)
