"""What strangers send to /v1/chat/completions: a table, and a wrong type in every place."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from speaches.api.chat_request import MOST_MARKS
from speaches.audio.encode import encode
from tests.api.conftest import MakeApp
from tests.api.serving import serving
from tests.api.test_chat_streaming import CHAT, RECORDING, asking, audio
from tests.chat.llm import DONE, SmallLlm, finish, listening
from tests.fakes import FakeEngines
from tests.recordings import silence, tone, wav

PART = "messages[0].content[1].input_audio"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spoken(**how: Any) -> dict[str, Any]:
    return asking(audio={"voice": "alloy", "format": "wav"} | how)


# body -> status, code, param, and a word that the message must have
TABLE: list[tuple[Any, int, str | None, str | None, str]] = [
    # The body
    (b"{", 400, "invalid_json", None, "JSON"),
    (b"[]", 400, "invalid_json", None, "object"),
    (b"\xff\xfe", 400, "invalid_json", None, "JSON"),
    ({}, 400, "missing_required_parameter", "messages", "messages"),
    ({"messages": "Hi"}, 400, "missing_required_parameter", "messages", "messages"),
    (asking(transcription_model=5), 400, "invalid_value", "transcription_model", "model"),
    (asking(speech_model=["tts-1"]), 400, "invalid_value", "speech_model", "model"),
    # How the answer is to be
    (asking(modalities="audio"), 400, "invalid_value", "modalities", "list"),
    (asking(audio=None), 400, "missing_required_parameter", "audio", "voice"),
    (spoken(format="docx"), 400, "invalid_value", "audio.format", "pcm16"),
    (spoken(format=["wav"]), 400, "invalid_value", "audio.format", "pcm16"),
    (spoken(voice=5), 400, "invalid_value", "audio.voice", "voice"),
    (spoken(voice={"id": []}), 400, "invalid_value", "audio.voice", "voice"),
    (spoken(voice="nobody"), 400, "invalid_value", "audio.voice", "ada"),
    (asking(stream="yes"), 400, "invalid_value", "stream", "true or false"),
    (asking(stream=True, audio={"voice": "alloy", "format": "wav"}), 400, "unsupported_value", "audio.format", "pcm16"),
    (asking(stream=True, n=2), 400, "unsupported_value", "n", "one answer"),
    (asking(n=0), 400, "invalid_value", "n", "from 1"),
    (asking(n=True), 400, "invalid_value", "n", "from 1"),
    (asking(stream=True, stream_options=[1]), 400, "invalid_value", "stream_options", "object"),
    # Models
    (asking(speech_model="fake/recogniser"), 400, "wrong_model", "speech_model", "text-to-speech"),
    (asking(speech_model="nobody/nothing"), 404, "model_not_found", "speech_model", "nobody/nothing"),
    (asking(audio(), transcription_model="fake/voice"), 400, "wrong_model", "transcription_model", "speech"),
    (asking(audio(), transcription_model="nobody"), 404, "model_not_found", "transcription_model", "nobody"),
    # Parameters of the two
    (asking(speech_extra_body=[]), 400, "invalid_value", "speech_extra_body", "object"),
    (asking(speech_extra_body={"speed": 9}), 400, "invalid_value", "speech_extra_body.speed", "4"),
    (asking(speech_extra_body={"sample_rate": 1}), 400, "invalid_value", "speech_extra_body.sample_rate", "8000"),
    (asking(transcription_extra_body="en"), 400, "invalid_value", "transcription_extra_body", "object"),
    (asking(transcription_extra_body={"temperature": 7}), 400, "invalid_value", "transcription_extra_body.temperature", "1"),
    (asking(transcription_extra_body={"language": "klingon"}), 400, "invalid_value", "transcription_extra_body.language", "klingon"),
    (asking(audio(), transcription_extra_body={"language": "zu"}), 400, "invalid_value", "transcription_extra_body.language", "zu"),
    # Audio
    (asking({"type": "input_audio"}), 400, "missing_required_parameter", PART, "base64"),
    (asking({"type": "input_audio", "input_audio": {"data": 5}}), 400, "missing_required_parameter", PART, "base64"),
    (asking(audio("%%%")), 400, "invalid_base64", PART, "base64"),
    (asking(audio("YQ")), 400, "invalid_base64", PART, "base64"),
    (asking(audio("ümlaut==")), 400, "invalid_base64", PART, "base64"),
    (asking(audio("data:audio/wav;base64,")), 400, "invalid_base64", PART, "base64"),
    (asking(audio(coded(b"hello"))), 400, "unsupported_audio", PART, "audio"),
    (asking(audio(coded(wav(silence(0.01))))), 400, "audio_too_short", PART, "0.1"),
    (asking(audio(coded(b"\0\0"), "pcm16")), 400, "audio_too_short", PART, "0.1"),
    (asking(audio(coded(b"\0"), "pcm16")), 400, "audio_too_short", PART, "0.1"),
    (asking(audio(coded(wav(tone(440, 6, rate=8000), 8000)))), 413, "request_too_large", PART, "5 s"),
    (asking(audio(), audio("%%%")), 400, "invalid_base64", "messages[0].content[2].input_audio", "base64"),
    # Earlier answers
    ({"messages": [{"role": "assistant", "audio": {"id": "audio_9"}}]}, 400, "audio_not_found", "messages[0].audio.id", "expired"),
    ({"messages": [{"role": "assistant", "audio": {"id": []}}]}, 400, "audio_not_found", "messages[0].audio.id", "expired"),
    ({"messages": [{"role": "assistant", "audio": {"id": None}}]}, 400, "audio_not_found", "messages[0].audio.id", "expired"),
]  # fmt: skip


async def test_what_is_wrong_is_named(make_app: MakeApp) -> None:
    llm = SmallLlm()
    async with listening(llm) as url:
        app = make_app(chat_completion_base_url=url, auto_download=False, max_audio_seconds=5.0)
        async with serving(app) as server, server.client() as client:
            wrong = []
            for body, status, code, param, word in TABLE:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                answer = await client.post(CHAT, content=content)
                error = answer.json()["error"]
                told = (answer.status_code, error["code"], error["param"])
                if told != (status, code, param) or word not in error["message"]:
                    wrong.append(f"{content[-200:]!r}: {answer.status_code} {error}")
            assert wrong == []
            assert server.log.tracebacks() == []
            assert server.users() == 0
    assert llm.asked == [], "nothing that is wrong has reached the LLM"


async def test_without_an_llm_it_is_said_before_anything_is_heard(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server, server.client() as client:
        bodies: list[dict[str, Any]] = [asking(audio()), asking(stream=True), {"messages": []}]
        for body in bodies:
            answer = await client.post(CHAT, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "llm_not_configured")
            assert "CHAT_COMPLETION_BASE_URL" in answer.json()["error"]["message"]
    assert engines.recogniser.heard == [] and engines.recogniser_kind.loads == engines.voice_kind.loads == 0


VALUES: list[Any] = [None, True, 0, -1, 1e308, float("nan"), "", "x", "\ud800\0", [], [None], {}, {"id": {}}, [[1]]]
FIELDS = sorted(asking(stream=True, n=1, stream_options={}, transcription_model="", speech_model="",
                       transcription_extra_body={}, speech_extra_body={}, tools=[], model=""))  # fmt: skip
PLACES = [("messages", 0), ("messages", 0, "content"), ("messages", 0, "content", 1), ("messages", 0, "audio"),
          ("messages", 0, "content", 1, "type"), ("messages", 0, "content", 1, "input_audio"),
          ("messages", 0, "content", 1, "input_audio", "data"), ("messages", 0, "content", 1, "input_audio", "format"),
          ("audio", "voice"), ("audio", "format"), ("modalities", 0), ("modalities", 1),
          *((name,) for name in FIELDS)]  # fmt: skip


def with_value(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The body with another value in one place."""
    if not place:
        return value
    if isinstance(body, list):
        return [with_value(one, place[1:], value) if index == place[0] else one for index, one in enumerate(body)]
    return {**body, place[0]: with_value(body.get(place[0]), place[1:], value)}


@pytest.mark.parametrize("streams", [True, False])
async def test_no_type_in_any_place_is_a_bug(make_app: MakeApp, streams: bool) -> None:
    async with listening(SmallLlm(script=["Hello.", finish(), DONE])) as url:
        app = make_app(chat_completion_base_url=url, auto_download=False)
        async with serving(app) as server, server.client() as client:
            for place in PLACES:
                for value in VALUES:
                    body = with_value(asking(audio(), stream=streams), place, value)
                    answer = await client.post(CHAT, content=json.dumps(body))
                    assert answer.status_code in (200, 400, 404), f"{place} = {value!r}: {answer.text}"
                    assert answer.status_code == 200 or answer.json()["error"]["message"]
            assert server.log.tracebacks() == []
            assert server.users() == 0


@pytest.mark.parametrize("name", ["mp3", "flac", "opus", "aac", "wav"])
async def test_audio_may_be_of_any_format_and_is_known_by_its_content(
    make_app: MakeApp, engines: FakeEngines, name: str
) -> None:
    data = coded(encode(name, 24_000, tone(440, 1, rate=24_000)))
    async with (
        listening(SmallLlm()) as url,
        serving(make_app(chat_completion_base_url=url)) as server,
        server.client() as client,
    ):
        body = asking(audio(f"data:audio/x;base64,{data}", "mp3"))
        assert (await client.post(CHAT, json=body)).status_code == 200
    (window,) = engines.recogniser.heard
    assert 15_000 < len(window.samples) < 18_500


async def test_half_characters_of_an_answer_do_no_harm(make_app: MakeApp) -> None:
    async with (
        listening(SmallLlm(says="So \ud83d far.")) as url,
        serving(make_app(chat_completion_base_url=url)) as server,
        server.client() as client,
    ):
        answer = await client.post(CHAT, json=asking(audio(RECORDING)))
    assert answer.json()["choices"][0]["message"]["audio"]["transcript"] == "So \ud83d far."


async def test_values_in_values_are_no_bug_however_deep(make_app: MakeApp) -> None:
    """Where a parser gives up depends on what has called it: some of these depths can be read, but not be quoted."""
    places = ('"audio": {"voice": %s}', '"audio": {"format": %s}', '"messages": [{"audio": {"id": %s}}]', '"n": %s')
    head = '{"messages": [], "modalities": ["audio"], "audio": {}, '
    async with (
        listening(SmallLlm()) as url,
        serving(make_app(chat_completion_base_url=url)) as server,
        server.client() as client,
    ):
        for depth in range(940, 1000):
            for place in places:
                answer = await client.post(CHAT, content=head + place % ("[" * depth + "]" * depth) + "}")
                assert answer.status_code == 400, f"{depth} {place}: {answer.text}"
        assert server.log.tracebacks() == []


async def test_a_body_of_too_many_values_is_refused_before_it_fills_the_memory(make_app: MakeApp) -> None:
    async with (
        listening(SmallLlm()) as url,
        serving(make_app(chat_completion_base_url=url)) as server,
        server.client() as client,
    ):
        many = b'{"messages": [' + b",".join([b"{}"] * (MOST_MARKS // 2)) + b"]}"
        answer = await client.post(CHAT, content=many)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        long = {"messages": [{"role": "user", "content": "a, b, c. " * 100_000}]}
        assert (await client.post(CHAT, json=long)).status_code == 200
