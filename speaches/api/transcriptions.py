"""POST /v1/audio/transcriptions and /v1/audio/translations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from speaches.api.answers import sse_events, streamed, until_gone
from speaches.api.openapi import upload_of
from speaches.api.state import Server, server_of
from speaches.api.transcription_forms import (
    TranscriptionForm,
    TranslationForm,
    check_combination,
    cue_options,
    transcribe_options,
)
from speaches.api.uploads import Upload, read_upload
from speaches.engines.base import Segment, Task
from speaches.models.pool import Loaded
from speaches.transcription import formats
from speaches.transcription.transcribe import Outcome, TranscribeOptions, check, transcribe

router = APIRouter(tags=["Speech to text"])

Kind = Literal["transcribe", "translate"]


@router.post("/v1/audio/transcriptions", openapi_extra=upload_of(TranscriptionForm))
async def create_transcription(request: Request) -> Response:
    """Text of a recording, in its language."""
    return await _answered(
        request, await read_upload(request, TranscriptionForm, server_of(request).threads), "transcribe"
    )


@router.post("/v1/audio/translations", openapi_extra=upload_of(TranslationForm))
async def create_translation(request: Request) -> Response:
    """English text of a recording in any language."""
    return await _answered(
        request, await read_upload(request, TranslationForm, server_of(request).threads), "translate"
    )


async def _answered(request: Request, upload: Upload[Any], task: Kind) -> Response:
    server, form = server_of(request), upload.parameters
    try:
        check_combination(form)
        options = transcribe_options(form, task, short_window=server.settings.encoder_window == "auto")
        hearing = _Heard(server, upload, options)
        return await until_gone(request, _stream(request, hearing) if form.stream else _whole(hearing))
    except BaseException:
        upload.close()
        raise


class _Heard:
    """One upload on its way to text."""

    def __init__(self, server: Server, upload: Upload[Any], options: TranscribeOptions) -> None:
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
                check(self.options.decode, recogniser)
                async with contextlib.aclosing(self._transcribed(recogniser, activity)) as segments:
                    async for segment in segments:
                        yield segment
        server.metrics.audio("heard", self.outcome.duration)
        server.metrics.audio("speech", self.outcome.speech_seconds)
        server.metrics.phantoms(self.outcome.phantoms)

    def _transcribed(self, recogniser: Loaded, activity: Loaded) -> AsyncGenerator[Segment, None]:
        return transcribe(
            self._upload.source,
            self.options,
            self.outcome,
            recogniser=recogniser,
            activity=activity,
            limits=self._server.audio_limits,
            threads=self._server.threads,
        )


async def _whole(hearing: _Heard) -> Response:
    async with contextlib.aclosing(hearing.segments()) as heard:
        segments = [segment async for segment in heard]
    form, outcome, decode = hearing.form, hearing.outcome, hearing.options.decode
    name = form.response_format
    if name == "json":
        return JSONResponse(formats.as_json(segments, outcome, logprobs=decode.logprobs))
    if name == "verbose_json":
        asked = getattr(form, "timestamp_granularities", [])
        parts = {"words": "word" in asked, "with_segments": not asked or "segment" in asked}
        return JSONResponse(formats.as_verbose_json(segments, outcome, task=decode.task, **parts))
    text = formats.as_text(name, segments, cue_options(form), outcome.duration)
    return Response(text, headers={"content-type": formats.CONTENT_TYPES[name]})


async def _stream(request: Request, hearing: _Heard) -> Response:
    return await streamed(sse_events(_events(hearing), request.state.request_id), "text/event-stream")


async def _events(hearing: _Heard) -> AsyncGenerator[Mapping[str, Any], None]:
    text = formats.StreamedText(logprobs=hearing.options.decode.logprobs)
    async with contextlib.aclosing(hearing.segments()) as segments:
        async for segment in segments:
            yield text.delta(segment)
    yield text.done(hearing.outcome)
