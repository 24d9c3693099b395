"""POST /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.responses import JSONResponse, Response

from speaches.api.answers import sse_events, streamed, until_gone
from speaches.api.openapi import upload_of
from speaches.api.state import Server, server_of
from speaches.api.uploads import Upload, read_upload
from speaches.api.validation import Parameters
from speaches.engines.base import DecodeOptions, Segment, Task
from speaches.errors import InvalidRequest
from speaches.models.pool import Loaded
from speaches.transcription import formats
from speaches.transcription.languages import code_of
from speaches.transcription.transcribe import Outcome, TranscribeOptions, check, transcribe

router = APIRouter(tags=["Speech to text"])

LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures, tried in turn while the text is repetitive or improbable; openai/whisper's."""


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed)]
Kind = Literal["transcribe", "translate"]


class TranslationForm(Parameters):
    model: str | None = Field(None, description="The recogniser; by default DEFAULT_STT_MODEL.")
    prompt: str | None = Field(None, description="Text that shows style and spelling, or came before.")
    response_format: formats.ResponseFormat = "json"
    temperature: float = Field(
        0.0, ge=0, le=1, description="Above 0, sampling. With 0 it rises by itself where the text is bad."
    )
    stream: bool = Field(False, description="Server-sent events: the text as it is heard.")
    hotwords: str | None = Field(None, description="Words to expect.")
    vad_filter: bool = Field(True, description="Leave out what is not speech.")


class TranscriptionForm(TranslationForm):
    language: str | None = Field(None, description="ISO 639-1, such as `en`; by default it is detected.")
    languages: Names = Field([], description="Languages to expect; one is the same as `language`.")
    keywords: Names = Field([], description="Words to expect.")
    timestamp_granularities: Annotated[list[Literal["word", "segment"]], BeforeValidator(_listed)] = Field(
        [], description="What `verbose_json` has times for; by default segments."
    )


@router.post("/v1/audio/transcriptions", openapi_extra=upload_of(TranscriptionForm))
async def create_transcription(request: Request) -> Response:
    """Text of a recording, in its language."""
    upload = await read_upload(request, TranscriptionForm, server_of(request).threads)
    form = upload.parameters
    language = form.language or (form.languages[0] if len(form.languages) == 1 else None)
    words = "word" in form.timestamp_granularities
    if form.timestamp_granularities and form.response_format != "verbose_json":
        upload.close()
        raise InvalidRequest(
            "timestamp_granularities needs response_format=verbose_json.",
            param="timestamp_granularities",
            code="invalid_value",
        )
    return await _answered(request, upload, "transcribe", language, [form.hotwords, *form.keywords], words)


@router.post("/v1/audio/translations", openapi_extra=upload_of(TranslationForm))
async def create_translation(request: Request) -> Response:
    """English text of a recording in any language."""
    upload = await read_upload(request, TranslationForm, server_of(request).threads)
    return await _answered(request, upload, "translate", None, [upload.parameters.hotwords], words=False)


async def _answered(
    request: Request, upload: Upload[Any], task: Kind, language: str | None, hotwords: list[str | None], words: bool
) -> Response:
    form = upload.parameters
    try:
        options = DecodeOptions(
            task=task,
            language=code_of(language) if language else None,
            prompt=form.prompt,
            hotwords=", ".join(word for word in hotwords if word) or None,
            temperatures=_ladder(form.temperature),
            words=words,
        )
        hearing = _Hearing(server_of(request), upload, options)
        return await until_gone(request, _stream(request, hearing) if form.stream else _whole(hearing))
    except BaseException:
        upload.close()
        raise


def _ladder(temperature: float) -> tuple[float, ...]:
    """The temperature asked for, then warmer ones."""
    return (temperature, *(step for step in LADDER if step > temperature))


class _Hearing:
    """One upload on its way to text."""

    def __init__(self, server: Server, upload: Upload[Any], options: DecodeOptions) -> None:
        self.form = upload.parameters
        self.options = options
        self.outcome = Outcome()
        self._server = server
        self._upload = upload

    async def segments(self) -> AsyncGenerator[Segment, None]:
        """The segments as they are heard. Holds the models meanwhile, and closes the upload."""
        server = self._server
        with contextlib.closing(self._upload):
            async with (
                server.models.use(self.form.model, Task.STT) as recogniser,
                server.models.use(None, Task.VAD) as activity,
            ):
                check(self.options, recogniser)
                async with contextlib.aclosing(self._heard(recogniser, activity)) as segments:
                    async for segment in segments:
                        yield segment
        server.metrics.audio("heard", self.outcome.duration)
        server.metrics.audio("speech", self.outcome.speech_seconds)

    def _heard(self, recogniser: Loaded, activity: Loaded) -> AsyncGenerator[Segment, None]:
        return transcribe(
            self._upload.source,
            TranscribeOptions(self.options, self.form.vad_filter),
            self.outcome,
            recogniser=recogniser,
            activity=activity,
            limits=self._server.audio_limits,
            threads=self._server.threads,
        )


async def _whole(hearing: _Hearing) -> Response:
    async with contextlib.aclosing(hearing.segments()) as heard:
        segments = [segment async for segment in heard]
    form, outcome, task = hearing.form, hearing.outcome, hearing.options.task
    if form.response_format == "json":
        return JSONResponse(formats.as_json(segments, outcome))
    if form.response_format == "verbose_json":
        asked = getattr(form, "timestamp_granularities", [])
        return JSONResponse(
            formats.as_verbose_json(
                segments, outcome, task=task, words="word" in asked, with_segments=not asked or "segment" in asked
            )
        )
    return Response(
        formats.as_text(form.response_format, segments),
        headers={"content-type": formats.CONTENT_TYPES[form.response_format]},
    )


async def _stream(request: Request, hearing: _Hearing) -> Response:
    return await streamed(sse_events(_events(hearing), request.state.request_id), "text/event-stream")


async def _events(hearing: _Hearing) -> AsyncGenerator[Mapping[str, Any], None]:
    text, tokens = "", 0
    async with contextlib.aclosing(hearing.segments()) as segments:
        async for segment in segments:
            event = formats.delta_event(segment, first=not text)
            text, tokens = text + event["delta"], tokens + len(segment.tokens)
            yield event
    yield formats.done_event(text, tokens, hearing.outcome)
