"""Chat messages with audio -> messages that any LLM understands. Rules only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speaches.errors import InvalidRequest

OWN_FIELDS = (
    "modalities",
    "audio",
    "transcription_model",
    "speech_model",
    "transcription_extra_body",
    "speech_extra_body",
)
"""Fields of a request that are for us, not for the LLM."""
AUDIO_FORMATS = ("wav", "mp3", "flac", "aac", "opus", "pcm16")


@dataclass(frozen=True)
class AudioPart:
    """Where audio stands in the messages, and what it is."""

    message: int
    part: int
    data: str
    """base64."""


@dataclass(frozen=True)
class SpokenAnswer:
    """How the answer is to be spoken."""

    voice: str | None
    response_format: str


def audio_parts(messages: Sequence[Any]) -> list[AudioPart]:
    """The `input_audio` parts of all messages, in order.

    Raises:
        InvalidRequest: If one has no data.
    """
    found = []
    for number, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        for position, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict) or part.get("type") != "input_audio":
                continue
            audio = part.get("input_audio")
            data = audio.get("data") if isinstance(audio, dict) else None
            if not isinstance(data, str) or not data:
                raise InvalidRequest(
                    "An input_audio part needs its audio as base64 in input_audio.data.",
                    param=f"messages[{number}].content[{position}].input_audio",
                    code="missing_required_parameter",
                )
            found.append(AudioPart(number, position, data))
    return found


def spoken_answer(body: Mapping[str, Any]) -> SpokenAnswer | None:
    """How the answer is to be spoken; None where only text is asked for.

    Raises:
        InvalidRequest: If audio is asked for without saying how.
    """
    modalities = body.get("modalities") or []
    if not isinstance(modalities, list):
        raise InvalidRequest(
            "modalities must be a list, such as ['text', 'audio'].", param="modalities", code="invalid_value"
        )
    if "audio" not in modalities:
        return None
    audio = body.get("audio")
    if not isinstance(audio, dict):
        raise InvalidRequest(
            "modalities has 'audio', which needs audio: {'voice': ..., 'format': ...}.",
            param="audio",
            code="missing_required_parameter",
        )
    voice, name = audio.get("voice"), audio.get("format", "wav")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if name not in AUDIO_FORMATS:
        raise InvalidRequest(
            f"Invalid audio.format {name!r}; it can be {', '.join(AUDIO_FORMATS)}.",
            param="audio.format",
            code="invalid_value",
        )
    return SpokenAnswer(voice if isinstance(voice, str) else None, "pcm" if name == "pcm16" else name)


def for_llm(
    body: Mapping[str, Any], model: str | None, texts: Mapping[AudioPart, str], history: Mapping[str, str]
) -> dict[str, Any]:
    """The request for the LLM: audio replaced by its text, earlier spoken answers by what was said.

    Args:
        model: CHAT_COMPLETION_MODEL; None keeps the model that the request names.
        texts: What was heard in each audio part.
        history: Transcripts of earlier answers by their audio id.

    Raises:
        InvalidRequest: If an earlier answer has expired.
    """
    request = {name: value for name, value in body.items() if name not in OWN_FIELDS}
    messages = [dict(message) if isinstance(message, dict) else message for message in body["messages"]]
    for part, text in texts.items():
        content = list(messages[part.message]["content"])
        content[part.part] = {"type": "text", "text": text}
        messages[part.message]["content"] = content
    for number, message in enumerate(messages):
        audio = message.get("audio") if isinstance(message, dict) else None
        if isinstance(audio, dict) and "id" in audio:
            if audio["id"] not in history:
                raise InvalidRequest(
                    f"Audio {audio['id']!r} is unknown or has expired; send its transcript as content.",
                    param=f"messages[{number}].audio.id",
                    code="audio_not_found",
                )
            message.pop("audio")
            message["content"] = history[audio["id"]]
    return request | {"messages": messages} | ({"model": model} if model else {})
