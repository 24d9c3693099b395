"""POST /v1/chat/completions: audio in, the LLM's answer in text and speech out."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from speaches.api.answers import StreamedAnswer, until_gone
from speaches.api.state import Server, server_of
from speaches.api.validation import json_object
from speaches.chat.messages import AudioPart, SpokenAnswer, audio_parts, for_llm, spoken_answer
from speaches.engines.base import Task
from speaches.errors import InvalidRequest
from speaches.speech.voices import resolve
from speaches.transcription.formats import text_of
from speaches.transcription.transcribe import Outcome, Source, TranscribeOptions, transcribe

router = APIRouter(tags=["Voice chat"])

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
    body = await server.threads.run(_parsed, await request.body())
    parts, spoken = audio_parts(body["messages"]), spoken_answer(body)
    if spoken and body.get("stream"):
        raise InvalidRequest(
            "stream=true can't be combined with audio output yet; leave one out.",
            param="stream",
            code="unsupported_value",
        )
    return await until_gone(request, _answer(server, body, parts, spoken))


def _parsed(body: bytes) -> dict[str, Any]:
    values = json_object(body)
    for name in ("transcription_model", "speech_model"):
        if not isinstance(values.get(name), str | None):
            raise InvalidRequest(f"{name} must be the name of a model.", param=name, code="invalid_value")
    if not isinstance(values.get("messages"), list):
        raise InvalidRequest(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    return values


async def _answer(
    server: Server, body: Mapping[str, Any], parts: list[AudioPart], spoken: SpokenAnswer | None
) -> Response:
    texts = {part: await _heard(server, body.get("transcription_model"), part) for part in parts}
    request = for_llm(body, server.llm.model, texts, server.spoken)
    if not spoken:
        return await _passed_through(server, request)
    answer = await server.llm.complete(request)
    for choice in answer["choices"]:
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict) and isinstance(message.get("content"), str) and message["content"].strip():
            await _speak(server, body.get("speech_model"), message, spoken)
    return JSONResponse(answer)


async def _passed_through(server: Server, request: Mapping[str, Any]) -> Response:
    answer = server.llm.passed_through(request)
    media_type, first = await anext(answer)
    return StreamedAnswer(first, _bytes(answer), media_type)


async def _bytes(answer: AsyncGenerator[tuple[str, bytes], None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(answer):
        async for _, data in answer:
            yield data


async def _heard(server: Server, model: str | None, part: AudioPart) -> str:
    """What is said in an audio part."""
    param = f"messages[{part.message}].content[{part.part}].input_audio.data"
    try:
        data = await server.threads.run(base64.b64decode, part.data.partition(",")[2] or part.data, None, True)
    except ValueError:
        raise InvalidRequest("The audio is not valid base64.", param=param, code="invalid_base64") from None
    async with server.models.use(model, Task.STT) as recogniser, server.models.use(None, Task.VAD) as activity:
        segments = transcribe(
            Source(io.BytesIO(data)),
            TranscribeOptions(),
            Outcome(),
            recogniser=recogniser,
            activity=activity,
            limits=server.audio_limits,
            threads=server.threads,
        )
        async with contextlib.aclosing(segments):
            return text_of([segment async for segment in segments])


async def _speak(server: Server, model: str | None, message: dict[str, Any], how: SpokenAnswer) -> None:
    """Put the spoken answer into a message, in place of its text."""
    from speaches.speech.speak import SpeakOptions, encoded_whole, parts_of, speak

    text: str = message["content"]
    async with server.models.use(model, Task.TTS) as loaded:
        voice = resolve(how.voice, loaded.engine, default=server.settings.default_voice)
        options = SpeakOptions(voice, response_format=how.response_format)
        async with contextlib.aclosing(parts_of(text, server.threads, language=voice.language)) as parts:
            audio = await encoded_whole(speak(parts, options, loaded, server.threads), options, server.threads)
    audio_id, expires_at = server.spoken.add(text)
    data = (await server.threads.run(base64.b64encode, audio)).decode()
    message["content"] = None
    message["audio"] = {"id": audio_id, "data": data, "expires_at": expires_at, "transcript": text}
