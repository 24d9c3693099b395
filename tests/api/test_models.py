"""Models on disk, on the hub and in memory."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from speaches.api.state import AUDIO_THREADS
from speaches.app import create_app
from speaches.engines import piper
from speaches.models import hub as hub_client
from speaches.models import registry
from speaches.settings import Settings
from tests.api.conftest import ALIASES, KOKORO, PIPER, WHISPER, MakeApp
from tests.api.serving import listen, serving, url_of
from tests.fakes import PATIENCE, RECOGNISER_ID, VOICE_ID, FakeEngines, Gate
from tests.hub import LoopbackHub, running_hub
from tests.recordings import tone, wav

BUILT_IN = {"speaches/espeak-ng", "speaches/pocketsphinx-en-us", "silero_vad_v6"}


def listed(http: httpx.Client, path: str = "/v1/models", name: str = "data") -> dict[str, dict[str, object]]:
    answer = http.get(path).json()
    assert answer["object"] == "list"
    ids = [model["id"] for model in answer[name]]
    assert len(set(ids)) == len(ids)
    return {model["id"]: model for model in answer[name]}


def test_aliases_are_listed_where_their_target_is_on_disk(http: httpx.Client) -> None:
    models = listed(http)
    assert BUILT_IN | {KOKORO, PIPER, WHISPER, *ALIASES} <= set(models)
    assert {"tiny", "base.en", "large-v3"}.isdisjoint(models)  # nothing of Systran's is here
    assert models["whisper-1"] == models[WHISPER] | {"id": "whisper-1"}


def test_models_have_the_shape_that_clients_know(http: httpx.Client) -> None:
    models = listed(http)
    whisper, kokoro = models[WHISPER], models[KOKORO]
    assert set(whisper) == {"id", "object", "created", "owned_by", "task", "language"}
    assert (whisper["object"], whisper["owned_by"]) == ("model", "speaches-test")
    assert whisper["task"] == "automatic-speech-recognition"
    assert set(kokoro) == set(whisper) | {"sample_rate", "voices"}
    assert kokoro["sample_rate"] == 24_000
    voices = kokoro["voices"]
    assert isinstance(voices, list)
    assert {"id": "af_heart", "name": "Heart", "language": "en-US", "gender": "female"} in voices
    assert all(model["created"] for model in models.values())


@pytest.mark.parametrize(
    "task", ["automatic-speech-recognition", "text-to-speech", "voice-activity-detection", "speaker-embedding"]
)
def test_models_by_task(http: httpx.Client, task: str) -> None:
    everything = listed(http)
    found = listed(http, f"/v1/models?task={task}")
    assert found == {name: model for name, model in everything.items() if model["task"] == task}


def test_the_lists_that_open_webui_asks_for(http: httpx.Client) -> None:
    models = listed(http, "/v1/audio/models", "models")
    assert {"whisper-1", "tts-1", KOKORO} <= set(models) and "silero_vad_v6" not in models
    voices = http.get("/v1/audio/voices").json()["voices"]
    assert {voice["model"] for voice in voices} >= {KOKORO, PIPER, "speaches/espeak-ng"}
    assert all(voice["id"] and voice["name"] for voice in voices)
    one = http.get("/v1/audio/voices", params={"model": "tts-1"}).json()["voices"]
    assert [voice for voice in voices if voice["model"] == KOKORO] == one


@pytest.mark.parametrize(
    "name", [KOKORO, "speaches-test%2Fkokoro-synth", "tts-1", "silero_vad_v5", "speaches/espeak-ng"]
)
def test_one_model_by_its_id_or_alias(http: httpx.Client, name: str) -> None:
    answer = http.get(f"/v1/models/{name}")
    assert (answer.status_code, answer.json()["id"]) == (200, name.replace("%2F", "/"))


def test_the_registry_is_our_own_list_where_the_hub_can_not_be_reached(http: httpx.Client) -> None:
    answer = http.get("/v1/registry").json()
    assert (answer["object"], answer["source"]) == ("list", "curated")
    assert all(set(entry) == {"id", "object", "created", "owned_by", "task", "language"} for entry in answer["data"])
    assert "speaches-ai/Kokoro-82M-v1.0-ONNX" in {entry["id"] for entry in answer["data"]}
    speaks = http.get("/v1/registry", params={"task": "text-to-speech"}).json()["data"]
    assert speaks == [entry for entry in answer["data"] if entry["task"] == "text-to-speech"]


async def test_a_model_is_loaded_and_unloaded(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app(model_aliases={"mine": VOICE_ID})) as server, server.client() as client:
        assert (await client.get("/api/ps")).json() == {"models": [], "downloads": {}}
        answer = await client.post("/api/ps/mine")
        assert (answer.status_code, answer.json()) == (201, {"message": f"Model '{VOICE_ID}' loaded."})
        assert (await client.get("/api/ps")).json()["models"] == [VOICE_ID]
        again = await client.post(f"/api/ps/{VOICE_ID}")
        assert (again.status_code, again.json()["error"]["message"]) == (409, f"Model '{VOICE_ID}' already loaded.")
        answer = await client.delete("/api/ps/mine")
        assert (answer.status_code, answer.json()) == (200, {"message": "Model mine unloaded."})
        assert (await client.get("/api/ps")).json()["models"] == []
        assert (await client.delete("/api/ps/mine")).status_code == 404
        assert engines.voice_kind.loads == 1
        assert (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code == 200


async def test_two_who_load_a_model_load_it_once(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice_kind.gate.close()
    async with serving(make_app()) as server, server.client() as client:
        tasks = [asyncio.create_task(client.post(f"/api/ps/{VOICE_ID}")) for _ in range(3)]
        await engines.voice_kind.gate.reached()
        engines.voice_kind.gate.open()
        assert {answer.status_code for answer in await asyncio.gather(*tasks)} <= {201, 409}
        assert engines.voice_kind.loads == 1


async def test_a_busy_model_stays(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.gate.close()
    async with serving(make_app()) as server, server.client() as client:
        hearing = asyncio.create_task(client.post("/v1/audio/transcriptions", files={"file": wav(tone(440, 1))}))
        await engines.recogniser.gate.reached()
        answer = await client.delete(f"/api/ps/{RECOGNISER_ID}")
        assert (answer.status_code, "in use" in answer.json()["error"]["message"]) == (409, True)
        assert RECOGNISER_ID in (await client.get("/api/ps")).json()["models"]
        engines.recogniser.gate.open()
        assert (await hearing).json()["text"] == "hello"
        assert not engines.recogniser.closed


@pytest.fixture
def own_models(tmp_path: Path, tiny_models: Path) -> Path:
    """A folder for MODEL_DIRS that a test may spoil."""
    folder = tmp_path / "models"
    shutil.copytree(tiny_models / PIPER, folder / PIPER)
    return folder


@pytest.fixture
def own_app(settings: Settings, own_models: Path) -> FastAPI:
    return create_app(settings.model_copy(update={"model_dirs": [own_models], "auto_download": False}))


async def test_a_loaded_model_is_deleted_from_memory_and_disk(own_app: FastAPI, own_models: Path) -> None:
    async with serving(own_app) as server, server.client() as client:
        assert (await client.post(f"/api/ps/{PIPER}")).status_code == 201
        answer = await client.delete(f"/v1/models/{PIPER}")
        assert answer.status_code == 200
        assert answer.json()["detail"] == f"Model '{PIPER}' deleted"
        assert (answer.json()["id"], answer.json()["object"], answer.json()["deleted"]) == (PIPER, "model", True)
        assert not (own_models / PIPER).exists()
        assert (await client.get("/api/ps")).json()["models"] == []
        assert (await client.get(f"/v1/models/{PIPER}")).status_code == 404
        assert (await client.delete(f"/v1/models/{PIPER}")).status_code == 404
        answer = await client.post("/v1/audio/speech", json={"input": "Hello.", "model": PIPER})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_model_in_use_is_not_deleted(own_app: FastAPI, own_models: Path) -> None:
    async with serving(own_app) as server, server.client() as client:
        model = await server.state.models.find(PIPER)
        assert model is not None
        async with server.state.models.pool.use(model):
            answer = await client.delete(f"/v1/models/{PIPER}")
            assert (answer.status_code, "in use" in answer.json()["error"]["message"]) == (409, True)
            assert (own_models / PIPER / "model.onnx").exists()
        assert (await client.post("/v1/audio/speech", json={"input": "Hello.", "model": PIPER})).status_code == 200


class GatedPiper:
    """Piper, whose models load when the gate lets them."""

    def __init__(self) -> None:
        self.gate = Gate()

    def __getattr__(self, name: str) -> Any:
        return getattr(piper, name)

    def load(self, folder: Path | None, settings: Settings) -> piper.Piper:
        with self.gate:
            return piper.load(folder, settings)


async def test_a_model_that_is_being_loaded_is_not_deleted(settings: Settings, own_models: Path) -> None:
    kind = GatedPiper()
    app = create_app(settings.model_copy(update={"model_dirs": [own_models]}), kinds=[kind])
    async with serving(app) as server, server.client() as client:
        kind.gate.close()
        loading = asyncio.create_task(client.post(f"/api/ps/{PIPER}"))
        await kind.gate.reached()
        answer = await client.delete(f"/v1/models/{PIPER}")
        assert (answer.status_code, "being loaded" in answer.json()["error"]["message"]) == (409, True)
        kind.gate.open()
        assert (await loading).status_code == 201
        assert (own_models / PIPER / "model.onnx").exists()


async def test_what_is_built_in_is_not_deleted_and_stays_in_memory(own_app: FastAPI) -> None:
    async with serving(own_app) as server, server.client() as client:
        assert (await client.post("/api/ps/speaches/espeak-ng")).status_code == 201
        for name in sorted(BUILT_IN):
            answer = await client.delete(f"/v1/models/{name}")
            assert (answer.status_code, "built in" in answer.json()["error"]["message"]) == (403, True)
            assert (await client.get(f"/v1/models/{name}")).status_code == 200
        assert (await client.get("/api/ps")).json()["models"] == ["speaches/espeak-ng"]


@pytest.fixture
def hub(tiny_models: Path) -> Iterator[LoopbackHub]:
    with running_hub(tiny_models) as hub:
        yield hub


@pytest.fixture
def hub_app(settings: Settings, hub: LoopbackHub, clean_environment: pytest.MonkeyPatch) -> FastAPI:
    """A server without models, and a hub that has them."""
    clean_environment.setenv("HF_ENDPOINT", hub.url)
    for asks in (hub_client, registry):
        clean_environment.setattr(asks, "TIMEOUT", PATIENCE)
    return create_app(settings.model_copy(update={"model_dirs": []}))


async def test_a_model_is_pulled_from_the_hub(hub_app: FastAPI) -> None:
    async with serving(hub_app) as server, server.client() as client:
        answer = await client.post(f"/v1/models/{PIPER}")
        assert (answer.status_code, answer.text) == (200, f"Model '{PIPER}' downloaded")
        answer = await client.post(f"/v1/models/{PIPER}")
        assert (answer.status_code, answer.text) == (201, f"Model '{PIPER}' already exists")
        assert (await client.get(f"/v1/models/{PIPER}")).status_code == 200
        assert (await client.post("/v1/audio/speech", json={"input": "Hello.", "model": PIPER})).status_code == 200
        assert (await client.delete(f"/v1/models/{PIPER}")).status_code == 200
        assert (await client.get(f"/v1/models/{PIPER}")).status_code == 404


async def test_a_model_is_pulled_by_the_request_that_names_it(hub_app: FastAPI, hub: LoopbackHub) -> None:
    async with serving(hub_app) as server, server.client() as client:
        body = {"input": "Hello.", "model": PIPER}
        answers = await asyncio.gather(*[client.post("/v1/audio/speech", json=body) for _ in range(4)])
        assert [answer.status_code for answer in answers] == [200] * 4
        assert hub.asked("model.onnx") == 1


async def test_a_download_is_seen_in_memory_and_outlives_its_client(hub_app: FastAPI, hub: LoopbackHub) -> None:
    hold = hub.held["model.onnx"] = threading.Event()
    async with serving(hub_app) as server, server.client() as client:
        async with server.send(f"POST /v1/models/{PIPER}", x_request_id="leaves"):
            await asyncio.to_thread(hub.holding.wait)
            downloads = (await client.get("/api/ps")).json()["downloads"]
            assert set(downloads) == {PIPER}
            assert downloads[PIPER]["bytes_total"] > downloads[PIPER]["bytes_done"] >= 0
        assert await server.log.ended("leaves") == 499
        again = asyncio.create_task(client.post(f"/v1/models/{PIPER}"))
        hold.set()
        assert (await again).status_code in (200, 201)
        assert hub.asked("model.onnx") == 1


async def test_a_model_that_the_hub_does_not_have(hub_app: FastAPI) -> None:
    async with serving(hub_app) as server, server.client() as client:
        for answer in (
            await client.post("/v1/models/no/such"),
            await client.post("/v1/audio/speech", json={"input": "Hello.", "model": "no/such"}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        answer = await client.post("/v1/audio/speech", json={"input": "Hello.", "model": "no/such"})
        message = answer.json()["error"]["message"]
        assert "speaches models pull no/such" in message and "speaches/espeak-ng" in message


async def test_the_registry_of_the_hub(hub_app: FastAPI) -> None:
    async with serving(hub_app) as server, server.client() as client:
        answer = (await client.get("/v1/registry")).json()
        assert answer["source"] == "hub"
        assert "speaches/espeak-ng" in {entry["id"] for entry in answer["data"]}


async def test_a_hub_that_does_not_answer_keeps_no_recording_waiting(
    settings: Settings, clean_environment: pytest.MonkeyPatch, engines: FakeEngines
) -> None:
    silent = listen()
    clean_environment.setenv("HF_ENDPOINT", url_of(silent))
    clean_environment.setattr(registry, "TIMEOUT", PATIENCE)
    app = create_app(engines.settings(settings), kinds=engines.kinds)
    async with serving(app) as server, server.client() as client:
        asking = [asyncio.create_task(client.get("/v1/registry")) for _ in range(AUDIO_THREADS)]
        first, _ = await asyncio.to_thread(silent.accept)  # a question has come
        heard = await client.post("/v1/audio/transcriptions", files={"file": wav(tone(440, 1))})
        assert heard.json()["text"] == "hello"
        assert not any(task.done() for task in asking)
        first.close()
        silent.close()  # now nobody listens, and that is known at once
        answers = await asyncio.gather(*asking)
        assert {answer.json()["source"] for answer in answers} == {"curated"}
