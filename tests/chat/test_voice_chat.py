"""Voice chat end to end: a recording in, a small LLM on loopback, the answer spoken by the built-in voice."""

import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from speaches.app import create_app
from speaches.settings import Settings
from tests.chat.llm import DONE, SmallLlm, chunk, event, finish, listening
from tests.recordings import say, wav

MODELS = Path(__file__).parent.parent / "models"
STT = "speaches-test/whisper-synth"
TTS = "speaches/espeak-ng"


@asynccontextmanager
async def serving(llm: SmallLlm, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose LLM is `llm`."""
    mine = {"model_dirs": [MODELS], "default_stt_model": STT, "default_tts_model": TTS}
    async with listening(llm) as url:
        app = create_app(Settings(**{**mine, "chat_completion_base_url": url, **settings}))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            yield client


def recording(words: str) -> str:
    """Somebody says the words; base64 of a wav file."""
    return base64.b64encode(wav(say(words))).decode()


def asking(words: str = "Hello world.", **more: Any) -> dict[str, Any]:
    """The request of the README's example."""
    parts = [
        {"type": "text", "text": "What is in this recording?"},
        {"type": "input_audio", "input_audio": {"data": recording(words), "format": "wav"}},
    ]
    spoken = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    return {"model": "gpt-4o-audio-preview", "messages": [{"role": "user", "content": parts}], **spoken, **more}


async def test_the_llm_reads_what_was_said_and_its_answer_is_spoken() -> None:
    llm = SmallLlm()
    async with serving(llm, chat_completion_model="llama", chat_completion_api_key="sk-llm") as client:
        answer = (await client.post("/v1/chat/completions", json=asking())).json()
    assert llm.asked[0]["messages"][0]["content"][1] == {"type": "text", "text": "Hello world."}
    assert llm.asked[0]["model"] == "llama"
    assert not {"modalities", "audio"} & set(llm.asked[0])
    assert llm.keys == ["Bearer sk-llm"]
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["audio"]["transcript"] == llm.says
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(message["audio"]["data"])))
    assert rate == 24_000
    assert 1.0 < len(samples) / rate < 4.0
    assert np.abs(samples).max() > 0.1
    assert 8 <= answer["usage"]["prompt_tokens_details"]["audio_tokens"] <= 15
    assert answer["usage"]["completion_tokens"] == 7 + round(len(samples) / rate * 20)


async def test_a_spoken_answer_goes_back_to_the_llm_as_its_words() -> None:
    llm = SmallLlm()
    async with serving(llm) as client:
        first = (await client.post("/v1/chat/completions", json=asking())).json()
        history = {"role": "assistant", "audio": {"id": first["choices"][0]["message"]["audio"]["id"]}}
        more = asking()
        more["messages"].append(history)
        await client.post("/v1/chat/completions", json=more)
    assert llm.asked[1]["messages"][1] == {"role": "assistant", "content": llm.says}


async def test_several_choices_are_all_spoken() -> None:
    async with serving(SmallLlm()) as client:
        answer = (await client.post("/v1/chat/completions", json=asking(n=2))).json()
    ids = {choice["message"]["audio"]["id"] for choice in answer["choices"]}
    assert len(ids) == 2


async def test_a_request_without_audio_reaches_the_llm_untouched_and_streams_back() -> None:
    llm = SmallLlm(script=["Hello.", finish(), DONE])
    body = {"model": "llama", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "seed": 7}
    async with serving(llm) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert llm.asked == [body]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == event(chunk({"content": "Hello."})) + event(finish()) + DONE


async def test_the_llms_errors_come_back_with_its_status() -> None:
    async with serving(SmallLlm(status=429)) as client:
        answer = await client.post("/v1/chat/completions", json=asking())
    assert answer.status_code == 429
    assert answer.json()["error"] == {"message": "Slow down.", "type": "requests", "param": None, "code": "rate"}


@pytest.mark.parametrize(
    ("body", "settings", "status", "word"),
    [
        ({"messages": []}, {"chat_completion_base_url": None}, 503, "CHAT_COMPLETION_BASE_URL"),
        ({"messages": []}, {"chat_completion_base_url": "http://127.0.0.1:9"}, 502, "can't be reached"),
        ({}, {}, 400, "messages"),
        (asking(speech_model=5), {}, 400, "speech_model"),
        (asking(transcription_model=["x"]), {}, 400, "transcription_model"),
        (asking(modalities=7), {}, 400, "modalities"),
        (asking(stream=True), {}, 400, "pcm16"),
        (asking(audio=None), {}, 400, "audio"),
        (asking(audio={"voice": "nobody", "format": "wav"}), {}, 400, "Unknown voice"),
        (asking(transcription_model="nobody/nothing"), {"auto_download": False}, 404, "nobody/nothing"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%%%"}}]}]}, {}, 400, "base64"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "aGVsbG8="}}]}]}, {}, 400, "audio"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(body: dict[str, Any], settings: dict[str, Any], status: int, word: str) -> None:
    async with serving(SmallLlm(), **settings) as client:
        answer = await client.post("/v1/chat/completions", content=json.dumps(body))
    assert (answer.status_code, word in answer.json()["error"]["message"]) == (status, True), answer.text
