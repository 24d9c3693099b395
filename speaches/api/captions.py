"""POST /v1/audio/speech/captions: speech with the times of its words, or these alone as subtitles."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from speaches.api.answers import json_line, note_ignored, sse_events, streamed, until_gone
from speaches.api.speech import Speaking, SpokenText, check, completed, deltas, rate_of, usage_of
from speaches.api.state import Server, server_of
from speaches.api.validation import Number, Whole
from speaches.speech.captions import Captions, Subtitles, as_json
from speaches.text.cues import CueOptions
from speaches.text.subtitles import Cue, srt, vtt
from speaches.transcription.formats import CONTENT_TYPES

if TYPE_CHECKING:
    from speaches.engines.base import SpokenWord
    from speaches.speech.speak import Spoken

router = APIRouter(tags=["Text to speech"])


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class CaptionsRequest(SpokenText):
    caption_format: Literal["json", "srt", "vtt"] = Field(
        "json", description="`json` has the audio and its words, `srt` and `vtt` are subtitles without audio."
    )
    timestamp_granularities: Annotated[list[Literal["word", "phoneme"]], BeforeValidator(_listed)] = Field(
        ["word"], description="`phoneme` adds the phonemes of each word to `json`, where the model tells them."
    )
    stream: bool = Field(False, description="Lines of JSON, or cues, as they are spoken.")
    max_cue_chars: Whole = Field(42, ge=8, le=200, description="Characters in a line of srt and vtt.")
    max_cue_seconds: Number = Field(7.0, ge=0.5, le=60, description="Seconds of a cue of srt and vtt.")
    min_cue_seconds: Number = Field(
        0.8, ge=0, le=10, description="Seconds that a cue stays at least where no other follows sooner."
    )


@router.post(
    "/v1/audio/speech/captions",
    responses={200: {"content": {"application/json": {}, "application/x-subrip": {}, "text/vtt": {}}}},
    response_class=Response,
)
async def create_captions(request: Request, body: CaptionsRequest) -> Response:
    """Speech of a text, and when each of its words is spoken."""
    server = server_of(request)
    note_ignored(request, body.ignored)
    await check(body, server)
    return await until_gone(request, _answer(server, body, request.state.request_id))


async def _answer(server: Server, body: CaptionsRequest, request_id: str) -> Response:
    speech = _Captioned(server, await completed(body, server))
    name, stream = body.caption_format, body.stream
    if name == "json" and stream:
        return await streamed(sse_events(speech.events(), request_id, json_line), "application/x-ndjson")
    if name == "json":
        return Response(await speech.whole(), media_type="application/json")
    if stream:
        return await streamed(speech.subtitles(), CONTENT_TYPES[name])
    async with contextlib.aclosing(speech.subtitles()) as parts:
        return Response(b"".join([part async for part in parts]), headers={"content-type": CONTENT_TYPES[name]})


class _Captioned:
    """One text on its way to audio and captions."""

    def __init__(self, server: Server, asked: CaptionsRequest) -> None:
        from speaches.audio.formats import lead

        self.asked = asked
        self._server = server
        self._speaking = Speaking(server, asked, timed=True)
        self._captions = Captions(lead(asked.response_format, rate_of(asked), streamed=_is_streamed(asked)))

    async def whole(self) -> bytes:
        """The audio and its words as JSON."""
        from speaches.speech.speak import encoded_whole

        async with self._speaking.spoken() as (answer, options, _):
            audio = await encoded_whole(self._noted(answer), options, self._server.threads)
        return await self._server.threads.run(self._json, audio)

    async def events(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """The audio as it is spoken, with the words that it brings."""
        from speaches.speech.speak import encoded

        told = 0
        async with (
            self._speaking.spoken() as (answer, options, _),
            contextlib.aclosing(encoded(self._noted(answer), options, self._server.threads)) as parts,
        ):
            async for part in parts:
                for audio in deltas(part):
                    words = self._captions.words[told:]
                    told += len(words)
                    yield {"type": "speech.audio.delta", "audio": audio, "words": self._written(words)}
        usage = usage_of(self.asked.input, self._speaking.seconds)
        facts = {"duration": self._duration(), "estimated": self._captions.estimated}
        yield {"type": "speech.audio.done", **facts, "usage": usage}

    async def subtitles(self) -> AsyncGenerator[bytes, None]:
        """Cues as they are spoken."""
        asked = self.asked
        made = Subtitles(
            CueOptions(
                max_chars=asked.max_cue_chars, max_seconds=asked.max_cue_seconds, min_seconds=asked.min_cue_seconds
            )
        )
        number = 1
        async with self._speaking.spoken() as (answer, _, _):
            async for spoken in answer:
                if cues := made.add(spoken.text, self._captions.add(spoken)):
                    yield self._lines(cues, number)
                    number += len(cues)
        yield self._lines(made.finish(self._duration()), number)

    def _lines(self, cues: list[Cue], number: int) -> bytes:
        text = srt(cues, first=number) if self.asked.caption_format == "srt" else vtt(cues, header=number == 1)
        return text.encode()

    async def _noted(self, answer: AsyncGenerator[Spoken]) -> AsyncGenerator[Spoken]:
        async for spoken in answer:
            self._captions.add(spoken)
            yield spoken

    def _json(self, audio: bytes) -> bytes:
        """Takes milliseconds for a megabyte."""
        from speaches.audio.formats import FORMATS

        name = self.asked.response_format
        answer = {
            "audio": base64.b64encode(audio).decode(),
            "content_type": FORMATS[name].content_type,
            "format": name,
            "duration": self._duration(),
            "text": self._captions.text,
            "words": self._written(self._captions.words),
            "estimated": self._captions.estimated,
        }
        return json.dumps(answer, ensure_ascii=False).encode()

    def _written(self, words: Sequence[SpokenWord]) -> list[dict[str, Any]]:
        return as_json(words, phonemes="phoneme" in self.asked.timestamp_granularities)

    def _duration(self) -> float:
        from speaches.speech.speak import SILENCE_SECONDS

        return round((self._speaking.seconds or SILENCE_SECONDS) + self._captions.lead, 3)


def _is_streamed(asked: CaptionsRequest) -> bool:
    """Whether the audio is encoded while it is spoken: that of subtitles is what /v1/audio/speech makes of the same body."""
    from speaches.speech.speak import is_short

    if asked.caption_format == "json":
        return asked.stream
    return (asked.stream or "stream" not in asked.model_fields_set) and not is_short(
        asked.input, asked.normalize, asked.language
    )
