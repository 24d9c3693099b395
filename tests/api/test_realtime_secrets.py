"""Short-lived keys for browsers: what is minted is what a session opened with it has."""

from __future__ import annotations

import secrets
import time
from typing import Any

import openai
import pytest
from openai.types.beta.realtime import SessionCreateResponse, TranscriptionSession
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter

from tests.api.conftest import MakeApp
from tests.api.realtime_client import Place, talking
from tests.fakes import PATIENCE

KEY = "wellhidden"


def opened_with(secret: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {secret}"}}


async def minted(place: Place, path: str, body: Any, status: int = 200) -> Any:
    async with place.server.client(headers={"Authorization": f"Bearer {KEY}"}) as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_secret_opens_the_session_it_was_made_for(make_app: MakeApp) -> None:
    session: Any = {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "output_modalities": ["text"],
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "marin", "speed": 1.25}},
        "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
    }
    async with (
        talking(make_app, "Hello.", api_key=KEY) as place,
        openai.AsyncOpenAI(base_url=f"{place.server.url}/v1", api_key=KEY, max_retries=0) as sdk,
    ):
        secret = await sdk.realtime.client_secrets.create(session=session)
        assert secret.value.startswith("ek_") and abs(secret.expires_at - time.time() - 600) < PATIENCE
        raw = secret.to_dict()
        TypeAdapter(ClientSecretCreateResponse).validate_python(raw, strict=True)
        async with place.client("/v1/realtime", **opened_with(secret.value)) as client:
            created = client.events[0]["session"]
            told: Any = raw["session"]
            assert {**created, "id": "", "expires_at": 0} == {**told, "id": "", "expires_at": 0}
            assert created["instructions"] == "Be brief." and created["audio"]["output"]["speed"] == 1.25
            await client.send("response.create")
            assert (await client.until("response.done"))["response"]["output_modalities"] == ["text"]
        # It is good for any number of sessions while it lasts, and the user of one may change it.
        async with place.client("/v1/realtime", **opened_with(secret.value)) as client:
            assert (await client.update(instructions="Be long."))["session"]["instructions"] == "Be long."


async def test_a_secret_may_be_for_transcription(make_app: MakeApp) -> None:
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1", "language": "de"}}}}
    async with talking(make_app, api_key=KEY) as place:
        secret = await minted(place, "/v1/realtime/client_secrets", {"session": session})
        async with place.client("/v1/realtime", **opened_with(secret["value"])) as client:
            created = client.events[0]["session"]
            assert created["type"] == "transcription"
            assert created["audio"]["input"]["transcription"] == {"model": "whisper-1", "language": "de"}


async def test_how_long_a_secret_lasts(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        for seconds in (10, 7200):
            body = {"expires_after": {"anchor": "created_at", "seconds": seconds}}
            secret = await minted(place, "/v1/realtime/client_secrets", body)
            assert abs(secret["expires_at"] - time.time() - seconds) < PATIENCE
        for wrong in ({"seconds": 9}, {"seconds": 7201}, {"seconds": "soon"}, {"anchor": "tomorrow"}, 5):
            error = (await minted(place, "/v1/realtime/client_secrets", {"expires_after": wrong}, 400))["error"]
            assert error["param"].startswith("expires_after"), wrong


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "realtime", "output_modalities": ["smell"]}, "session.output_modalities"),
        ({"type": "realtime", "audio": {"output": {"speed": 9}}}, "session.audio.output.speed"),
        ({"type": "realtime", "instructions": 5}, "session.instructions"),
        ({"type": "realtime", "instructions": secrets.token_hex(9000)}, "session"),  # no header would hold it
        ({"type": "singing"}, "session.type"),
        (["realtime"], "session"),
    ],
)
async def test_what_is_wrong_with_a_session_is_said_when_it_is_minted(
    make_app: MakeApp, session: Any, param: str
) -> None:
    async with talking(make_app, api_key=KEY) as place:
        error = (await minted(place, "/v1/realtime/client_secrets", {"session": session}, 400))["error"]
        assert error["param"].startswith(param), error


async def test_without_a_wish_it_is_a_session_as_any(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        secret = await minted(place, "/v1/realtime/client_secrets", {})
        assert secret["session"]["type"] == "realtime"


async def test_a_session_of_megabytes_is_not_even_read(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        for path in ("client_secrets", "sessions", "transcription_sessions"):
            error = (await minted(place, f"/v1/realtime/{path}", {"session": "x" * 2**20}, 413))["error"]
            assert error["code"] == "request_too_large"


async def test_the_secrets_of_the_beta(make_app: MakeApp) -> None:
    async with talking(make_app, api_key=KEY) as place:
        body: dict[str, Any] = {"model": "gpt-4o-realtime-preview", "modalities": ["text"], "voice": "verse"}
        session = await minted(place, "/v1/realtime/sessions", {**body, "input_audio_format": "g711_ulaw"})
        SessionCreateResponse.model_validate(session, strict=True)
        assert session["modalities"] == ["text"] and session["input_audio_format"] == "g711_ulaw"
        secret = session["client_secret"]
        assert abs(secret["expires_at"] - time.time() - 600) < PATIENCE
        beta = {"OpenAI-Beta": "realtime=v1", "Authorization": f"Bearer {secret['value']}"}
        async with place.client(beta=True, additional_headers=beta) as client:
            assert client.events[0]["session"]["voice"] == "verse"
            assert client.events[0]["session"]["input_audio_format"] == "g711_ulaw"
        # A client of today may be opened by it too.
        async with place.client("/v1/realtime", **opened_with(secret["value"])) as client:
            assert client.events[0]["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}

        body = {"input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
        session = await minted(place, "/v1/realtime/transcription_sessions", body)
        TranscriptionSession.model_validate(session, strict=True)
        async with place.client("/v1/realtime", **opened_with(session["client_secret"]["value"])) as client:
            given = client.events[0]["session"]["audio"]["input"]
            assert (given["transcription"], given["turn_detection"]) == ({"model": "whisper-1"}, None)
        for path in ("sessions", "transcription_sessions"):
            error = (await minted(place, f"/v1/realtime/{path}", {"turn_detection": {"type": "ears"}}, 400))["error"]
            assert "turn_detection" in error["param"]
