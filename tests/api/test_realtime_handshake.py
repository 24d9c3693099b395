"""How a Realtime session is opened, or refused before it is a WebSocket."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

from speaches.realtime.secrets import ClientSecrets
from tests.api.conftest import MakeApp
from tests.api.realtime_client import Place, talking
from tests.api.serving import samples
from tests.fakes import PATIENCE

KEY = "wellhidden"
BROWSER = f"openai-insecure-api-key.{KEY}"


def offering(*names: str) -> list[Subprotocol]:
    return [Subprotocol(name) for name in names]


async def refused(place: Place, path: str = "/v1/realtime", **options: Any) -> tuple[Response, dict[str, Any]]:
    """The answer in place of a WebSocket, and its error."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(place.url + path, open_timeout=PATIENCE, **options):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    error: dict[str, Any] = json.loads(response.body)["error"]
    assert error["message"] and set(error) == {"message", "type", "param", "code"}
    return response, error


@pytest.mark.parametrize("path", ["/v1/realtime", "/realtime"])
async def test_a_key_may_be_wherever_clients_put_it(make_app: MakeApp, path: str) -> None:
    async with talking(make_app, api_key=KEY) as place:
        for name, value in {"Authorization": f"Bearer {KEY}", "X-API-Key": KEY, "api-key": KEY}.items():
            async with place.client(path, additional_headers={name: value}) as client:
                assert client.sent() == ["session.created"]
                assert client.socket.subprotocol is None
        async with place.client(f"{path}?api_key={KEY}") as client:
            assert client.sent() == ["session.created"]
        async with place.client(path, subprotocols=offering("realtime", BROWSER, "openai-project.p")) as client:
            assert client.socket.subprotocol == "realtime"


async def test_without_the_right_key_there_is_no_websocket(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        wrong: list[dict[str, Any]] = [
            {},
            {"additional_headers": {"Authorization": "Bearer wrong"}},
            {"additional_headers": {"api-key": "wrong"}},
            {"path": "/realtime?api_key=wrong"},
            {"path": "/v1/realtime?api_key="},
            {"subprotocols": offering("realtime", "openai-insecure-api-key.wrong")},
            {"subprotocols": offering("realtime", "openai-insecure-api-key.")},
            {"additional_headers": {"Authorization": f"Bearer {KEY}", "api-key": "another"}},
            {"additional_headers": {"api-key": "another"}, "path": f"/v1/realtime?api_key={KEY}"},
            {"additional_headers": {"api-key": "another"}, "subprotocols": offering("realtime", BROWSER)},
        ]
        for options in wrong:
            response, error = await refused(place, **options)
            assert (response.status_code, error["code"]) == (401, "invalid_api_key"), options
            assert response.headers["www-authenticate"] == "Bearer"
        assert place.server.state.sessions == 0
        assert place.server.log.problems() == []  # a wrong key is the client's mistake


async def test_a_client_secret_opens_only_a_session(make_app: MakeApp) -> None:
    now = int(time.time())
    mine = ClientSecrets(KEY)
    good = mine.mint({"type": "realtime", "instructions": "Be brief."}, now + 60)
    async with talking(make_app, api_key=KEY) as place:
        async with place.client(additional_headers={"Authorization": f"Bearer {good}"}) as client:
            assert client.events[0]["session"]["instructions"] == "Be brief."
        browser = offering("realtime", f"openai-insecure-api-key.{good}")
        async with place.client(subprotocols=browser) as client:
            assert client.events[0]["session"]["instructions"] == "Be brief."
        bad = [
            mine.mint({"type": "realtime"}, now),  # expired
            ClientSecrets("another key").mint({"type": "realtime"}, now + 60),
            good[:-1],
            "ek_",
            "ek_" + "x" * 5000,
        ]
        for secret in bad:
            response, error = await refused(place, additional_headers={"Authorization": f"Bearer {secret}"})
            assert (response.status_code, error["code"]) == (401, "invalid_api_key"), secret
        async with place.server.client(headers={"Authorization": f"Bearer {good}"}) as http:
            assert (await http.get("/v1/models")).status_code == 401
            assert (await http.post("/v1/realtime/client_secrets", json={})).status_code == 401


async def test_what_is_asked_for_is_checked_before_the_upgrade(make_app: MakeApp) -> None:
    async with talking(make_app) as place:
        response, error = await refused(place, "/v1/realtime?intent=singing")
        assert (response.status_code, error["param"], error["code"]) == (400, "intent", "invalid_value")
        response, error = await refused(place, "/v1/realtime?intent=transcription&language=klingon")
        assert response.status_code == 400 and "klingon" in error["message"]
        response, error = await refused(place, "/v1/realtime?call_id=rtc_1")
        assert (response.status_code, error["param"], error["code"]) == (400, "call_id", "unsupported_value")
        response, error = await refused(place, "/v1/nowhere")
        assert (response.status_code, error["code"]) == (404, "unknown_url")
        response, error = await refused(place, "/v1/audio/speech")
        assert (response.status_code, error["code"]) == (404, "unknown_url")
        assert place.server.log.tracebacks() == []


async def test_one_session_too_many_is_told_to_come_back(make_app: MakeApp) -> None:
    async with talking(make_app, realtime_max_sessions=2) as place:
        async with place.client(), place.client():
            response, error = await refused(place)
            assert (response.status_code, error["code"]) == (429, "rate_limit_exceeded")
            assert int(response.headers["retry-after"]) > 0
            assert "REALTIME_MAX_SESSIONS" in error["message"]
        await place.is_empty()
        async with place.client() as client:
            await client.is_alive()


async def test_sessions_are_counted_and_logged_without_their_keys(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        browser: dict[str, Any] = {"subprotocols": offering("realtime", BROWSER)}
        for path, options in ((f"/v1/realtime?api_key={KEY}", {}), ("/v1/realtime", browser)):
            async with place.client(path, **options):
                pass
            assert await place.server.log.ended(place.request_ids[-1]) == 101
        await refused(place, "/v1/realtime?api_key=wrong" + KEY)
        page = place.server.state.metrics.page(place.server.state.models).decode()
        counts = samples(page, "speaches_request_seconds_count")
        assert counts[("method", "WEBSOCKET"), ("route", "/v1/realtime"), ("status", "101")] == 2
        assert sum(counts.values()) == 3
        messages = [record.getMessage() for record in place.server.log.records]
        assert any("WEBSOCKET /v1/realtime 101" in message for message in messages)
        assert not any(KEY in message for message in messages)


async def test_a_browser_of_any_origin_may_come(make_app: MakeApp) -> None:
    """WebSockets know no CORS; what protects a session is its key."""
    async with talking(make_app, allow_origins=["https://mine.example"], api_key=KEY) as place:
        subprotocols = offering("realtime", BROWSER)
        async with place.client(origin="https://mine.example", subprotocols=subprotocols) as client:
            await client.is_alive()
        async with place.server.client(headers={"Origin": "https://mine.example"}) as http:
            answer = await http.options(
                "/v1/realtime/client_secrets",
                headers={"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
            )
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://mine.example"
