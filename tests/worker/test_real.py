"""The worker with the real server as its child: what users were promised, through `handler.py` and through the job's own translation."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from speaches.settings import Settings
from speaches.worker.handler import Worker
from speaches.worker.once import run_file
from speaches.worker.server import Server
from tests import recordings

from .helpers import DEADLINE, eventually, free_port, run, serving
from .processes import KEPT, ROOT

KOKORO, WHISPER = "speaches-ai/Kokoro-82M-v1.0-ONNX", "Systran/faster-whisper-tiny.en"
ALIASES = {KOKORO: "speaches-test/kokoro-synth", WHISPER: "speaches-test/whisper-synth"}
OFFLINE = {
    "MODEL_DIRS": str(recordings.TINY_MODELS),
    "MODEL_ALIASES": json.dumps(ALIASES),
    "HF_ENDPOINT": "http://127.0.0.1:9",
}
SENTENCE = "Hello world."


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with a real server, which has a key that no job needs to know."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        patch.setenv("API_KEY", "secret")
        patch.setenv("ALLOW_PRIVATE_URLS", "true")
        settings = Settings()
        server = Server(settings)
        try:
            server.start()
            server.wait_until_ready()
            yield Worker(settings, server.base_url, explain=server.explain)
        finally:
            server.stop()


def output_of(worker: Worker, job_input: dict[str, Any]) -> Any:
    async def work() -> Any:
        try:
            return await worker.handle({"id": "real", "input": job_input})
        finally:
            await worker.aclose()

    return run(work())


def said() -> str:
    """The sentence as base64 of a WAV file."""
    return base64.b64encode(recordings.wav(recordings.say(SENTENCE))).decode()


def seconds(content: bytes) -> float:
    with wave.open(io.BytesIO(content)) as reader:
        return float(reader.getnframes() / reader.getframerate())


def test_text_to_speech_as_the_readme_shows_it(worker: Worker) -> None:
    text = "Hello from Runpod! This is text-to-speech in action."
    body = {"model": KOKORO, "input": text, "voice": "af_heart"}
    output = output_of(worker, {"method": "POST", "path": "/v1/audio/speech", "body": body})
    assert output.keys() == {"status", "content_type", "audio_content"}
    assert (output["status"], output["content_type"]) == ("success", "audio/wav")
    assert base64.b64decode(output["audio_content"]).startswith(b"RIFF")


def test_captions_arrive_as_the_server_made_them(worker: Worker) -> None:
    body = {"model": KOKORO, "input": SENTENCE, "response_format": "wav", "stream": True}
    path = "/v1/audio/speech/captions"
    output = output_of(worker, {"path": path, "body": body})
    assert output["content_type"] == "audio/wav"
    assert seconds(base64.b64decode(output["audio"])) == pytest.approx(output["duration"], abs=0.001)
    assert " ".join(word["word"] for word in output["words"]) == output["text"] == SENTENCE
    subtitles = output_of(worker, {"path": path, "body": body | {"caption_format": "srt"}})
    assert subtitles["text"].startswith("1\n00:00:00,") and SENTENCE in subtitles["text"]


def test_speech_to_text_as_the_readme_shows_it(worker: Worker) -> None:
    async def file(request: web.Request) -> web.Response:
        return web.Response(body=recordings.wav(recordings.say(SENTENCE)), content_type="audio/wav")

    async def work() -> Any:
        application = web.Application()
        application.router.add_get("/hello.wav", file)
        async with serving(application) as files:
            job = {
                "method": "POST",
                "path": "/v1/audio/transcriptions",
                "file_url": f"{files}/hello.wav",
                "body": {"model": WHISPER},
            }
            try:
                return await worker.handle({"id": "real", "input": job})
            finally:
                await worker.aclose()

    assert run(work())["text"] == SENTENCE


def test_the_same_as_base64_and_in_every_text_format(worker: Worker) -> None:
    job = {"path": "/v1/audio/transcriptions", "file_base64": said()}
    for response_format, start in (("text", "Hello world."), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT")):
        output = output_of(worker, job | {"body": {"model": WHISPER, "response_format": response_format}})
        assert output.keys() == {"text"}
        assert output["text"].startswith(start)
    fine = {"model": WHISPER, "response_format": "verbose_json", "timestamp_granularities": ["word"], "language": None}
    words = output_of(worker, job | {"body": fine})["words"]
    assert [word["word"].strip(" .").lower() for word in words] == ["hello", "world"]


def test_lists_and_voice_activity_as_the_readme_shows_them(worker: Worker) -> None:
    models = output_of(worker, {"method": "GET", "path": "/v1/models"})["data"]
    assert {"speaches/espeak-ng", "speaches-test/whisper-synth", KOKORO} <= {model["id"] for model in models}
    assert output_of(worker, {"openai_route": "/v1/models"})["data"] == models
    registry = output_of(worker, {"method": "GET", "path": "/v1/registry"})["data"]
    assert {"automatic-speech-recognition", "text-to-speech"} <= {model["task"] for model in registry}
    (speech,) = output_of(worker, {"method": "POST", "path": "/v1/audio/speech/timestamps", "file_base64": said()})
    assert 0 <= speech["start"] < 300 < 700 < speech["end"] < 2_000  # milliseconds


def test_models_are_loaded_and_unloaded_as_the_readme_shows_it(worker: Worker) -> None:
    output_of(worker, {"method": "DELETE", "path": f"/api/ps/{WHISPER}"})
    assert "error" not in output_of(worker, {"method": "POST", "path": f"/api/ps/{WHISPER}"})
    assert "speaches-test/whisper-synth" in output_of(worker, {"method": "GET", "path": "/api/ps"})["models"]
    assert "error" not in output_of(worker, {"method": "DELETE", "path": f"/api/ps/{WHISPER}"})
    assert "speaches-test/whisper-synth" not in output_of(worker, {"method": "GET", "path": "/api/ps"})["models"]


@pytest.mark.parametrize(
    ("job_input", "status", "word"),
    [
        ({"path": "/v1/nothing"}, 404, "/v1/nothing"),
        ({"path": "/v1/audio/speech", "method": "DELETE"}, 405, ""),
        (
            {"path": "/v1/audio/speech", "body": {"model": "nobody/nothing", "input": "a", "voice": "b"}},
            404,
            "nobody/nothing",
        ),
        (
            {"path": "/v1/audio/speech", "body": {"model": "speaches/espeak-ng", "input": "a", "voice": "nobody"}},
            400,
            "en-us",
        ),
        ({"path": "/v1/audio/speech", "method": "POST"}, 400, ""),
        ({"path": "/v1/audio/transcriptions", "file_base64": "AAAA", "body": {"model": WHISPER}}, 400, "audio"),
        ({"path": "/v1/models", "headers": {"Authorization": "Bearer wrong"}}, 401, ""),
        ({"path": "/v1/models", "headers": {"Authorization": "Bearer secret", "X-API-Key": "other"}}, 401, ""),
    ],
)
def test_the_servers_errors_arrive_as_sentences(
    worker: Worker, job_input: dict[str, Any], status: int, word: str
) -> None:
    output = output_of(worker, job_input)
    assert (output["status_code"], word in output["error"], bool(output["error"])) == (status, True, True), output


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | OFFLINE | {"HF_HUB_CACHE": str(folder / "hub")} | more


def test_a_fresh_clone_speaks(tmp_path: Path) -> None:
    (tmp_path / "test_input.json").write_text((ROOT / "test_input.json").read_text())
    command = [sys.executable, str(ROOT / "handler.py")]
    environ = environment(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 2 < seconds((tmp_path / "out" / "local_test.wav").read_bytes()) < 6
    assert "The result is in out/local_test.wav" in done.stdout.splitlines()[-3:][0]


def test_one_job_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "job.json"
    path.write_text(
        json.dumps(
            {"path": "/v1/audio/speech", "body": {"model": "speaches/espeak-ng", "input": "One.", "voice": "en-us"}}
        )
    )
    output = run_file(path, Settings())
    assert 0.3 < seconds(base64.b64decode(output["audio_content"])) < 2


def test_http_mode_is_one_process_that_answers_pings(tmp_path: Path) -> None:
    port, health = free_port(), free_port()
    mode = environment(tmp_path, WORKER_MODE="http", PORT=str(port), PORT_HEALTH=str(health))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "handler.py")], cwd=tmp_path, env=mode, stdout=log, stderr=log
        )
    try:
        eventually(lambda: _status(health) == _status(port) == 200)
        assert psutil.Process(process.pid).children(recursive=True) == []
        process.terminate()
        assert process.wait(DEADLINE) in (0, -15)
    finally:
        process.kill()
        process.wait()


def _status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as response:
            status: int = response.status
            return status
    except OSError:
        return 0
