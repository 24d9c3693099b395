"""POST /v1/audio/speech/timestamps: where somebody speaks in a recording."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from speaches.api.answers import until_gone
from speaches.api.openapi import upload_of
from speaches.api.state import Server, server_of
from speaches.api.uploads import Upload, read_upload
from speaches.api.validation import Parameters
from speaches.engines.base import SAMPLE_RATE, Task
from speaches.transcription.activity import ActivityOptions, Region

router = APIRouter(tags=["Voice activity"])


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")  # JSON has no infinity


class ActivityForm(Parameters):
    model: str = "silero_vad_v6"
    threshold: float = Field(0.75, ge=0, le=1, description="A frame of 32 ms is speech from this chance on.")
    neg_threshold: float | None = Field(
        None, ge=0, le=1, description="Speech goes on down to this chance; by default 0.15 under the threshold."
    )
    min_speech_duration_ms: float = Field(0, ge=0, description="Shorter speech is left out.")
    max_speech_duration_s: float = Field(
        math.inf, gt=0, description="Longer speech is cut; by default none.", json_schema_extra=_without_default
    )
    min_silence_duration_ms: float = Field(1000, ge=0, description="A shorter pause does not end speech.")
    speech_pad_ms: float = Field(0, ge=0, description="Added at both ends.")
    audio_track: int | None = Field(
        None, ge=0, description="Which audio track of the file, from 0; by default the one that a player plays."
    )


@router.post("/v1/audio/speech/timestamps", openapi_extra=upload_of(ActivityForm))
async def detect_speech(request: Request) -> Response:
    """Start and end of each stretch of speech, in milliseconds."""
    server = server_of(request)
    upload = await read_upload(request, ActivityForm, server.threads)
    with contextlib.closing(upload):
        regions = await until_gone(request, _regions(server, upload))
    return JSONResponse([{"start": _ms(region.start), "end": _ms(region.end)} for region in regions])


async def _regions(server: Server, upload: Upload[ActivityForm]) -> list[Region]:
    from speaches.audio.decode import AudioFile
    from speaches.transcription.windowing import speech_regions

    source, threads, form = upload.source, server.threads, upload.parameters
    options = ActivityOptions(**form.model_dump(exclude={"model", "audio_track"}))
    async with server.models.use(form.model, Task.VAD) as activity:
        audio = await threads.run(AudioFile, source.file, server.audio_limits, source.content_type, form.audio_track)
        try:
            # A second at a time, so that requests take turns and a client that leaves is noticed.
            found = threads.iterate(speech_regions(audio, activity.engine.stream(), options))
            async with contextlib.aclosing(found):
                return [region async for regions in found for region in regions]
        finally:
            await threads.run(audio.close)


def _ms(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE)
