"""Speakers are not told apart yet: what asks for it is refused, so that nobody takes a plain answer for one with speakers. Rules only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from speaches.errors import InvalidRequest

COUNTS = ("num_speakers", "min_speakers", "max_speakers")
KNOWN = ("known_speaker_names", "known_speaker_references")
OFF = ("false", "0", "no", "off", "f", "n")
"""What means false in a form."""
_DIARIZING = re.compile(r"-diarize(-\d{4}-\d{2}-\d{2})?$", re.IGNORECASE)


def refuse_speakers(values: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for parameters that ask who speaks. False, null and empty ones ask nothing."""
    if _is_on(values.get("diarize")):
        raise _not_yet("diarize", "Leave diarize out, or send false,")
    for name in (*COUNTS, *KNOWN):
        if not _is_empty(values.get(name)):
            raise _not_yet(name, f"Leave {name} out")
    if _word(values.get("response_format")) == "diarized_json":
        raise _not_yet("response_format", "Ask for response_format=verbose_json instead of diarized_json")
    refuse_diarizing_model(values.get("model"), "model")


def refuse_diarizing_model(model: Any, param: str) -> None:
    """Raise InvalidRequest for a model whose name promises speakers, such as gpt-4o-transcribe-diarize."""
    if isinstance(model, str) and _DIARIZING.search(model.strip()):
        raise _not_yet(param, "Name a model such as whisper-1")


def _is_on(value: Any) -> bool:
    return not _is_empty(value) and _word(value) not in OFF


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], ()) or (isinstance(value, list) and all(_is_empty(one) for one in value))


def _word(value: Any) -> str:
    return str(value).strip().lower()


def _not_yet(param: str, advice: str) -> InvalidRequest:
    return InvalidRequest(
        f"This server does not tell speakers apart: {param} is not yet possible. {advice} for the text without speakers.",
        param=param,
        code="unsupported_parameter" if param in ("diarize", *COUNTS, *KNOWN) else "unsupported_value",
    )
