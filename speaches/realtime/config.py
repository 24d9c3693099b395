"""What a session is set to: defaults, updates of parts of it, and how a client is told. Rules only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from speaches.errors import InvalidRequest
from speaches.realtime.fields import (
    Audio,
    Choice,
    Detection,
    Modalities,
    Prompt,
    Reasoning,
    Retention,
    TokenLimit,
    Tools,
    Tracing,
    Transcription,
    included,
    speech_only,
)
from speaches.realtime.reading import Part, an_object, read
from speaches.transcription.languages import code_or_detected

# Of a session or an item as JSON: some clients close at a frame of 512 KiB, and no event is to have more than 256.
MOST_BYTES = 192 * 1024
INSTRUCTIONS = (
    "You are a helpful voice assistant. What you write is spoken aloud: answer in a few short sentences of plain"
    " spoken language, without lists, headings, markup or emoji. Answer in the language that the user speaks."
)

Kind: TypeAlias = Literal["realtime", "transcription"]


class SessionConfig(Part):
    """The whole of it. Values that were never set have OpenAI's defaults."""

    nullable: ClassVar[frozenset[str]] = frozenset({"tracing", "prompt", "include"})
    type: Kind = "realtime"
    model: str | None = None
    """The LLM's, in a conversation."""
    output_modalities: Modalities = Field(default_factory=speech_only)
    instructions: str = INSTRUCTIONS
    tools: Tools = Field(default_factory=list)
    tool_choice: Choice = "auto"
    parallel_tool_calls: bool | None = None
    max_output_tokens: TokenLimit = "inf"
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    """Not in OpenAI's new dialect any more; LLMs still have it."""
    truncation: Literal["auto", "disabled"] | Retention = "auto"
    tracing: Literal["auto"] | Tracing | None = None
    prompt: Prompt | None = None
    reasoning: Reasoning | None = None
    include: Annotated[list[str], BeforeValidator(included)] | None = None
    audio: Audio = Audio()

    @property
    def speaks(self) -> bool:
        return self.output_modalities == ["audio"]

    @property
    def detection(self) -> Detection | None:
        return self.audio.input.turn_detection

    @property
    def transcription(self) -> Transcription | None:
        return self.audio.input.transcription


def new_session(
    kind: Kind = "realtime",
    *,
    model: str | None = None,
    transcription_model: str | None = None,
    language: str | None = None,
    voice: str | None = None,
    session: Mapping[str, Any] | None = None,
) -> SessionConfig:
    """A session as a connection asks for it.

    Args:
        model: The URL's. In a transcription session it is the one that transcribes.
        transcription_model, language: The URL's.
        voice: DEFAULT_VOICE, for a client that chooses none.
        session: From a client secret, or as a request to make one has it.

    Raises:
        InvalidRequest: If `session` is not a valid one.
    """
    if kind == "transcription":
        transcription_model, model = transcription_model or model, None
    heard = {"model": transcription_model, "language": language}
    asked: dict[str, Any] = {
        "type": kind,
        "model": model,
        "audio": {"input": {}, "output": {"voice": voice} if voice else {}},
    }
    if any(heard.values()) or kind == "transcription":
        asked["audio"]["input"]["transcription"] = {key: value for key, value in heard.items() if value}
    config = _built(asked)
    if session:
        # The URL's model goes before the secret's, as it is nearer to the user.
        config = updated(config, session, may_change_kind=True)
    return config


def updated(config: SessionConfig, update: object, *, may_change_kind: bool = False) -> SessionConfig:
    """A session with parts of it changed: only what is named changes, null clears.

    The URL's model stays: clients repeat their own default name here. A conversation may become a transcription session, not the reverse.

    Raises:
        InvalidRequest: With the path of what is wrong; then nothing has changed.
    """
    update = an_object(update, "session")
    kind = update.get("type") or config.type
    if kind == "realtime" and config.type == "transcription" and not may_change_kind:
        raise InvalidRequest(
            "A transcription session can't become a conversation; connect without intent=transcription.",
            param="session.type",
            code="invalid_value",
        )
    told = {key: value for key, value in update.items() if key != "model" or config.model is None}
    return _built(_merged(config.model_dump(exclude_unset=True), told))


def _built(values: dict[str, Any]) -> SessionConfig:
    config = read(SessionConfig, values, "session")
    transcription = config.transcription
    for number, language in enumerate(
        [transcription.language or "en", *transcription.languages] if transcription else ()
    ):
        try:
            code_or_detected(language)
        except InvalidRequest as error:
            place = f"languages[{number - 1}]" if number else "language"
            raise InvalidRequest(
                error.message, param=f"session.audio.input.transcription.{place}", code=error.code
            ) from None
    _check_size(config)
    return config


def _check_size(config: SessionConfig) -> None:
    size = {
        key: len(json.dumps(value, ensure_ascii=False).encode()) for key, value in for_client(config, "", 0).items()
    }
    if sum(size.values()) > MOST_BYTES:
        largest = max(size, key=lambda key: size[key])
        raise InvalidRequest(
            f"The session is too large: {sum(size.values())} bytes as JSON, of which {largest} has {size[largest]};"
            f" at most {MOST_BYTES} are allowed.",
            param=f"session.{largest}",
            code="session_too_large",
        )


MERGED: Mapping[str, Any] = {
    "audio": {"input": {"transcription": {}, "noise_reduction": {}, "turn_detection": {}}, "output": {}},
    "reasoning": {},
}
"""The objects of which an update may name parts. Others, such as a format or a tool, are replaced as a whole."""


def _merged(
    current: Mapping[str, Any], update: Mapping[str, Any], within: Mapping[str, Any] = MERGED
) -> dict[str, Any]:
    merged = dict(current)
    for key, value in update.items():
        if key not in within or not isinstance(value, Mapping):
            # Null for a whole branch is no wish to forget all that it holds; and a voice there must be: the server's, or the one chosen.
            if value is not None or key not in ("audio", "input", "output", "voice"):
                merged[key] = value
            continue
        kept = current.get(key) or {}
        if key == "turn_detection" and value.get("type") not in (None, kept.get("type", "server_vad")):
            kept = {}  # one kind of detection doesn't inherit the other's settings
        merged[key] = _merged(kept, value, within[key])
    return merged


def for_client(config: SessionConfig, session_id: str, expires_at: int) -> dict[str, Any]:
    """The whole session, as events show it."""
    given = config.audio.input
    audio_input = {
        "format": given.format.for_client,
        "transcription": given.transcription.model_dump(exclude_unset=True, exclude_none=True)
        if given.transcription
        else None,
        "noise_reduction": given.noise_reduction.model_dump(exclude_none=True) if given.noise_reduction else None,
        "turn_detection": given.turn_detection.model_dump() if given.turn_detection else None,
        **({"half_duplex": True} if given.half_duplex else {}),
    }
    session: dict[str, Any] = {
        "type": config.type,
        "object": f"realtime.{'transcription_' if config.type == 'transcription' else ''}session",
    }
    session |= {"id": session_id, "expires_at": expires_at, "include": config.include}
    if config.type == "transcription":
        return session | {"audio": {"input": audio_input}}
    spoken = config.audio.output
    audio_output = {"format": spoken.format.for_client, "voice": spoken.voice, "speed": spoken.speed}
    # Some clients read a session by a schema of their own: what they need not know is there only once it was set.
    extra = {
        name: getattr(config, name)
        for name in ("parallel_tool_calls", "temperature", "truncation")
        if name in config.model_fields_set
    }
    return session | _plain(
        {
            **({"model": config.model} if config.model else {}),
            "output_modalities": config.output_modalities,
            "instructions": config.instructions,
            "tools": [tool.model_dump(exclude_none=True) for tool in config.tools],
            "tool_choice": config.tool_choice,
            "max_output_tokens": config.max_output_tokens,
            "tracing": config.tracing,
            "prompt": config.prompt,
            **({"reasoning": config.reasoning} if config.reasoning else {}),
            **{name: value for name, value in extra.items() if value is not None},
            "audio": {"input": audio_input, "output": audio_output | ({"model": spoken.model} if spoken.model else {})},
        }
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.model_dump(exclude_none=True) if isinstance(value, Part) else value for key, value in values.items()
    }
