"""Every example of the README, and of the pages that go with it, works as it is written.

Jobs go through Runpod's own harness, requests to `speaches serve`.
"""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from tests import recordings
from tests.audio.files import decode
from tests.worker.helpers import DEADLINE, eventually, free_port

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
WHISPER, KOKORO = "speaches-test/whisper-synth", "speaches-test/kokoro-synth"
ALIASES = {
    "Systran/faster-whisper-tiny.en": WHISPER,
    "speaches-ai/Kokoro-82M-v1.0-ONNX": KOKORO,
    "Systran/faster-distil-whisper-small.en": WHISPER,
    "whisper-1": WHISPER,
    "tts-1": KOKORO,
    "speaches-ai/piper-en_US-libritts_r-medium": "speaches-test/piper-en_US-synth_pair-medium",
}
"""The README's models, with the tiny ones in their place."""
PLACEHOLDER_URL = "https_url_to_your_public_audio_file.wav"
PLACEHOLDER_DATA = "<base64_encoded_audio_data>"
SENTENCE = "Hello world."


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


class _Everything(http.server.BaseHTTPRequestHandler):
    """A public web server with a recording, and an LLM, in one."""

    def do_GET(self) -> None:
        self._answer(recordings.wav(recordings.say(SENTENCE)), "audio/wav")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        heard = asked["messages"][0]["content"][1]["text"]
        message = {"role": "assistant", "content": f"The recording says {heard}"}
        self._answer(json.dumps({"choices": [{"index": 0, "message": message}]}).encode(), "application/json")

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Everything)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def running(command: list[str], folder: Path, ready: str, **environment: str) -> Iterator[None]:
    """Run a command of the project until the URL `ready` answers."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD", "HF_"))},
        "PYTHONPATH": str(ROOT),
        "MODEL_DIRS": str(recordings.TINY_MODELS),
        "MODEL_ALIASES": json.dumps(ALIASES),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_CACHE": str(folder / "hub"),
        "XDG_DATA_HOME": str(folder / "data"),
        **environment,
    }
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT
        )

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return httpx.get(ready).status_code < 500
            except httpx.TransportError:
                return False

        try:
            eventually(answers, ready)
            yield
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[httpx.Client]:
    """Runpod's local harness with our handler."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(ROOT / "handler.py"), "--rp_serve_api", "--rp_api_port", str(port)]
    more = {"ALLOW_PRIVATE_URLS": "true", "CHAT_COMPLETION_BASE_URL": elsewhere}
    with (
        running(command, tmp_path_factory.mktemp("harness"), f"{address}/docs", **more),
        httpx.Client(base_url=address, timeout=DEADLINE) as client,
    ):
        yield client


def output_of(harness: httpx.Client, elsewhere: str, job: str) -> Any:
    """What a job of the README gives, with the placeholders filled in."""
    data = base64.b64encode(recordings.wav(recordings.say(SENTENCE))).decode()
    filled = job.replace(PLACEHOLDER_URL, f"{elsewhere}/file.wav").replace(PLACEHOLDER_DATA, data)
    answer = harness.post("/runsync", json=json.loads(filled)).json()
    assert answer["status"] == "COMPLETED", answer
    return answer["output"]


def is_speech(output: Any) -> None:
    assert (output["status"], output["content_type"]) == ("success", "audio/wav")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(output["audio_content"])))
    assert 2 < len(samples) / rate < 8


def is_its_text(output: Any) -> None:
    assert output["text"] == SENTENCE


def lists_both_models(output: Any) -> None:
    tasks = {model["id"]: model["task"] for model in output["data"]}
    assert tasks["Systran/faster-whisper-tiny.en"] == "automatic-speech-recognition"
    assert tasks["speaches-ai/Kokoro-82M-v1.0-ONNX"] == "text-to-speech"


def is_one_stretch_of_speech(output: Any) -> None:
    (region,) = output
    assert 0 <= region["start"] < region["end"] <= 2000


def lists_the_loaded(output: Any) -> None:
    assert WHISPER in output["models"]  # an earlier example has used it


def says_it_is_loaded(output: Any) -> None:
    assert output["message"] == f"Model '{WHISPER}' loaded."


def says_it_is_unloaded(output: Any) -> None:
    assert output["message"] == "Model Systran/faster-whisper-tiny.en unloaded."


def is_a_spoken_answer(output: Any) -> None:
    audio = output["choices"][0]["message"]["audio"]
    assert audio["transcript"] == f"The recording says {SENTENCE}"
    assert base64.b64decode(audio["data"])[:4] == b"RIFF"


def test_every_job_of_the_readme_works_through_the_harness(harness: httpx.Client, elsewhere: str) -> None:
    run = functools.partial(output_of, harness, elsewhere)
    assert len(blocks("json")) == 9
    speak, hear, models, registry, activity, loaded, load, unload, chat = blocks("json")
    is_speech(run(speak))
    is_its_text(run(hear))
    lists_both_models(run(models))
    lists_both_models(run(registry))
    is_one_stretch_of_speech(run(activity))
    lists_the_loaded(run(loaded))
    says_it_is_unloaded(run(unload))
    says_it_is_loaded(run(load))
    is_a_spoken_answer(run(chat))


def test_the_selftest_job_of_the_readme_works(harness: httpx.Client, elsewhere: str) -> None:
    (job,) = re.findall(r'`(\{"input": \{"path": "/selftest"\}\})`', README)
    assert output_of(harness, elsewhere, job)["status"] == "ok"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`speaches serve`, and a folder to work in."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    address = f"http://localhost:{port}"
    with running(["-m", "speaches", "serve"], folder, f"{address}/health", UVICORN_PORT=str(port)):
        yield address, folder


def curl(command: str, folder: Path) -> bytes:
    """Do what a curl command of the README would: not every machine has curl."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    url, headers, data, out, method = "", {}, None, None, None
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = next(words)
        elif word == "-F":
            name, _, value = next(words).partition("=")
            if value.startswith("@"):
                files[name] = (folder / value[1:]).read_bytes()
            else:
                fields[name] = value
        elif word == "-X":
            method = next(words)
        elif word == "-o":
            out = folder / next(words)
        else:
            url = word
    body: dict[str, Any] = {"content": data} if data is not None else {"data": fields, "files": files}
    method = method or ("POST" if data is not None or fields or files else "GET")
    answer = httpx.request(method, url, headers=headers, timeout=DEADLINE, **body).raise_for_status().content
    if out is not None:
        out.write_bytes(answer)
    return answer


def test_the_first_requests_of_the_readme_work(served: tuple[str, Path]) -> None:
    address, folder = served
    (examples,) = blocks("bash")
    speak, hear = examples.replace("http://localhost:8000", address).strip().split("\n\n")
    curl(speak, folder)
    heard = json.loads(curl(hear, folder))["text"]
    assert sum(word in heard.split() for word in ("one", "two", "three", "four", "five")) >= 4, heard


def test_the_examples_of_the_transcription_page_work(served: tuple[str, Path]) -> None:
    address, folder = served
    (folder / "speech.wav").write_bytes(recordings.wav(recordings.say(SENTENCE)))
    (examples,) = blocks("bash", (ROOT / "docs" / "transcription.md").read_text())
    commands = examples.replace("http://localhost:8000", address).strip().split("\n\n")
    verbose, subtitles, events, english = [curl(command, folder).decode() for command in commands]
    assert [word["word"] for word in json.loads(verbose)["words"]] == ["Hello", "world."]
    assert subtitles.startswith("1\n00:00:00,") and SENTENCE in subtitles
    assert "transcript.text.delta" in events and "transcript.text.done" in events
    assert json.loads(english)["text"]  # the tiny model has only learnt to translate from other languages


def test_the_examples_of_the_page_of_voices_work(served: tuple[str, Path]) -> None:
    address, folder = served
    page = (ROOT / "docs" / "voices.md").read_text()
    commands = "\n".join(blocks("bash", page)).replace("http://localhost:8000", address).strip().split("\n\n")
    women, american, _, *_, kept, _, gone = [curl(command, folder) for command in commands]
    assert "af_heart" in {voice["id"] for voice in json.loads(women)["voices"]}
    assert json.loads(american)["model"] == "speaches/espeak-ng"
    assert json.loads(kept)["name"] == "narrator"
    assert json.loads(gone)["deleted"]
    (example,) = blocks("python", page)
    script = example.replace("http://localhost:8000", address)
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=DEADLINE)
    assert ran.returncode == 0, ran.stderr
    for name in ("preview", "mix", "speaker", "german", "story", "storyteller"):
        samples, rate = soundfile.read(folder / f"{name}.mp3")
        assert 0.3 < len(samples) / rate < 10, name


def test_the_examples_of_the_api_page_work(served: tuple[str, Path]) -> None:
    address, folder = served
    page = (ROOT / "docs" / "api.md").read_text().replace("http://localhost:8000", address)
    speech, captions = blocks("bash", page)
    *files, events = [curl(command, folder).decode("latin-1") for command in speech.strip().split("\n\n")]
    assert len(files) == 4
    for name, kind in (("hello.mp3", "MP3"), ("fast.wav", "WAV"), ("guten-tag.opus", "OGG"), ("pauses.flac", "FLAC")):
        assert soundfile.info(folder / name).format == kind
        assert 0.3 < len(decode((folder / name).read_bytes())) / 16_000 < 10, name  # a stream does not tell its length
    assert "speech.audio.delta" in events and "speech.audio.done" in events
    timed, subtitles = [curl(command, folder).decode() for command in captions.strip().split("\n\n")]
    words = json.loads(timed)["words"]
    assert [word["word"] for word in words] == ["Hello", "there.", "How", "are", "you?"]
    assert all("phonemes" in word for word in words)
    assert subtitles.startswith("WEBVTT\n\n00:00:00.") and "How are you?" in subtitles
    (example,) = blocks("python", page)
    ran = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=DEADLINE)
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[1] for line in ran.stdout.splitlines()] == ["Hello", "there.", "How", "are", "you?"]


def test_the_python_example_of_the_readme_works(served: tuple[str, Path]) -> None:
    address, folder = served
    (folder / "speech.wav").write_bytes(recordings.wav(recordings.say(SENTENCE)))
    (example,) = blocks("python")
    script = example.replace("http://localhost:8000", address)
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=DEADLINE)
    assert (ran.returncode, ran.stdout) == (0, f"{SENTENCE}\n"), ran.stderr
    samples, rate = soundfile.read(folder / "hello.mp3")
    assert 0.3 < len(samples) / rate < 3
