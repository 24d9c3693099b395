"""The parts of a session's settings, and what each may be. Rules only.

As in OpenAI's reference: https://platform.openai.com/docs/api-reference/realtime-client-events/session/update
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from speaches.realtime.reading import Id, Part, Whole
from speaches.transcription.languages import candidates_of, code_or_detected

MOST_TOOLS = 128
MOST_TOKENS = 2**31 - 1  # more is no integer to many clients and LLMs
FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
"""Old names -> new ones."""
LOGPROBS = "item.input_audio_transcription.logprobs"


def _format(value: Any) -> Any:
    if isinstance(value, str):  # as before 2025
        return {"type": FORMATS.get(value, value)}
    return value


class AudioFormat(Part):
    """Of audio on the wire."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Whole | None = None

    @property
    def for_client(self) -> dict[str, Any]:
        return {"type": self.type, "rate": 24000} if self.type == "audio/pcm" else {"type": self.type}


def _rated(value: Any) -> Any:
    value = _format(value)
    if (
        isinstance(value, dict)
        and value.get("type", "audio/pcm") == "audio/pcm"
        and value.get("rate", 24000) not in (24000, None)
    ):
        raise ValueError("audio/pcm has a rate of 24000")
    return value


Format = Annotated[AudioFormat, BeforeValidator(_rated)]


class Transcription(Part):
    """How the user's speech is written down. Told back with only the keys that were set: pipecat refuses others."""

    model: str | None = None
    language: str | None = None
    languages: list[str] = Field(default_factory=list)
    keywords: list[str] = Field(default_factory=list)
    prompt: str | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None

    @property
    def code(self) -> str | None:
        """The language's ISO 639-1 code; None where it is to be detected."""
        if code := code_or_detected(self.language):
            return code
        return self.codes[0] if len(self.codes) == 1 else None

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of those that detection may choose from; empty for all."""
        return () if code_or_detected(self.language) else candidates_of(self.languages)


class NoiseReduction(Part):
    type: Literal["near_field", "far_field"]
    strength: float | None = None


class ServerVad(Part):
    nullable: ClassVar[frozenset[str]] = frozenset({"idle_timeout_ms"})
    type: Literal["server_vad"] = "server_vad"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[Whole, Field(ge=0, le=10_000)] = 300
    silence_duration_ms: Annotated[Whole, Field(ge=0, le=60_000)] = 500
    idle_timeout_ms: Annotated[Whole | None, Field(ge=1, le=3_600_000)] = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Part):
    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


def _typed(value: Any) -> Any:
    return None if isinstance(value, dict) and value.get("type") is None else value


def _detection(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.get("type") == "none":  # Azure's way to turn it off
        return None
    return value | {"type": "server_vad"} if value.get("type") is None else value


Detection: TypeAlias = ServerVad | SemanticVad
TurnDetection = Annotated[
    Annotated[Detection, Field(discriminator="type")] | None,
    BeforeValidator(
        lambda value: _detection(
            {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        )
    ),
]


class AudioInput(Part):
    nullable: ClassVar[frozenset[str]] = frozenset({"transcription", "noise_reduction", "turn_detection"})
    format: Format = AudioFormat()
    transcription: Transcription | None = None
    noise_reduction: Annotated[NoiseReduction | None, BeforeValidator(_typed)] = None
    turn_detection: TurnDetection = ServerVad()
    half_duplex: bool = False
    """Ours: whether the user is not listened to while an answer is played, for lack of echo cancellation."""


def speech_only() -> list[Literal["text", "audio"]]:
    return ["audio"]


def _voice(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("id")
    return value or "alloy"


Voice = Annotated[Id, BeforeValidator(_voice)]


class AudioOutput(Part):
    format: Format = AudioFormat()
    voice: Voice = "alloy"
    speed: Annotated[float, Field(ge=0.25, le=1.5)] = 1.0
    model: str | None = None
    """Ours: the speech model."""


class Audio(Part):
    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


def _flat(value: Any) -> Any:
    # As in Chat Completions.
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        return value["function"] | {"type": value.get("type", "function")}
    return value


class Tool(Part):
    type: Literal["function"] = "function"
    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolChoice(Part):
    type: Literal["function"]
    name: str


class Prompt(Part):
    id: str
    version: str | None = None
    variables: dict[str, Any] | None = None


class Tracing(Part):
    workflow_name: str | None = None
    group_id: str | None = None
    metadata: dict[str, Any] | None = None


class Reasoning(Part):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class TokenLimits(Part):
    post_instructions: Annotated[Whole | None, Field(ge=0)] = None


class Retention(Part):
    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Field(ge=0, le=1)]
    token_limits: TokenLimits | None = None


def _modalities(value: Any) -> Any:
    # Before 2025 speech came as both; speech has its transcript anyway.
    if isinstance(value, list) and sorted(map(str, value)) == ["audio", "text"]:
        return ["audio"]
    if isinstance(value, list) and len(value) != 1:
        raise ValueError('it can be ["audio"], which comes with its transcript, or ["text"]')
    return value


def included(value: Any) -> Any:
    # What we can't include is not worth a refusal.
    return [name for name in value if name == LOGPROBS] if isinstance(value, list) else value


def _limit(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value == "inf" or (type(value) is int and 1 <= value <= MOST_TOKENS):
        return value
    raise ValueError(f"it can be 'inf', or a whole number from 1 to {MOST_TOKENS}")


Modalities = Annotated[list[Literal["text", "audio"]], BeforeValidator(_modalities)]
Tools = Annotated[list[Annotated[Tool, BeforeValidator(_flat)]], Field(max_length=MOST_TOOLS)]
Choice: TypeAlias = Literal["auto", "none", "required"] | Annotated[ToolChoice, BeforeValidator(_flat)]
TokenLimit: TypeAlias = Annotated[Literal["inf"] | int, BeforeValidator(_limit)]
