"""The parameters of transcriptions and translations: OpenAI's of today, and the extensions people use. Rules only.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from speaches.api.speakers import refuse_speakers
from speaches.api.validation import Parameters, shortened
from speaches.engines.base import DecodeOptions
from speaches.errors import InvalidRequest
from speaches.text.cues import CueOptions
from speaches.transcription.activity import ActivityOptions
from speaches.transcription.formats import SUBTITLES, ResponseFormat
from speaches.transcription.languages import candidates_of, code_or_detected
from speaches.transcription.transcribe import LONGEST_SPEECH, TranscribeOptions

LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures, tried in turn while the text is repetitive or improbable; openai/whisper's."""
LONGEST_REGION = 30.0  # seconds, what Whisper hears at once


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _object(value: Any) -> Any:
    """A form carries an object as JSON; `auto` is OpenAI's word for all defaults."""
    if value == "auto":
        return {}
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("should be a JSON object") from None


def _lenient(value: Any) -> dict[str, Any]:
    """`advanced` as an object; an empty one where it is none, which is told of elsewhere."""
    try:
        value = _object(value)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _naming_fields(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Errors within an object say in which of its fields; the parameter's name alone would be a riddle."""
    try:
        return validate(value)
    except ValidationError as error:
        found = error.errors()[0]
        if not found["loc"]:
            raise ValueError("should be a JSON object") from None
        field = shortened(".".join(map(str, found["loc"])))
        if found["type"] == "extra_forbidden":
            raise ValueError(f"{field!r} is none of its fields: {', '.join(VadParameters.model_fields)}") from None
        raise ValueError(f"{field} {found['msg'].removeprefix('Input ')}") from None


Names = Annotated[list[str], BeforeValidator(_listed)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Chunking(BaseModel):
    """OpenAI's `chunking_strategy`: where a recording may be cut."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: Milliseconds | None = None
    silence_duration_ms: Milliseconds | None = None


class VadParameters(BaseModel):
    """The voice activity detector's numbers, as `/v1/audio/speech/timestamps` names them."""

    model_config = ConfigDict(extra="forbid")

    threshold: float | None = Field(None, ge=0, le=1)
    neg_threshold: float | None = Field(None, ge=0, le=1)
    min_speech_duration_ms: Milliseconds | None = None
    max_speech_duration_s: float | None = Field(None, ge=1, le=LONGEST_REGION)
    min_silence_duration_ms: Milliseconds | None = None
    speech_pad_ms: Milliseconds | None = None


class TranslationForm(Parameters):
    model: str | None = Field(None, description="The recogniser; by default DEFAULT_STT_MODEL.")
    prompt: str | None = Field(None, description="Text that shows style and spelling, or came before.")
    response_format: ResponseFormat = "json"
    temperature: float = Field(
        0.0, ge=0, le=1, description="Above 0, sampling. With 0 it rises by itself where the text is bad."
    )
    stream: bool = Field(False, description="Server-sent events: the text as it is heard.")
    chunking_strategy: Annotated[Chunking | None, WrapValidator(_naming_fields), BeforeValidator(_object)] = Field(
        None, description="`auto`, or an object with type `server_vad` and its numbers."
    )
    hotwords: str | None = Field(None, description="Words to expect.")
    beam_size: int = Field(5, ge=1, le=20, description="Hypotheses that are followed; 1 is fastest.")
    vad_filter: bool = Field(True, description="Leave out what is not speech.")
    vad_parameters: Annotated[VadParameters | None, WrapValidator(_naming_fields), BeforeValidator(_object)] = Field(
        None, description="Numbers of the voice activity detector, as a JSON object."
    )
    condition_on_previous_text: bool = Field(False, description="Tell each window what was said before it.")
    without_timestamps: bool = Field(False, description="One segment for each window of up to 30 s; a little faster.")
    audio_track: int | None = Field(
        None, ge=0, description="Which audio track of the file, from 0; by default the one that a player plays."
    )
    max_cue_chars: int = Field(42, ge=8, le=200, description="Characters in a line of srt and vtt.")
    max_cue_seconds: float = Field(7.0, ge=0.5, le=60, description="Seconds of a cue of srt, vtt and lrc.")
    min_cue_seconds: float = Field(
        0.8, ge=0, le=10, description="Seconds that a cue stays at least where no other follows sooner."
    )

    @classmethod
    def unknown(cls, values: Mapping[str, Any]) -> Iterable[str]:
        yield from (name for name in super().unknown(values) if name not in ("advanced", "diarize"))
        advanced = values.get("advanced")
        if advanced is True or (isinstance(advanced, str) and advanced.strip().lower() == "true"):
            yield "advanced"  # a switch elsewhere, which turns nothing on here
        inside = _lenient(advanced)
        yield from (f"advanced.{name}" for name in super().unknown(inside) if name not in ("advanced", "diarize"))

    @model_validator(mode="before")
    @classmethod
    def _refuse_speakers(cls, values: Any) -> Any:
        if isinstance(values, dict):  # with what is in `advanced`: validators run from the last to the first
            refuse_speakers(values)
        return values

    @model_validator(mode="before")
    @classmethod
    def _spread_advanced(cls, values: Any) -> Any:
        """`advanced`, of the whisper-api stack, holds any of these fields; one that stands outside wins."""
        if not isinstance(values, dict) or not values.get("advanced"):
            return values
        try:
            inside = _object(values["advanced"])
        except ValueError:
            inside = values["advanced"]
        if isinstance(inside, bool):  # a switch elsewhere; here there is nothing to switch
            return values
        if not isinstance(inside, dict):
            raise InvalidRequest(
                "advanced must be a JSON object of parameters.", param="advanced", code="invalid_value"
            )
        outside = {name: value for name, value in values.items() if name != "advanced" and value not in (None, "")}
        return {**inside, **outside}


class TranscriptionForm(TranslationForm):
    language: str | None = Field(
        None, description="ISO 639, such as `en` or `eng`; by default, and with `auto`, it is detected."
    )
    languages: Names = Field([], description="Languages to expect; detection chooses among them.")
    keywords: Names = Field([], description="Words to expect.")
    timestamp_granularities: Annotated[list[Literal["word", "segment"]], BeforeValidator(_listed)] = Field(
        [], description="What `verbose_json` has times for; by default segments."
    )
    include: Annotated[list[Literal["logprobs"]], BeforeValidator(_listed)] = Field(
        [], description="`logprobs`, with `json`: the log probability of each token."
    )


def check_combination(form: TranslationForm) -> None:
    """Raise InvalidRequest for parameters that contradict each other."""
    granularities, include = getattr(form, "timestamp_granularities", []), getattr(form, "include", [])
    # Segments are what there is by default: Vercel's AI SDK names them whatever the format.
    if "word" in granularities and form.response_format not in ("verbose_json", *SUBTITLES):
        raise InvalidRequest(
            "timestamp_granularities=word needs response_format=verbose_json.",
            param="timestamp_granularities",
            code="invalid_value",
        )
    if include and form.response_format != "json":
        raise InvalidRequest("include=logprobs needs response_format=json.", param="include", code="invalid_value")


def transcribe_options(
    form: TranslationForm, task: Literal["transcribe", "translate"], *, short_window: bool
) -> TranscribeOptions:
    """What the parameters ask of the pipeline."""
    language, candidates = _languages(form)
    hotwords = [form.hotwords, *getattr(form, "keywords", [])]
    subtitles = form.response_format in SUBTITLES
    decode = DecodeOptions(
        task=task,
        language=language,
        candidates=candidates,
        prompt=form.prompt,
        hotwords=", ".join(word for word in hotwords if word) or None,
        temperatures=(form.temperature, *(step for step in LADDER if step > form.temperature)),
        beam_size=form.beam_size,
        timestamps=not form.without_timestamps,
        words=subtitles or "word" in getattr(form, "timestamp_granularities", []),
        logprobs="logprobs" in getattr(form, "include", []),
        short_window=short_window,
    )
    return TranscribeOptions(
        decode, form.vad_filter, _activity(form), form.condition_on_previous_text, form.audio_track
    )


def _languages(form: TranslationForm) -> tuple[str | None, tuple[str, ...]]:
    """The language, or those that may be detected."""
    if language := code_or_detected(getattr(form, "language", None)):
        return language, ()
    try:
        codes = candidates_of(getattr(form, "languages", []))
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="languages", code="invalid_value") from None
    return (codes[0] if len(codes) == 1 else None), codes


def _activity(form: TranslationForm) -> ActivityOptions:
    """Our defaults, then `chunking_strategy`, then `vad_parameters`."""
    given: dict[str, Any] = {"max_speech_duration_s": LONGEST_SPEECH}
    if form.chunking_strategy is not None:
        chunking = form.chunking_strategy
        given |= {
            "threshold": chunking.threshold,
            "speech_pad_ms": chunking.prefix_padding_ms,
            "min_silence_duration_ms": chunking.silence_duration_ms,
        }
    if form.vad_parameters is not None:
        given |= form.vad_parameters.model_dump(exclude_none=True)
    return ActivityOptions(**{name: value for name, value in given.items() if value is not None})


def cue_options(form: TranslationForm) -> CueOptions:
    return CueOptions(max_chars=form.max_cue_chars, max_seconds=form.max_cue_seconds, min_seconds=form.min_cue_seconds)
