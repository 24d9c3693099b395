"""POST /v1/audio/speech."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from speaches.api.answers import note_ignored, sse_events, streamed, until_gone
from speaches.api.state import Server, server_of
from speaches.api.validation import LanguageTag, Number, Parameters, Whole
from speaches.engines.base import Task
from speaches.errors import InvalidRequest
from speaches.speech.cache import Kept, key_of
from speaches.speech.voices import resolve

if TYPE_CHECKING:
    from speaches.models.catalogue import Model
    from speaches.models.pool import Loaded
    from speaches.speech.speak import SpeakOptions, Spoken

router = APIRouter(tags=["Text to speech"])

LONGEST_PAUSE = 10  # seconds between two sentences
DELTA_BYTES = 48_000  # of audio in one event: a second of PCM, whole samples, and base64 without padding


def _name(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) and isinstance(value.get("id"), str) else value


def _speaker(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("should be the name or the number of a speaker")
    return value


class SpokenText(Parameters):
    """What is to be spoken, and how."""

    input: str = Field(description="The text to speak.")
    model: str | None = Field(None, description="The voice model; by default DEFAULT_TTS_MODEL.")
    voice: Annotated[str | None, BeforeValidator(_name)] = Field(
        None,
        description="A voice of the model, a mix of its voices, one of OpenAI's thirteen names, a preset, or an object with its `id`.",
    )
    instructions: str | None = Field(None, description="Accepted; no engine here can follow them.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm", "g711_ulaw", "g711_alaw"] = "mp3"
    speed: Number = Field(1.0, ge=0.25, le=4.0)
    sample_rate: Whole | None = Field(
        None,
        description="Hz, 8000 to 48000; by default what suits the format, for pcm 24000, which OpenAI's clients expect.",
    )
    language: LanguageTag | None = Field(None, description="BCP 47, to speak in another language than the voice's.")
    speaker: Annotated[str | int | None, BeforeValidator(_speaker)] = Field(
        None, description="The speaker, by name or number, of a voice that has several."
    )
    pause_seconds: Number | None = Field(
        None, ge=0, le=LONGEST_PAUSE, description="Seconds of silence between sentences; by default the model's."
    )
    normalize: bool = Field(
        True, description="Speak Markdown, HTML, addresses, emoji and amounts as a person would read them."
    )


class SpeechRequest(SpokenText):
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="False waits for the whole, whose header then tells its true length.")


@router.post(
    "/v1/audio/speech", responses={200: {"content": {"audio/mpeg": {}, "audio/wav": {}}}}, response_class=Response
)
async def create_speech(request: Request, body: SpeechRequest) -> Response:
    """Speech of a text."""
    server = server_of(request)
    note_ignored(request, body.ignored)
    await check(body, server)
    return await until_gone(request, _made(server, body, request.state.request_id))


async def _made(server: Server, body: SpeechRequest, request_id: str) -> Response:
    return await _Answer(server, await completed(body, server), request_id).made()


T = TypeVar("T", bound=SpokenText)


async def check(asked: SpokenText, server: Server) -> None:
    """Raise InvalidRequest for what is wrong whatever the model is."""
    from speaches.audio.formats import check_rate

    _check_text(asked.input, server.settings.max_text_chars)
    if "[" in asked.input:
        await server.threads.run(_check_pauses, asked.input)
    if asked.sample_rate is not None:
        check_rate(asked.response_format, asked.sample_rate)


async def completed(asked: T, server: Server) -> T:
    """The request with what the preset that it names adds to it."""
    preset = await server.preset(asked.voice)
    if preset is None:
        return asked
    kept = {"model": preset.model, "speed": preset.speed, "language": preset.language}
    missing = {name: value for name, value in kept.items() if value is not None and name not in asked.model_fields_set}
    return asked.model_copy(update={"voice": preset.voice} | missing)


def _check_text(text: str, most: int) -> None:
    if not text.strip():
        raise InvalidRequest("input is empty: there is nothing to speak.", param="input", code="invalid_value")
    if len(text) > most:
        raise InvalidRequest(
            f"input has {len(text)} characters; this server speaks at most {most} at once.",
            param="input",
            code="string_above_max_length",
        )


def _check_pauses(text: str) -> None:
    from speaches.text.markup import MOST_PAUSED, paused

    if (seconds := paused(text)) > MOST_PAUSED:
        raise InvalidRequest(
            f"The pauses in input are {seconds:.0f} seconds together; {MOST_PAUSED:.0f} are allowed. Make them shorter, or send the text in"
            " several requests.",
            param="input",
            code="invalid_value",
        )


def rate_of(asked: SpokenText) -> int:
    """Hz of the answer."""
    from speaches.audio.formats import FORMATS

    return FORMATS[asked.response_format].rate if asked.sample_rate is None else asked.sample_rate


class Speaking:
    """One text on its way to audio."""

    def __init__(self, server: Server, asked: SpokenText, *, timed: bool = False) -> None:
        self.seconds = 0.0
        """Of speech made so far."""
        self._server = server
        self._asked = asked
        self._timed = timed

    @contextlib.asynccontextmanager
    async def spoken(self) -> AsyncIterator[tuple[AsyncGenerator[Spoken], SpeakOptions, Model]]:
        """The speech as samples. Holds the model meanwhile; all that can be wrong is checked before it begins."""
        from speaches.speech.speak import parts_of, speak

        asked, threads = self._asked, self._server.threads
        async with contextlib.AsyncExitStack() as stack:
            model: Loaded = await stack.enter_async_context(self._server.models.use(asked.model, Task.TTS))
            options = self._options(model)
            language = options.language or options.voice.language
            found = parts_of(asked.input, threads, normalise=asked.normalize, language=language)
            parts = await stack.enter_async_context(contextlib.aclosing(found))
            answer = await stack.enter_async_context(contextlib.aclosing(speak(parts, options, model, threads)))
            yield self._counted(answer, options.sample_rate), options, model.model

    def _options(self, model: Loaded) -> SpeakOptions:
        from speaches.speech.speak import SpeakOptions

        asked, settings = self._asked, self._server.settings
        voice = resolve(
            asked.voice,
            model.engine,
            default=settings.default_voice,
            aliases=settings.voice_aliases,
            language=asked.language,
            speaker=asked.speaker,
        )
        return SpeakOptions(
            voice,
            asked.speed,
            asked.language,
            asked.response_format,
            rate_of(asked),
            asked.pause_seconds,
            self._timed,
        )

    async def _counted(self, answer: AsyncGenerator[Spoken], rate: int) -> AsyncGenerator[Spoken]:
        async for spoken in answer:
            self.seconds += len(spoken.samples) / rate
            self._server.metrics.audio("spoken", len(spoken.samples) / rate)
            yield spoken


class _Answer:
    """An answer of /v1/audio/speech: from the cache, as a whole, or as it is spoken."""

    def __init__(self, server: Server, asked: SpeechRequest, request_id: str) -> None:
        self._server = server
        self._asked = asked
        self._request_id = request_id
        self._cache = server.speech_cache
        self._speaking = Speaking(server, asked)

    async def made(self) -> Response:
        from speaches.audio.formats import FORMATS
        from speaches.speech.speak import is_short

        asked = self._asked
        kept = await self._kept()
        headers = {"x-cache": "hit" if kept else "miss"} if self._cache.is_on else {}
        if kept is None and (not asked.stream or is_short(asked.input, asked.normalize, asked.language)):
            kept = await self._whole()
        if asked.stream_format == "sse":
            events = self._events(self._parts() if kept is None else _at_once(kept.data), kept)
            return await streamed(sse_events(events, self._request_id), "text/event-stream", headers)
        media_type = FORMATS[asked.response_format].content_type
        headers["content-disposition"] = f'attachment; filename="speech.{asked.response_format}"'
        if kept is not None:
            return Response(kept.data, media_type=media_type, headers=headers)
        return await streamed(self._parts(), media_type, headers)

    async def _kept(self) -> Kept | None:
        """The same answer, given before. Loads no model."""
        if not self._cache.is_on:
            return None
        model = await self._server.models.get(self._asked.model, Task.TTS)
        return self._cache.get(await self._server.threads.run(_key, model, self._asked))

    async def _keep(self, model: Model, kept: Kept) -> None:
        # The model as it was when it was loaded: its files may be others by now.
        self._cache.put(await self._server.threads.run(_key, model, self._asked), kept)

    async def _whole(self) -> Kept:
        from speaches.speech.speak import encoded_whole

        async with self._speaking.spoken() as (answer, options, model):
            data = await encoded_whole(answer, options, self._server.threads)
        kept = Kept(data, self._speaking.seconds)
        if self._cache.is_on:
            await self._keep(model, kept)
        return kept

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        """The answer as it is spoken."""
        from speaches.audio.encode import with_length
        from speaches.speech.speak import SILENCE_SECONDS, encoded

        gathered = _Gathered(self._cache.largest)
        async with (
            self._speaking.spoken() as (answer, options, model),
            contextlib.aclosing(encoded(answer, options, self._server.threads)) as parts,
        ):
            async for part in parts:
                gathered.add(part)
                yield part
        if gathered.fits:
            seconds = self._speaking.seconds or SILENCE_SECONDS
            data = with_length(options.response_format, gathered.data(), seconds, options.sample_rate)
            await self._keep(model, Kept(data, self._speaking.seconds))

    async def _events(
        self, parts: AsyncGenerator[bytes, None], kept: Kept | None
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        async with contextlib.aclosing(parts):
            async for part in parts:
                for audio in deltas(part):
                    yield {"type": "speech.audio.delta", "audio": audio}
        usage = usage_of(self._asked.input, self._speaking.seconds if kept is None else kept.seconds)
        yield {"type": "speech.audio.done", "usage": usage, "token_usage": usage}


class _Gathered:
    """What has been sent of an answer, as long as it may still be kept."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def fits(self) -> bool:
        return self._size <= self._largest

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self.fits:
            self._parts.append(part)
        else:
            self._parts.clear()

    def data(self) -> bytes:
        return b"".join(self._parts)


def _key(model: Model, asked: SpokenText) -> bytes:
    # What is asked for, not what it leads to, so that an answer is found without its model in memory.
    facts = asked.model_dump(exclude={"model", "instructions", "stream", "stream_format"})
    return key_of(model.id, model.folder, model.created, model.size_bytes, sorted(facts.items()))


async def _at_once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def deltas(data: bytes) -> Iterator[str]:
    """Audio in base64, in stretches that any client's buffer takes."""
    for start in range(0, len(data), DELTA_BYTES):
        yield base64.b64encode(data[start : start + DELTA_BYTES]).decode()


def usage_of(text: str, seconds: float) -> dict[str, int]:
    """About what OpenAI counts: a token is four characters of text, and 20 are a second of speech."""
    tokens_in, tokens_out = max(1, len(text) // 4), round(seconds * 20)
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
