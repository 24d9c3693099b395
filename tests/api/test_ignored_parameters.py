"""Nothing is ignored in silence: what can't be honoured is refused, what means nothing here is named in the answer."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import httpx
import pytest

from speaches.api.answers import LONGEST_IGNORED
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, serving
from tests.api.test_bad_input import SECOND

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
TIMESTAMPS, SPEECH = "/v1/audio/speech/timestamps", "/v1/audio/speech"
HEADER = "x-ignored-parameters"


async def send_form(server: Serving, path: str, data: dict[str, Any], **files: bytes) -> httpx.Response:
    async with server.client() as client:
        answer: httpx.Response = await client.post(path, data=data, files={"file": SECOND} | files)
        return answer


async def send_json(server: Serving, path: str, body: dict[str, Any]) -> httpx.Response:
    async with server.client() as client:
        answer: httpx.Response = await client.post(path, json=body)
        return answer


REFUSED: list[tuple[str, Any]] = [
    *(("diarize", value) for value in ("true", "True", "1", "yes", "on", "maybe")),
    ("num_speakers", "2"),
    ("min_speakers", "1"),
    ("max_speakers", "0"),
    ("known_speaker_names[]", ["agent", "caller"]),
    ("known_speaker_names", "agent"),
    ("known_speaker_references[]", "data:audio/wav;base64,AAAA"),
    ("response_format", "diarized_json"),
    ("model", "gpt-4o-transcribe-diarize"),
    ("model", "GPT-4o-transcribe-diarize-2025-10-15"),
    ("advanced", '{"diarize": true}'),
    ("advanced", '{"min_speakers": 2}'),
]


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
async def test_what_asks_who_speaks_is_refused_until_it_works(make_app: MakeApp, path: str) -> None:
    async with serving(make_app()) as server:
        for name, value in REFUSED:
            answer = await send_form(server, path, {name: value})
            error = answer.json()["error"]
            param = "diarize" if "diarize" in str(value) and name == "advanced" else name.removesuffix("[]")
            assert answer.status_code == 400, (name, value)
            assert "not yet" in error["message"], error
            assert error["param"] == ("min_speakers" if "min_speakers" in str(value) else param), error


async def test_the_same_is_refused_in_json(make_app: MakeApp) -> None:
    audio = base64.b64encode(SECOND).decode()
    async with serving(make_app()) as server:
        for field, value in (("diarize", True), ("diarize", 1), ("num_speakers", 2), ("known_speaker_names", ["a"])):
            answer = await send_json(server, TRANSCRIPTIONS, {"file": audio, field: value})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


async def test_what_asks_for_no_speakers_is_taken(make_app: MakeApp) -> None:
    audio = base64.b64encode(SECOND).decode()
    async with serving(make_app()) as server:
        for value in ("false", "False", "0", "no", "off", ""):
            answer = await send_form(
                server, TRANSCRIPTIONS, {"diarize": value, "min_speakers": "", "known_speaker_names[]": ""}
            )
            assert (answer.status_code, answer.headers.get(HEADER)) == (200, None), value
        nothing: dict[str, Any] = {
            "diarize": False,
            "num_speakers": None,
            "known_speaker_names": [],
            "known_speaker_references": None,
        }
        for empty in (nothing, nothing | {"diarize": None}, {"advanced": {"diarize": False}}):
            answer = await send_json(server, TRANSCRIPTIONS, {"file": audio} | empty)
            assert answer.status_code == 200, answer.text


async def test_a_model_that_tells_speakers_apart_is_refused_in_voice_chat(make_app: MakeApp) -> None:
    asked = {"messages": [], "transcription_model": "gpt-4o-transcribe-diarize"}
    async with serving(make_app(chat_completion_base_url="http://127.0.0.1:1/v1")) as server:
        answer = await send_json(server, "/v1/chat/completions", asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "transcription_model")


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS, TIMESTAMPS])
async def test_parameters_of_a_form_that_mean_nothing_are_named(
    make_app: MakeApp, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"backend": "x", "user": "", "batch[]": ["1", "2"], "deep[er]": "3"}
    async with serving(make_app()) as server:
        with caplog.at_level(logging.INFO):
            answer = await send_form(server, path, fields, other=b"a file")
        assert (answer.status_code, answer.headers[HEADER]) == (200, "backend, batch, deep, other")
        assert sum("ignored parameters: backend, batch, deep, other" in line for line in caplog.messages) == 1
        assert HEADER not in (await send_form(server, path, {})).headers


async def test_parameters_of_json_and_of_advanced_are_named_too(make_app: MakeApp) -> None:
    body = {
        "file": base64.b64encode(SECOND).decode(),
        "backend": "x",
        "user": None,
        "advanced": {"beam_size": 1, "fast": 2},
    }
    async with serving(make_app()) as server:
        answer = await send_json(server, TRANSCRIPTIONS, body)
        assert (answer.status_code, answer.headers[HEADER]) == (200, "backend, advanced.fast")
        answer = await send_form(server, TRANSCRIPTIONS, {"advanced": '{"fast": 2}', "stream": "true"})
        assert (answer.status_code, answer.headers[HEADER]) == (200, "advanced.fast")


@pytest.mark.parametrize("path", [SPEECH, f"{SPEECH}/captions"])
async def test_parameters_of_speech_are_named(make_app: MakeApp, path: str) -> None:
    body = {"input": "Hello.", "response_format": "wav", "volume_multiplier": 2, "lang_code": "a", "instructions": "x"}
    async with serving(make_app()) as server:
        answer = await send_json(server, path, body)
        assert (answer.status_code, answer.headers[HEADER]) == (200, "volume_multiplier, lang_code")


async def test_an_error_names_them_as_well(make_app: MakeApp) -> None:
    async with serving(make_app()) as server:
        answer = await send_form(server, TRANSCRIPTIONS, {"model": "no/such", "modle": "whisper-1"})
        assert (answer.status_code, answer.headers[HEADER]) == (404, "modle")


async def test_names_can_not_write_headers_of_their_own(make_app: MakeApp) -> None:
    names = ["a\r\nset-cookie: b", "c,d", "ü\ud800", "x" * 10_000, *(f"name{number}" for number in range(500))]
    raw = json.dumps({"file": base64.b64encode(SECOND).decode()} | dict.fromkeys(names, 1))
    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(TRANSCRIPTIONS, content=raw, headers={"content-type": "application/json"})
        told = answer.headers[HEADER]
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert told.isascii()
        assert len(told) < 2 * LONGEST_IGNORED
        assert told.startswith("a%0D%0Aset-cookie%3A%20b, c%2Cd, %C3%BC%3F, xxxx")
        assert told.endswith(", ...")


async def test_browsers_may_read_the_names(make_app: MakeApp) -> None:
    async with serving(make_app(allow_origins=["*"])) as server, server.client() as client:
        answer = await client.post(
            TRANSCRIPTIONS, files={"file": SECOND}, data={"backend": "x"}, headers={"origin": "http://a"}
        )
        assert HEADER in answer.headers["access-control-expose-headers"]
