"""What a session asks its driver to do. The driver tells the results to the session's methods named here; late ones do no harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from speaches.engines.base import Samples


@dataclass(frozen=True)
class Hearing:
    """How speech is to be recognised."""

    model: str | None
    """None for DEFAULT_STT_MODEL."""
    language: str | None = None
    """ISO 639-1; None detects."""
    prompt: str | None = None
    keywords: tuple[str, ...] = ()
    """Words that are likely to be said."""
    languages: tuple[str, ...] = ()
    """ISO 639-1: what detection may choose from; empty for all."""


@dataclass(frozen=True, eq=False)
class Transcribe:
    """Hear a whole turn, for good. Answer: `transcribed` or `transcription_failed`, exactly one of them, unless stopped."""

    work_id: str
    samples: Samples
    """shape (n,), float32, 16 kHz."""
    hearing: Hearing
    logprobs: bool = False
    """Whether the client wants them."""


@dataclass(frozen=True, eq=False)
class Listen:
    """Hear what was said so far, quickly. Answer: `hypothesis`, also when it failed (with no words).

    The next one comes when this one is answered and there is enough that is new.
    """

    work_id: str
    samples: Samples
    """shape (n,), float32, 16 kHz: the turn so far, without what is confirmed and old."""
    hearing: Hearing
    prompt: str
    """What was said before these samples, as the recogniser's context; nothing of what is in them."""


@dataclass(frozen=True)
class StopTranscribing:
    """Nobody waits for this Transcribe or Listen any more. No answer."""

    work_id: str


@dataclass(frozen=True, eq=False)
class MeasureEnding:
    """Ask a model how likely the user has finished. Answer: `ending`, if any. Given only to a driver that `has_ending_model`."""

    samples: Samples
    """shape (n,), float32, 16 kHz: the turn up to the pause, its last seconds if it is long."""
    heard_until_ms: int


@dataclass(frozen=True)
class Speech:
    """How an answer is to be spoken."""

    model: str | None
    """None for DEFAULT_TTS_MODEL."""
    voice: str | None
    """None for DEFAULT_VOICE."""
    speed: float
    """0.25 to 1.5."""
    format: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]


@dataclass(frozen=True)
class Respond:
    """Let the LLM answer.

    Answer: any number of `response_text`, `response_speech` + `response_audio`, `response_call`, then exactly one of
    `response_finished` and `response_failed`, unless stopped. In the order of the LLM's own answer: a call after the speech that goes
    before it.
    """

    response_id: str
    model: str | None
    """The session's model; CHAT_COMPLETION_MODEL, when set, goes first."""
    messages: tuple[Mapping[str, Any], ...]
    """As in Chat Completions, instructions first, text only (and images, where the client sent some)."""
    speech: Speech | None
    """How to speak the answer; None for text only."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """As in Chat Completions."""
    tool_choice: str | Mapping[str, Any] | None = None
    """As in Chat Completions; None says nothing."""
    max_tokens: int | None = None
    """None for as many as the model likes."""
    temperature: float | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True)
class StopResponding:
    """Stop the LLM, the speech and what is queued to be sent of this response. No answer."""

    response_id: str


@dataclass(frozen=True)
class StopPlaying:
    """WebRTC: throw away the audio of this response that has not been played yet. Answer: `played`, how far it came."""

    response_id: str


Work: TypeAlias = Transcribe | Listen | StopTranscribing | MeasureEnding | Respond | StopResponding | StopPlaying
