"""Models on disk (/v1/models), on the hub (/v1/registry) and in memory (/api/ps). Where OpenAI has no shape it is the incumbent's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from speaches.api.answers import until_gone
from speaches.api.state import Server, server_of
from speaches.api.validation import shortened
from speaches.engines.base import Task, Voice
from speaches.errors import Conflict, UnknownModel
from speaches.models.catalogue import Model

router = APIRouter(tags=["Models"])


@router.get("/v1/models")
async def list_models(request: Request, task: Task | None = None) -> dict[str, Any]:
    """The models on this server, and the aliases that lead to one."""
    return {
        "object": "list",
        "data": [_model(name, model) for name, model in await listed_models(server_of(request), task)],
    }


@router.get("/v1/audio/models")
async def list_audio_models(request: Request) -> dict[str, Any]:
    """The same, as Open WebUI asks for it."""
    listed = await listed_models(server_of(request), None)
    return {
        "object": "list",
        "models": [_model(name, model) for name, model in listed if model.task in (Task.STT, Task.TTS)],
    }


@router.get("/v1/models/{model_id:path}")
async def get_model(request: Request, model_id: str) -> dict[str, Any]:
    return _model(model_id, await found_model(server_of(request), model_id))


@router.post("/v1/models/{model_id:path}")
async def pull_model(request: Request, model_id: str) -> Response:
    """Download a model."""
    server = server_of(request)
    if await server.models.find(model_id):
        return PlainTextResponse(f"Model '{model_id}' already exists", status_code=201)
    await until_gone(request, server.models.downloads.get(server.models.aliases.resolve(model_id)))
    return PlainTextResponse(f"Model '{model_id}' downloaded")


@router.delete("/v1/models/{model_id:path}")
async def delete_model(request: Request, model_id: str) -> dict[str, Any]:
    """Delete a model from disk. 409 while it is in use."""
    server = server_of(request)
    model = await found_model(server, model_id)
    await server.models.delete(model)
    return {"id": model.id, "object": "model", "deleted": True, "detail": f"Model '{model.id}' deleted"}


@router.get("/v1/registry")
async def list_registry(request: Request, task: Task | None = None) -> dict[str, Any]:
    """Models that can be had: a search of the Hugging Face hub, or a list that comes with the server where the hub can't be reached."""
    from speaches.models.registry import search

    server = server_of(request)
    found = await server.lookups.run(search, server.models.hub, task)
    data = [
        {
            "id": entry.id,
            "object": "model",
            "created": entry.created,
            "owned_by": entry.owned_by,
            "task": entry.task,
            "language": list(entry.languages),
        }
        for entry in found.entries
    ]
    return {"object": "list", "data": data, "source": found.source}


@router.get("/api/ps")
async def list_loaded(request: Request) -> dict[str, Any]:
    """The models in memory, and the downloads under way."""
    models = server_of(request).models
    return {"models": [loaded.model.id for loaded in models.pool.loaded()], "downloads": models.downloads.progress()}


@router.post("/api/ps/{model_id:path}")
async def load_model(request: Request, model_id: str) -> JSONResponse:
    """Load a model into memory. It goes again after its idle time."""
    server = server_of(request)
    model = await found_model(server, model_id)
    if server.models.pool.is_loaded(model.id):
        raise Conflict(f"Model '{model.id}' already loaded.", param="model")
    await until_gone(request, _load(server, model))
    return JSONResponse({"message": f"Model '{model.id}' loaded."}, status_code=201)


@router.delete("/api/ps/{model_id:path}")
async def unload_model(request: Request, model_id: str) -> dict[str, Any]:
    """Take a model out of memory. 409 while it is in use."""
    models = server_of(request).models
    models.pool.unload(models.aliases.resolve(model_id))
    return {"message": f"Model {model_id} unloaded."}


async def _load(server: Server, model: Model) -> bool:
    async with server.models.pool.use(model):
        return True


async def listed_models(server: Server, task: Task | None) -> list[tuple[str, Model]]:
    """What is on disk by id, then the aliases; of one task, or all."""
    return [(name, model) for name, model in await server.models.listed() if task in (None, model.task)]


async def found_model(server: Server, model_id: str) -> Model:
    """The model on disk that a name or alias means. Raises UnknownModel."""
    model = await server.models.find(model_id)
    if model is None:
        raise UnknownModel(
            f"Model '{shortened(model_id)}' not found. GET /v1/models lists what is here.", param="model"
        )
    return model


def _model(name: str, model: Model) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "task": model.task,
        "language": list(model.languages) or None,
    }
    if model.task == Task.TTS:
        answer |= {"sample_rate": model.sample_rate, "voices": [_voice(voice) for voice in model.voices]}
    return answer


def _voice(voice: Voice) -> dict[str, Any]:
    known = {"id": voice.id, "name": voice.name, "language": voice.language}
    return known | ({"gender": voice.gender} if voice.gender else {})
