"""POST /v1/chat/completions: audio in, the LLM's answer in text and speech out."""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from speaches.api.answers import note_ignored, sse, sse_events, streamed, until_gone
from speaches.api.chat_audio import file_of
from speaches.api.chat_request import Asked
from speaches.api.state import Server, server_of
from speaches.api.transcription_forms import transcribe_options
from speaches.chat.answers import Delta, text_in
from speaches.chat.chunks import SpokenChunks
from speaches.chat.history import new_id
from speaches.chat.llm import STREAM
from speaches.chat.messages import AudioPart, SpokenAnswer, for_llm
from speaches.chat.thoughts import without_thoughts
from speaches.chat.transcripts import Heard, Recording
from speaches.chat.usage import with_audio
from speaches.concurrency import together
from speaches.engines.base import Task
from speaches.errors import InvalidRequest, SpeachesError
from speaches.speech.voices import resolve
from speaches.transcription.formats import text_of
from speaches.transcription.transcribe import Outcome, Source, TranscribeOptions, check, transcribe

if TYPE_CHECKING:
    from speaches.models.pool import Loaded
    from speaches.speech.speak import SpeakOptions, Spoken
    from speaches.text.markup import Part

P = TypeVar("P")
T = TypeVar("T")

router = APIRouter(tags=["Voice chat"])

AT_ONCE = 4  # recordings of one request that are heard at the same time, and answers that are spoken
LONGEST_LINE = 65_536  # bytes of an answer that is passed through which wait for the end of their line

DOCS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["messages"], "additionalProperties": True}}
        },
    }
}


@router.post("/v1/chat/completions", openapi_extra=DOCS)
async def create_chat_completion(request: Request) -> Response:
    """Chat with speech in and out. Without either, the request goes to the LLM as it is."""
    server = server_of(request)
    # Not request.body(), which would keep megabytes of recordings for as long as the LLM takes.
    asked = await server.threads.run(Asked.read, b"".join([part async for part in request.stream()]))
    note_ignored(request, asked.ignored)
    return await until_gone(request, _Turn(server, asked).answer(request.state.request_id))


class _Turn:
    """One request on its way to an answer."""

    def __init__(self, server: Server, asked: Asked) -> None:
        self._server = server
        self._asked = asked
        short = server.settings.encoder_window == "auto"
        with _naming({"language": "transcription_extra_body.language"}):
            self._hearing = transcribe_options(asked.hearing, "transcribe", short_window=short)
        self._heard_seconds = self._spoken_seconds = 0.0
        self._expires_at: int | None = None
        """When the audio of the stream does, once there are words."""
        self._is_whole = False
        """Whether the stream has come to its end."""

    async def answer(self, request_id: str) -> Response:
        self._server.llm.check()
        if self._asked.spoken is None:
            return await self._passed_through()
        if self._asked.body.get("stream"):
            return await streamed(self._events(request_id), STREAM)
        return await self._spoken(self._asked.spoken)

    # --- Audio in ---

    async def _for_llm(self) -> dict[str, Any]:
        """The request for the LLM, in which audio is text."""
        heard = await _each(self._heard, self._asked.parts)
        self._heard_seconds = sum(one.duration for one in heard)
        texts = {part: one.text for part, one in zip(self._asked.parts, heard, strict=True)}
        server = self._server
        return await server.threads.run(for_llm, self._asked.body, server.llm.model, texts, server.spoken)

    async def _heard(self, part: AudioPart) -> Heard:
        server, model = self._server, self._asked.body.get("transcription_model")
        name = model or server.settings.default_stt_model
        with _naming({"model": "transcription_model", "language": "transcription_extra_body.language"}, part.param):
            audio = await server.threads.run(file_of, part)
            recording = await server.threads.run(Recording.of, audio, name, self._hearing)
            return await server.transcripts.get(
                recording, functools.partial(_hear, server, audio, model, self._hearing)
            )

    # --- Text out ---

    async def _passed_through(self) -> Response:
        answer = self._server.llm.passed_through(await self._for_llm())
        media_type, whole = await anext(answer)
        if media_type == STREAM:
            return await streamed(_lines(answer), media_type)
        await answer.aclose()
        return Response(whole, media_type=media_type)

    # --- Speech out ---

    @contextlib.asynccontextmanager
    async def _voice(self, how: SpokenAnswer) -> AsyncIterator[tuple[Loaded, SpeakOptions]]:
        """The model, held, and how it is to speak: all that can be wrong is checked before the LLM is asked."""
        from speaches.audio.formats import FORMATS, check_rate
        from speaches.speech.speak import SpeakOptions

        server, extras = self._server, self._asked.speech
        names = {
            "model": "speech_model",
            "voice": "audio.voice",
            "sample_rate": "speech_extra_body.sample_rate",
            "language": "speech_extra_body.language",
        }
        with _naming(names):
            rate = FORMATS[how.response_format].rate if extras.sample_rate is None else extras.sample_rate
            check_rate(how.response_format, rate)
            kept = await server.preset(how.voice)
            name = self._asked.body.get("speech_model") or (kept.model if kept else None)
            model = await server.models.get(name, Task.TTS)
        language = extras.language or (kept.language if kept else None)
        speed = kept.speed if kept and kept.speed and "speed" not in extras.model_fields_set else extras.speed
        async with server.models.pool.use(model) as loaded:
            with _naming(names):
                voice = resolve(
                    kept.voice if kept else how.voice,
                    loaded.engine,
                    default=server.settings.default_voice,
                    aliases=server.settings.voice_aliases,
                    language=language,
                )
            yield loaded, SpeakOptions(voice, speed, language, how.response_format, rate)

    async def _spoken(self, how: SpokenAnswer) -> Response:
        """The answer as a whole."""
        async with self._voice(how) as (loaded, options):
            answer = await self._server.llm.complete(await self._for_llm())
            messages = [choice.get("message") for choice in answer["choices"] if isinstance(choice, dict)]
            speak = functools.partial(self._speak, loaded=loaded, options=options)
            await _each(speak, [one for one in messages if isinstance(one, dict)])
        if isinstance(answer.get("usage"), dict):
            answer["usage"] = with_audio(answer["usage"], heard=self._heard_seconds, spoken=self._spoken_seconds)
        return Response(await self._server.threads.run(json.dumps, answer), media_type="application/json")

    async def _speak(self, message: dict[str, Any], loaded: Loaded, options: SpeakOptions) -> None:
        """Put its speech into a message, in place of its text."""
        from speaches.chat.speaking import too_long
        from speaches.speech.speak import encoded_whole, parts_of, speak

        server, written = self._server, text_in(message.get("content"))
        text, thoughts = without_thoughts(written)
        if text != written:
            message["content"] = text
        if thoughts:
            message["reasoning_content"] = text_in(message.get("reasoning_content")) + thoughts
        if not text.strip():
            return
        if len(text) > server.settings.max_text_chars:
            raise too_long(server.settings.max_text_chars)
        async with contextlib.aclosing(parts_of(text, server.threads, language=_language(options))) as parts:
            speech = self._counted(speak(parts, options, loaded, server.threads), options.sample_rate)
            audio = await encoded_whole(speech, options, server.threads)
        data = (await server.threads.run(base64.b64encode, audio)).decode()
        audio_id = new_id()
        expires_at = server.spoken.add(audio_id, text)
        message |= {"content": None, "refusal": message.get("refusal")}
        message["audio"] = {"id": audio_id, "data": data, "expires_at": expires_at, "transcript": text}

    async def _counted(self, speech: AsyncGenerator[Spoken], rate: int) -> AsyncGenerator[Spoken]:
        async with contextlib.aclosing(speech):
            async for spoken in speech:
                self._spoken_seconds += len(spoken.samples) / rate
                self._server.metrics.audio("spoken", len(spoken.samples) / rate)
                yield spoken

    async def _events(self, request_id: str) -> AsyncGenerator[bytes]:
        async with contextlib.aclosing(sse_events(self._chunks(), request_id)) as events:
            async for event in events:
                yield event
        if self._is_whole:
            yield b"data: [DONE]\n\n"

    async def _chunks(self) -> AsyncGenerator[Mapping[str, Any]]:
        """The answer while the LLM writes it."""
        assert self._asked.spoken is not None
        server, body = self._server, self._asked.body
        chunks = SpokenChunks(str(body.get("model") or server.llm.model or ""))
        async with self._voice(self._asked.spoken) as (loaded, options):
            request = await self._for_llm()
            async with contextlib.aclosing(self._as_written(request, chunks, loaded, options)) as parts:
                async for part in parts:
                    yield part
        asks = (body.get("stream_options") or {}).get("include_usage")
        usage = (
            with_audio(chunks.usage, heard=self._heard_seconds, spoken=self._spoken_seconds) if chunks.usage else None
        )
        for chunk in [*chunks.rest(), *chunks.end(self._expires_at, usage if asks else None)]:
            yield chunk
        self._is_whole = True

    async def _as_written(
        self, request: Mapping[str, Any], chunks: SpokenChunks, loaded: Loaded, options: SpeakOptions
    ) -> AsyncGenerator[Mapping[str, Any]]:
        from speaches.audio.pcm import to_pcm16
        from speaches.chat.speaking import spoken_answer
        from speaches.speech.speak import speak

        server = self._server

        def voice(parts: AsyncIterator[Part]) -> AsyncGenerator[Spoken]:
            return self._counted(speak(parts, options, loaded, server.threads), options.sample_rate)

        longest = server.settings.max_text_chars
        deltas = server.llm.stream(request)
        answer = spoken_answer(deltas, voice, language=_language(options), longest=longest)
        async with contextlib.aclosing(answer):
            async for one in answer:
                if isinstance(one, Delta) and one.text:
                    # Not at its end: a client that cuts it short may refer to it in its next request, at once.
                    self._expires_at = server.spoken.add(chunks.audio_id, one.text)
                for chunk in (
                    chunks.written(one)
                    if isinstance(one, Delta)
                    else chunks.spoken(await server.threads.run(to_pcm16, one.samples))
                ):
                    yield chunk


async def _each(work: Callable[[P], Awaitable[T]], parts: Iterable[P]) -> list[T]:
    """Do the same with all parts of a request, a few at a time: one request is not to fill the queue of an engine."""
    waiting, done = iter(enumerate(parts)), dict[int, T]()

    async def some() -> None:
        for place, part in waiting:
            done[place] = await work(part)

    await together([some() for _ in range(AT_ONCE)])
    return [done[place] for place in sorted(done)]


def _language(options: SpeakOptions) -> str:
    """What the text is read in."""
    return options.language or options.voice.language


async def _hear(server: Server, audio: bytes, model: str | None, options: TranscribeOptions) -> Heard:
    outcome = Outcome()
    async with server.models.use(model, Task.STT) as recogniser, server.models.use(None, Task.VAD) as activity:
        check(options.decode, recogniser)
        segments = transcribe(
            Source(io.BytesIO(audio)),
            options,
            outcome,
            recogniser=recogniser,
            activity=activity,
            limits=server.audio_limits,
            threads=server.threads,
        )
        async with contextlib.aclosing(segments):
            text = text_of([segment async for segment in segments])
    server.metrics.audio("heard", outcome.duration)
    server.metrics.audio("speech", outcome.speech_seconds)
    server.metrics.phantoms(outcome.phantoms)
    return Heard(text, outcome.duration)


@contextlib.contextmanager
def _naming(names: Mapping[str, str], other: str | None = None) -> Iterator[None]:
    """Errors name a parameter of this request, not that of the endpoint which they come from."""
    try:
        yield
    except InvalidRequest as error:
        known = copy.copy(error)  # the error is everybody's who waits for the same recording
        known.param = names.get(error.param or "", other or error.param)
        raise known from error


async def _lines(answer: AsyncGenerator[tuple[str, bytes]]) -> AsyncGenerator[bytes]:
    """Server-sent events, in whole lines: what follows where they break off is an error event, and not half of another."""
    held = b""
    async with contextlib.aclosing(answer):
        yield b""  # begun, so that it will be closed
        try:
            async for _, data in answer:
                held += data
                cut = len(held) if len(held) > LONGEST_LINE else held.rfind(b"\n") + 1
                yield held[:cut]
                held = held[cut:]
        except SpeachesError as error:
            yield b"\n" + sse(error.as_openai())
        else:
            yield held
