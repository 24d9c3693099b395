"""The body of a chat completion: what of it is for us, and what is wrong with it. Rules only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from speaches.api.speakers import refuse_diarizing_model
from speaches.api.transcription_forms import TranscriptionForm
from speaches.api.validation import LanguageTag, M, Number, Parameters, Whole, json_object, validated
from speaches.chat.messages import AudioPart, SpokenAnswer, audio_parts, spoken_answer
from speaches.errors import InvalidRequest, TooLarge

MARKS = (b"{", b"[", b",")  # no base64 has any of them
MOST_MARKS = 2_000_000  # in a body; an empty object takes 30 times as much memory as its two characters


class SpeechExtras(Parameters):
    """`speech_extra_body`: parameters of /v1/audio/speech."""

    speed: Number = Field(1.0, ge=0.25, le=4.0)
    sample_rate: Whole | None = None
    language: LanguageTag | None = None


@dataclass(frozen=True)
class Asked:
    """A request, read."""

    body: Mapping[str, Any]
    parts: list[AudioPart]
    spoken: SpokenAnswer | None
    hearing: TranscriptionForm
    speech: SpeechExtras

    @property
    def ignored(self) -> list[str]:
        """Names among what is for us; what is for the LLM is its own."""
        return [
            *(f"transcription_extra_body.{name}" for name in self.hearing.ignored),
            *(f"speech_extra_body.{name}" for name in self.speech.ignored),
        ]

    @staticmethod
    def read(body: bytes) -> Asked:
        """Raises InvalidRequest. Slow for megabytes: not for the event loop."""
        if sum(body.count(mark) for mark in MARKS) > MOST_MARKS:
            raise TooLarge(f"The request has more than {MOST_MARKS} values and commas, the most this server takes.")
        values = json_object(body)
        for name in ("transcription_model", "speech_model"):
            if not isinstance(values.get(name), str | None):
                raise InvalidRequest(f"{name} must be the name of a model.", param=name, code="invalid_value")
        refuse_diarizing_model(values.get("transcription_model"), "transcription_model")
        if not isinstance(values.get("messages"), list):
            raise InvalidRequest(
                "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
            )
        return Asked(
            values,
            audio_parts(values["messages"]),
            spoken_answer(values),
            _extras(TranscriptionForm, values, "transcription_extra_body"),
            _extras(SpeechExtras, values, "speech_extra_body"),
        )


def _extras(kind: type[M], body: Mapping[str, Any], name: str) -> M:
    values = body.get(name)
    if not isinstance(values, dict | None):
        raise InvalidRequest(f"{name} must be an object of parameters.", param=name, code="invalid_value")
    try:
        return validated(kind, values or {})
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=f"{name}.{error.param}", code=error.code) from None
