"""POST /v1/audio/speech."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from speaches.api.answers import sse_events, streamed, until_gone
from speaches.api.state import Server, server_of
from speaches.api.validation import Parameters
from speaches.engines.base import Task
from speaches.errors import InvalidRequest
from speaches.speech.voices import resolve

if TYPE_CHECKING:
    from speaches.engines.base import TextToSpeech
    from speaches.speech.speak import SpeakOptions, Spoken

router = APIRouter(tags=["Text to speech"])


def _name(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) and isinstance(value.get("id"), str) else value


class SpeechRequest(Parameters):
    input: str = Field(description="The text to speak.")
    model: str | None = Field(None, description="The voice model; by default DEFAULT_TTS_MODEL.")
    voice: Annotated[str | None, BeforeValidator(_name)] = Field(
        None, description="A voice of the model, one of OpenAI's thirteen names, or an object with its `id`."
    )
    instructions: str | None = Field(None, description="Accepted; no engine here can follow them.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="False waits for the whole, whose header then tells its true length.")
    sample_rate: int | None = Field(
        None, description="Hz, 8000 to 48000; by default 24000, which OpenAI's clients expect."
    )
    language: str | None = Field(None, description="BCP 47, to speak in another language than the voice's.")


@router.post(
    "/v1/audio/speech", responses={200: {"content": {"audio/mpeg": {}, "audio/wav": {}}}}, response_class=Response
)
async def create_speech(request: Request, body: SpeechRequest) -> Response:
    """Speech of a text."""
    server = server_of(request)
    _check_text(body.input, server.settings.max_text_chars)
    speaking = _Speaking(server, body)
    return await until_gone(request, speaking.answer(request.state.request_id))


def _check_text(text: str, most: int) -> None:
    if not text.strip():
        raise InvalidRequest("input is empty: there is nothing to speak.", param="input", code="invalid_value")
    if len(text) > most:
        raise InvalidRequest(
            f"input has {len(text)} characters; this server speaks at most {most} at once.",
            param="input",
            code="string_above_max_length",
        )


class _Speaking:
    """One text on its way to audio."""

    def __init__(self, server: Server, body: SpeechRequest) -> None:
        self._server = server
        self._body = body
        self._seconds = 0.0
        """Seconds of speech made so far."""

    async def answer(self, request_id: str) -> Response:
        from speaches.audio.encode import FORMATS
        from speaches.speech.speak import encoded_whole, is_short

        body = self._body
        if body.stream_format == "sse":
            return await streamed(sse_events(self._events(), request_id), "text/event-stream")
        media_type = FORMATS[body.response_format].content_type
        headers = {"content-disposition": f'attachment; filename="speech.{body.response_format}"'}
        if not body.stream or is_short(body.input):
            async with self._spoken() as (answer, options):
                content = await encoded_whole(answer, options, self._server.threads)
            return Response(content, media_type=media_type, headers=headers)
        return await streamed(self._bytes(), media_type, headers)

    @contextlib.asynccontextmanager
    async def _spoken(self) -> AsyncIterator[tuple[AsyncGenerator[Spoken], SpeakOptions]]:
        """The speech as samples. Holds the model meanwhile."""
        from speaches.speech.speak import speak
        from speaches.text.sentences import pieces

        async with self._server.models.use(self._body.model, Task.TTS) as model:
            options = self._options(model.engine)
            async with contextlib.aclosing(
                speak(pieces(self._body.input), options, model, self._server.threads)
            ) as answer:
                yield self._counted(answer, options.sample_rate), options

    def _options(self, engine: TextToSpeech) -> SpeakOptions:
        """All that can be wrong, checked before the first byte."""
        from speaches.audio.encode import SPEECH_RATE, check_rate
        from speaches.speech.speak import SpeakOptions

        body = self._body
        rate = SPEECH_RATE if body.sample_rate is None else body.sample_rate
        check_rate(body.response_format, rate)
        voice = resolve(body.voice, engine, default=self._server.settings.default_voice)
        return SpeakOptions(voice, body.speed, body.language, body.response_format, rate)

    async def _counted(self, answer: AsyncGenerator[Spoken], rate: int) -> AsyncGenerator[Spoken]:
        async for spoken in answer:
            self._seconds += len(spoken.samples) / rate
            self._server.metrics.audio("spoken", len(spoken.samples) / rate)
            yield spoken

    async def _bytes(self) -> AsyncGenerator[bytes, None]:
        """The answer as it is spoken."""
        from speaches.speech.speak import encoded

        async with (
            self._spoken() as (answer, options),
            contextlib.aclosing(encoded(answer, options, self._server.threads)) as parts,
        ):
            async for part in parts:
                yield part

    async def _events(self) -> AsyncGenerator[Mapping[str, Any], None]:
        async with contextlib.aclosing(self._bytes()) as parts:
            async for part in parts:
                yield {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()}
        # About what OpenAI counts: a token is four characters of text, and 20 are a second of speech.
        tokens_in, tokens_out = max(1, len(self._body.input) // 4), round(self._seconds * 20)
        usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        yield {"type": "speech.audio.done", "usage": usage, "token_usage": usage}
