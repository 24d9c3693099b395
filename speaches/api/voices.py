"""/v1/audio/voices: what voices there are, how they sound, and voices that users keep under names of their own."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.responses import Response

from speaches.api.answers import note_ignored, until_gone
from speaches.api.models import found_model, listed_models
from speaches.api.openapi import Body
from speaches.api.speech import SpeechRequest, create_speech
from speaches.api.state import Server, server_of
from speaches.api.uploads import form_values, read_form
from speaches.api.validation import LanguageTag, Number, Parameters, json_object, shortened, validated
from speaches.engines.base import Task, TextToSpeech, Voice
from speaches.errors import Conflict, InvalidRequest, NotFound
from speaches.models.catalogue import Model
from speaches.speech.presets import Preset
from speaches.speech.previews import preview_text
from speaches.speech.voices import OPENAI_VOICES, resolve, speaks

router = APIRouter(tags=["Voices"])

Gender = Literal["female", "male"]
LONGEST_NAME = 64  # characters
PREVIEW_SECONDS = 24 * 3600  # that a browser may keep a preview
_NEWEST = re.compile(r"auto|\d{4}-\d{2}-\d{2}")  # what OpenAI's SDK sends as the model that is to design a voice


class VoiceForm(Parameters):
    """A voice to keep."""

    name: str = Field(description="What requests will call it: up to 64 printable characters.")
    voice: str | None = Field(None, description="A voice of the model, or a mix: `af_heart(2)+bm_george`.")
    prompt: str | None = Field(None, description="The same, as OpenAI's SDK sends it.")
    type: Literal["prompt", "audio_sample"] | None = Field(
        None, description="`prompt`; samples can't be imitated here."
    )
    model: str | None = Field(None, description="The voice model; by default DEFAULT_TTS_MODEL.")
    speed: Number | None = Field(None, ge=0.25, le=4.0)
    language: LanguageTag | None = Field(None, description="BCP 47, to speak in another language than the voice's.")
    instructions: str | None = Field(None, max_length=4096, description="Kept; no engine here can follow them.")


# --- What there is ---


@router.get("/v1/audio/voices")
async def list_voices(
    request: Request, model: str | None = None, language: str | None = None, gender: Gender | None = None
) -> dict[str, Any]:
    """The voices on this server, and those that were kept; or those of one model, language or gender."""
    server = server_of(request)
    models = [await found_model(server, model)] if model else [one for _, one in await listed_models(server, Task.TTS)]
    unique = {one.id: one for one in models}
    voices = [_voice(voice, one.id) for one in unique.values() for voice in one.voices]
    voices += [_kept(preset) for preset in await server.threads.run(server.presets.all) if preset.model in unique]
    return {
        "object": "list",
        "voices": [
            voice
            for voice in voices
            if (not language or speaks(voice["language"], language)) and gender in (None, voice.get("gender"))
        ],
    }


@router.get(
    "/v1/audio/voices/{voice_id:path}/preview",
    responses={200: {"content": {"audio/mpeg": {}, "audio/wav": {}}}},
    response_class=Response,
)
async def preview_voice(
    request: Request,
    voice_id: str,
    model: str | None = None,
    response_format: Annotated[Literal["mp3", "opus", "aac", "flac", "wav", "pcm"], Query()] = "mp3",
) -> Response:
    """A sentence or two in the voice's language."""
    voice = await _found(request, voice_id, model)
    asked = {"input": preview_text(voice["language"]), "response_format": response_format}
    asked |= {"model": voice["model"], "voice": voice["id"]}
    answer = await create_speech(request, validated(SpeechRequest, asked))
    answer.headers["cache-control"] = f"private, max-age={PREVIEW_SECONDS}"
    return answer


@router.get("/v1/audio/voices/{voice_id:path}")
async def get_voice(request: Request, voice_id: str, model: str | None = None) -> dict[str, Any]:
    """One voice, also where the list leaves it out: a mix, or a language with a variant of espeak-ng's."""
    return await _found(request, voice_id, model)


async def _found(request: Request, name: str, model_id: str | None) -> dict[str, Any]:
    """The voice of that name: a kept one, else one of the model, else of the first model that has it."""
    server = server_of(request)
    if preset := await server.threads.run(server.presets.find, name):
        return _kept(preset)
    models = (
        [await found_model(server, model_id)] if model_id else [m for _, m in await listed_models(server, Task.TTS)]
    )
    for model in models:
        if voice := next((voice for voice in model.voices if voice.id == name), None):
            return _voice(voice, model.id)
    return await until_gone(request, _asked_for(server, name, model_id))


async def _asked_for(server: Server, name: str, model_id: str | None) -> dict[str, Any]:
    """A voice that no list has: the model itself must tell. None is downloaded for that."""
    if not name or await server.models.find(model_id or server.settings.default_tts_model) is None:
        raise NotFound(
            f"No model here lists a voice {shortened(name)!r}; name the model with ?model=.",
            param="voice_id",
            code="voice_not_found",
        )
    async with server.models.use(model_id, Task.TTS) as loaded:
        try:
            return _voice(_resolved(server, name, loaded.engine), loaded.model.id)
        except InvalidRequest as error:
            raise NotFound(error.message, param="voice_id", code="voice_not_found") from None


def _resolved(server: Server, name: str, engine: TextToSpeech, language: str | None = None) -> Voice:
    settings = server.settings
    return resolve(name, engine, default=settings.default_voice, aliases=settings.voice_aliases, language=language)


def _voice(voice: Voice, model_id: str) -> dict[str, Any]:
    known = {"id": voice.id, "name": voice.name, "model": model_id, "language": voice.language}
    if voice.gender:
        known["gender"] = voice.gender
    return known | {"preview_url": _preview_url(voice.id, model_id)}


def _kept(preset: Preset) -> dict[str, Any]:
    """A kept voice as OpenAI writes one, and what it is made of."""
    known = {
        "id": preset.id,
        "object": "audio.voice",
        "name": preset.name,
        "created_at": preset.created_at,
        "type": "prompt",
        "prompt": preset.voice,
        "voice": preset.voice,
        "model": preset.model,
        "language": preset.language or preset.voice_language,
        "gender": preset.gender,
        "speed": preset.speed,
    }
    known = {name: value for name, value in known.items() if value is not None}
    return known | {"preview_url": _preview_url(preset.id, preset.model)}


def _preview_url(voice_id: str, model_id: str) -> str:
    """From the server's root: behind a proxy it would not know how it is called."""
    return f"/v1/audio/voices/{quote(voice_id, safe='')}/preview?model={quote(model_id, safe='')}"


# --- What users keep ---


@router.post(
    "/v1/audio/voices",
    openapi_extra=Body(
        lambda: dict.fromkeys(("application/json", "multipart/form-data"), VoiceForm.model_json_schema())
    ),
)
async def create_voice(request: Request) -> dict[str, Any]:
    """Keep a voice or a mix, with its model, speed and language, under a name."""
    values = await _values(request)
    if "audio_sample" in values or "consent" in values or values.get("type") == "audio_sample":
        raise InvalidRequest(
            "Voices can't be cloned from a recording here. Keep a voice or a mix of a model instead: send 'name' and 'voice',"
            " such as 'af_heart(2)+bm_george'. GET /v1/audio/voices lists what there is.",
            param="audio_sample",
            code="unsupported_value",
        )
    asked = validated(VoiceForm, values)
    note_ignored(request, asked.ignored)
    return await until_gone(request, _create(server_of(request), asked))


@router.delete("/v1/audio/voices/{voice_id:path}")
async def delete_voice(request: Request, voice_id: str) -> dict[str, Any]:
    """Forget a kept voice. Those of the models stay."""
    server = server_of(request)
    preset = await server.threads.run(server.presets.find, voice_id)
    if preset is None:
        raise NotFound(
            f"No voice {shortened(voice_id)!r} was kept here. Voices of a model can't be deleted.",
            param="voice_id",
            code="voice_not_found",
        )
    await server.threads.run(server.presets.remove, preset)
    return {"id": preset.id, "object": "audio.voice.deleted", "deleted": True}


async def _values(request: Request) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await server_of(request).threads.run(json_object, await request.body())
    form = await read_form(request)
    try:
        files = {name: "a file" for name, value in form.multi_items() if isinstance(value, UploadFile)}
        return form_values(form) | files
    finally:
        await form.close()


async def _create(server: Server, form: VoiceForm) -> dict[str, Any]:
    name, wanted = _checked_name(form.name, server), form.voice or form.prompt
    if wanted is None:
        raise InvalidRequest("Missing required parameter: 'voice'.", param="voice", code="missing_required_parameter")
    model_id = None if form.model is None or _NEWEST.fullmatch(form.model) else form.model
    async with server.models.use(model_id, Task.TTS) as loaded:
        voice = _checked_voice(server, wanted, form, loaded.engine)
        _check_free(name, loaded.engine, loaded.model)
        fields = form.model_dump(include={"speed", "language", "instructions"})
        fields |= {"name": name, "voice": wanted, "model": loaded.model.id}
        fields |= {"voice_language": voice.language, "gender": voice.gender}
        preset = await server.threads.run(lambda: server.presets.add(**fields))
    return _kept(preset)


def _checked_name(name: str, server: Server) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(
            f"Invalid value for 'name': should be 1 to {LONGEST_NAME} printable characters, got {shortened(name)!r}.",
            param="name",
            code="invalid_value",
        )
    if name.lower() in {*OPENAI_VOICES, *(alias.lower() for alias in server.settings.voice_aliases)}:
        raise Conflict(
            f"{name!r} means a voice already (it is one of OpenAI's names, or of VOICE_ALIASES); choose another name.",
            param="name",
            code="name_taken",
        )
    return name


def _checked_voice(server: Server, wanted: str, form: VoiceForm, engine: TextToSpeech) -> Voice:
    try:
        return _resolved(server, wanted, engine, form.language)
    except InvalidRequest as error:
        if form.voice is not None or error.param != "voice":
            raise
        raise InvalidRequest(
            f"A prompt has to name a voice, or a mix of voices; none can be made from a description here. {error.message}",
            param="prompt",
            code=error.code,
        ) from None


def _check_free(name: str, engine: TextToSpeech, model: Model) -> None:
    try:
        taken = engine.voice(name)
    except InvalidRequest:  # looks like a mix and is none
        return
    if taken:
        raise Conflict(
            f"{shortened(model.id)} has a voice {name!r} of its own; choose another name.",
            param="name",
            code="name_taken",
        )
