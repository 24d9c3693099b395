"""Chat messages with audio -> messages that any LLM understands. Rules only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

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
AUDIO_FORMATS = ("wav", "mp3", "flac", "aac", "opus", "pcm16", "g711_ulaw", "g711_alaw")
RAW_FORMATS = ("pcm16", "pcm")
"""Of audio in messages: s16le, mono, 24 kHz, without a header. All others tell what they are themselves."""


@dataclass(frozen=True)
class AudioPart:
    """Where audio stands in the messages, and what it is."""

    message: int
    part: int
    data: str = field(hash=False)
    """base64."""
    raw: bool = False
    """Whether it is samples without a header."""

    @property
    def param(self) -> str:
        return f"messages[{self.message}].content[{self.part}].input_audio"


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
            audio = audio if isinstance(audio, dict) else {}
            data = audio.get("data")
            one = AudioPart(number, position, data if isinstance(data, str) else "", audio.get("format") in RAW_FORMATS)
            if not one.data:
                _refuse(
                    "An input_audio part needs its audio as base64 in input_audio.data.",
                    one.param,
                    "missing_required_parameter",
                )
            found.append(one)
    return found


def spoken_answer(body: Mapping[str, Any]) -> SpokenAnswer | None:
    """How the answer is to be spoken; None where only text is asked for.

    Raises:
        InvalidRequest: If audio is asked for without saying how, or in a way that can't be.
    """
    modalities = body.get("modalities") or []
    if not isinstance(modalities, list):
        _refuse("modalities must be a list, such as ['text', 'audio'].", "modalities")
    if "audio" not in modalities:
        return None
    audio = body.get("audio")
    if not isinstance(audio, dict):
        _refuse(
            "modalities has 'audio', which needs audio: {'voice': ..., 'format': ...}.",
            "audio",
            "missing_required_parameter",
        )
    _check_answers(body)
    streams = bool(body.get("stream"))
    name = audio.get("format") or ("pcm16" if streams else "wav")
    if name not in AUDIO_FORMATS:
        _refuse(f"Invalid audio.format {name!r:.60}; it can be {', '.join(AUDIO_FORMATS)}.", "audio.format")
    if streams and name != "pcm16":
        _refuse(f"audio.format must be 'pcm16' when stream=true, got {name!r}.", "audio.format", "unsupported_value")
    return SpokenAnswer(_voice(audio.get("voice")), "pcm" if name == "pcm16" else name)


def _check_answers(body: Mapping[str, Any]) -> None:
    """What a spoken answer looks at itself, and a text leaves to the LLM."""
    stream, n, options = body.get("stream"), body.get("n"), body.get("stream_options")
    if not isinstance(stream, bool | None):
        _refuse(f"stream must be true or false, got {stream!r:.60}.", "stream")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
        _refuse(f"n must be a number from 1, got {n!r:.60}.", "n")
    if stream and n and n > 1:
        _refuse(
            "With stream=true and audio there can be one answer only: leave n or stream out.", "n", "unsupported_value"
        )
    if not isinstance(options, dict | None):
        _refuse(f"stream_options must be an object, got {options!r:.60}.", "stream_options")


def _voice(voice: Any) -> str | None:
    """A voice's name, which may stand in an object."""
    name = voice.get("id") if isinstance(voice, dict) else voice
    if not isinstance(name, str | None):
        _refuse(f"audio.voice must be the name of a voice, or an object with its id; got {voice!r:.60}.", "audio.voice")
    return name


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
    others = [name for name in body.get("modalities") or () if name not in ("text", "audio")]
    if others:  # some LLMs draw
        request["modalities"] = [name for name in body["modalities"] if name != "audio"]
    messages = [dict(message) if isinstance(message, dict) else message for message in body["messages"]]
    for part, text in texts.items():
        content = list(messages[part.message]["content"])
        content[part.part] = {"type": "text", "text": text}
        messages[part.message]["content"] = content
    for number, message in enumerate(messages):
        audio = message.get("audio") if isinstance(message, dict) else None
        if isinstance(audio, dict) and "id" in audio:
            message["content"] = _said(message, audio, number, history)
            message.pop("audio")
    return request | {"messages": messages} | ({"model": model} if model else {})


def _said(message: Mapping[str, Any], audio: Mapping[str, Any], number: int, history: Mapping[str, str]) -> Any:
    """What an earlier answer said: as it is remembered here, else as the client does, who may have sent back all that it was given."""
    audio_id, transcript = audio["id"], audio.get("transcript")
    known = history.get(audio_id) if isinstance(audio_id, str) else None
    if known is not None:
        return known
    if isinstance(transcript, str) and transcript:
        return transcript
    if message.get("content"):
        return message["content"]
    name = audio_id if isinstance(audio_id, str) else type(audio_id).__name__
    _refuse(
        f"Audio {name[:60]!r} is unknown or has expired; send its transcript as content.",
        f"messages[{number}].audio.id",
        "audio_not_found",
    )


def _refuse(message: str, param: str, code: str = "invalid_value") -> NoReturn:
    raise InvalidRequest(message, param=param, code=code)
