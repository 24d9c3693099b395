"""Alive, ready, well; metrics, documentation, CORS and request ids."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from speaches.app import create_app
from speaches.models.models import FIRST_WORDS
from speaches.settings import Settings
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, form, samples, serving
from tests.conftest import LONGEST_TEST
from tests.fakes import PATIENCE, RECOGNISER_ID, VOICE_ID, FakeEngines
from tests.recordings import tone, wav


async def statuses(client: httpx.AsyncClient, *paths: str) -> list[int]:
    return [(await client.get(path)).status_code for path in paths]


STATES = ("/health", "/healthz", "/readyz", "/ping")


async def test_ready_when_nothing_is_to_be_preloaded(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        assert await statuses(client, *STATES) == [200, 200, 200, 200]
        assert (await client.get("/health")).json() == {"message": "OK"}
        assert (await client.head("/health")).status_code == 200
        assert (await client.head("/healthz")).status_code == 200


async def test_alive_but_not_ready_while_models_preload(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice_kind.gate.close()
    async with serving(make_app(preload_models=[VOICE_ID, RECOGNISER_ID])) as server, server.client() as client:
        await engines.voice_kind.gate.reached()
        assert await statuses(client, *STATES) == [200, 200, 503, 204]
        assert (await client.get("/ping")).content == b""
        engines.recogniser.gate.close()
        engines.voice_kind.gate.open()
        await engines.recogniser.gate.reached()  # the warm-up of the second one
        assert await statuses(client, *STATES) == [200, 200, 503, 204]
        engines.recogniser.gate.open()
        await preloaded(server)
        assert await statuses(client, *STATES) == [200, 200, 200, 200]
        assert (await client.get("/api/ps")).json()["models"] == [VOICE_ID, RECOGNISER_ID]
        assert [piece.text for piece in engines.voice.pieces] == list(FIRST_WORDS)
        assert len(engines.recogniser.calls) == 1


async def test_who_made_the_application_is_told_when_all_is_loaded(settings: Settings, engines: FakeEngines) -> None:
    engines.voice_kind.gate.close()
    loaded = asyncio.Event()
    app = create_app(engines.settings(settings, preload_models=[VOICE_ID]), engines.kinds, when_ready=loaded.set)
    async with serving(app):
        await engines.voice_kind.gate.reached()
        assert not loaded.is_set()
        engines.voice_kind.gate.open()
        await asyncio.wait_for(loaded.wait(), PATIENCE)


async def preloaded(server: Serving) -> None:
    async with server.client() as client:
        await client.get("/health")  # from then on the task is there, or has been
    if tasks := [task for task in asyncio.all_tasks() if task.get_name() == "preload"]:
        await asyncio.wait(tasks)


async def test_a_server_without_a_model_that_it_was_to_preload_is_alive_but_not_ready(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    engines.voice_kind.error = ValueError("half a file")
    app = make_app(preload_models=["no/such", VOICE_ID, RECOGNISER_ID], auto_download=False)
    async with serving(app) as server, server.client() as client:
        await preloaded(server)
        assert await statuses(client, *STATES) == [200, 200, 503, 503]
        answer = (await client.get("/readyz")).json()
        assert (answer["status"], [one["model"] for one in answer["missing"]]) == ("failed", ["no/such", VOICE_ID])
        assert "not on disk" in answer["missing"][0]["reason"]
        assert answer["error"]["code"] == "preload_failed"
        assert all(word in answer["error"]["message"] for word in ("no/such", "AUTO_DOWNLOAD", VOICE_ID))
        assert (await client.get("/api/ps")).json()["models"] == [RECOGNISER_ID]
        told = "\n".join(server.log.problems())
        assert "no/such" in told and VOICE_ID in told and "half a file" in told


async def test_a_model_that_a_request_has_after_all_makes_the_server_ready(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    engines.voice_kind.error = ValueError("half a file")
    async with serving(make_app(preload_models=[VOICE_ID, RECOGNISER_ID])) as server, server.client() as client:
        await preloaded(server)
        assert (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code >= 500
        assert await statuses(client, *STATES) == [200, 200, 503, 503]
        engines.voice_kind.error = None
        assert (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code == 200
        assert await statuses(client, *STATES) == [200, 200, 200, 200]


async def test_a_bug_while_preloading_is_told_and_leaves_the_server_up(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.error = RuntimeError("the warm-up")
    async with serving(make_app(preload_models=[VOICE_ID, RECOGNISER_ID])) as server, server.client() as client:
        await preloaded(server)
        assert await statuses(client, *STATES) == [200, 200, 503, 503]
        assert RECOGNISER_ID in (await client.get("/api/ps")).json()["models"], (
            "the models after it are ready all the same"
        )
        assert any("the warm-up" in traceback for traceback in server.log.tracebacks())
        assert "the warm-up" not in (await client.get("/readyz")).text, "a bug's details are for the log"
        engines.voice.error = None
        assert (await client.post("/v1/audio/speech", json={"input": "Hello."})).status_code == 200
        assert await statuses(client, *STATES) == [200, 200, 200, 200]


async def test_the_self_test_takes_its_steps(server_url: str) -> None:
    async with httpx.AsyncClient(base_url=server_url, timeout=LONGEST_TEST) as client:
        answer = await client.get("/selftest")
    report = answer.json()
    assert (answer.status_code, report["status"]) == (200, "ok")
    assert [(step["name"], step["ok"]) for step in report["steps"]] == [
        ("speak", True), ("find the speech", True), ("hear the words", True),
    ]  # fmt: skip
    assert all(step["milliseconds"] > 0 and step["detail"] for step in report["steps"])
    assert "error" not in report


async def test_the_self_test_fails_where_a_step_does(make_app: MakeApp) -> None:
    """The fake engines are other ones than the built-in ones that it asks for."""
    async with serving(make_app(auto_download=False)) as server, server.client() as client:
        answer = await client.get("/selftest")
        assert (answer.status_code, answer.json()["status"]) == (500, "failed")
        assert [(step["name"], step["ok"]) for step in answer.json()["steps"]] == [("speak", False)]
        assert answer.json()["error"]["code"] == "selftest_failed"
        assert "speak" in answer.json()["error"]["message"]


async def test_metrics_of_routes_models_and_audio(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server, server.client() as client:
        await client.post("/v1/audio/speech", json={"input": "one two three four five six seven eight nine ten"})
        await client.post("/v1/audio/transcriptions", files={"file": wav(tone(440, 2))})
        for name in ("a/b", "c/d", "e/f"):
            await client.get(f"/v1/models/{name}")
        await client.get("/nothing/here")
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"speaches_request_seconds", "speaches_model_queue", "speaches_model_tasks_waiting"} <= families
        counts = samples(answer.text, "speaches_request_seconds_count")
        routes = {(dict(labels)["route"], dict(labels)["status"]): count for labels, count in counts.items()}
        assert routes == {
            ("/v1/audio/speech", "200"): 1,
            ("/v1/audio/transcriptions", "200"): 1,
            ("/v1/models/{model_id:path}", "404"): 3,
            ("unknown", "404"): 1,
        }
        audio = {
            dict(labels)["kind"]: value
            for labels, value in samples(answer.text, "speaches_audio_seconds_total").items()
        }
        assert audio["heard"] == pytest.approx(2, abs=0.1)
        assert audio["spoken"] == pytest.approx(1, abs=0.1)
        users = {dict(labels)["model"]: value for labels, value in samples(answer.text, "speaches_model_users").items()}
        assert users == {VOICE_ID: 0, RECOGNISER_ID: 0, "silero_vad_v6": 0}
        assert samples(answer.text, "speaches_requests_in_progress") == {(): 1}


DOCUMENTED = {
    "/v1/audio/speech": {"post"}, "/v1/audio/speech/captions": {"post"},
    "/v1/audio/transcriptions": {"post"}, "/v1/audio/translations": {"post"},
    "/v1/audio/speech/timestamps": {"post"}, "/v1/models": {"get"}, "/v1/models/{model_id}": {"get", "post", "delete"},
    "/v1/audio/models": {"get"}, "/v1/audio/voices": {"get", "post"}, "/v1/audio/voices/{voice_id}": {"get", "delete"},
    "/v1/audio/voices/{voice_id}/preview": {"get"}, "/v1/registry": {"get"}, "/api/ps": {"get"},
    "/api/ps/{model_id}": {"post", "delete"},
    "/health": {"get"}, "/readyz": {"get"}, "/ping": {"get"}, "/metrics": {"get"}, "/selftest": {"get"},
}  # fmt: skip


def test_every_route_is_documented(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "speaches"
    found = {path: set(methods) for path, methods in document["paths"].items()}
    assert {path: found.get(path) for path in DOCUMENTED} == DOCUMENTED
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation["responses"] and operation["summary"] and operation["tags"] for operation in operations)
    assert references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech/timestamps"])
def test_uploads_are_documented_as_forms_and_json(http: httpx.Client, path: str) -> None:
    content = http.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    schema = content["multipart/form-data"]["schema"]
    assert schema["required"] == ["file"]
    assert schema["properties"]["file"]["format"] == "binary"
    assert "model" in schema["properties"]
    assert all("description" in facts or "default" in facts for facts in schema["properties"].values())


def test_pages_for_people(http: httpx.Client) -> None:
    for path in ("/docs", "/redoc"):
        page = http.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "/openapi.json" in page.text


ORIGIN = "https://example.org"


async def test_browsers_may_ask_what_they_may_do_without_a_key(make_app: MakeApp) -> None:
    app = make_app(api_key="right", allow_origins=[ORIGIN])
    async with serving(app) as server, server.client() as client:
        asks = {
            "origin": ORIGIN,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        answer = await client.options("/v1/audio/speech", headers=asks)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"].lower()
        assert answer.headers["x-request-id"]
        refused = await client.options("/v1/audio/speech", headers=asks | {"origin": "https://evil.example"})
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)


@pytest.mark.parametrize("origins", [[ORIGIN], ["*"]])
async def test_browsers_may_read_errors_too(make_app: MakeApp, engines: FakeEngines, origins: list[str]) -> None:
    engines.voice.error = RuntimeError("broken")
    app = make_app(api_key="right", allow_origins=origins, max_upload_bytes=100)
    async with serving(app) as server, server.client(headers={"origin": ORIGIN}) as client:
        key = {"authorization": "Bearer right"}
        answers = [
            await client.get("/v1/models"),
            await client.get("/nothing", headers=key),
            await client.put("/v1/models", headers=key),
            await client.post("/v1/audio/transcriptions", content=bytes(101), headers=key),
            await client.post("/v1/audio/speech", json={"input": "Hi."}, headers=key),
            await client.post("/v1/audio/speech", json={"input": ""}, headers=key),
            await client.get("/health"),
        ]
        assert [answer.status_code for answer in answers] == [401, 404, 405, 413, 500, 400, 200]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] in (ORIGIN, "*")
            assert (
                answer.headers["access-control-expose-headers"]
                == "x-request-id, x-cache, x-ignored-parameters, location"
            )
            assert len(answer.headers.get_list("x-request-id")) == 1


async def test_a_path_that_takes_other_methods_lists_them(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for path, allowed in {
            "/v1/models": "GET",
            "/v1/models/a/b": "GET, POST, DELETE",
            "/api/ps/a": "POST, DELETE",
            "/health": "GET, HEAD",
            "/docs": "GET, HEAD",
        }.items():
            answer = await client.patch(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert allowed in answer.json()["error"]["message"]


async def test_every_answer_has_a_request_id(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.client() as client:
        seen = set()
        for method, path in [
            ("GET", "/health"),
            ("GET", "/nothing"),
            ("PUT", "/health"),
            ("GET", "/docs"),
            ("GET", "/metrics"),
            ("OPTIONS", "/health"),
            ("GET", "/v1/models"),
            ("POST", "/v1/audio/speech"),
        ]:
            answer = await client.request(method, path)
            seen.add(answer.headers["x-request-id"])
        assert len(seen) == 8
        assert all(request_id.startswith("req_") for request_id in seen)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("job-17.a_B", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("", False), ("caf\xe9", False)],
)
async def test_a_client_may_choose_the_request_id(make_app: MakeApp, given: str, kept: bool) -> None:
    async with serving(make_app()) as server, server.send("GET /health", x_request_id=given) as connection:
        _, headers, _ = await connection.answer()
        assert (headers["x-request-id"] == given) is kept
        assert headers["x-request-id"].isascii()


async def test_a_path_can_not_write_lines_of_its_own_into_the_log(make_app: MakeApp) -> None:
    async with serving(make_app()) as server, server.send("GET /a%0aINFO%20all%20is%20well%1b[31m") as connection:
        assert (await connection.answer())[0] == 404
        (line,) = [record.getMessage() for record in server.log.records if "well" in record.getMessage()]
        assert line.isprintable()


async def test_settings_of_tests_do_not_leak(settings: Settings) -> None:
    """`create_app` takes all that it needs from its arguments: two servers in a process are strangers."""
    one, two = create_app(settings), create_app(settings.model_copy(update={"max_upload_bytes": 10}))
    body, kind = form(("file", b"x" * 100, "a", "audio/wav"))
    for app, status in ((one, 400), (two, 413)):
        async with serving(app) as server, server.client() as client:
            answer = await client.post("/v1/audio/speech/timestamps", content=body, headers={"content-type": kind})
            assert (answer.status_code, "error" in json.loads(answer.text)) == (status, True)
