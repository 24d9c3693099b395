from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from speaches import __version__
from speaches.cli import main, shorten
from speaches.settings import Settings
from tests.hub import LoopbackHub, running_hub
from tests.worker.helpers import DEADLINE

ROOT = Path(__file__).parent.parent
TINY_MODELS = ROOT / "tests" / "models"
KOKORO = "speaches-test/kokoro-synth"
WHISPER = "speaches-test/whisper-synth"


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def _one_hub() -> Iterator[LoopbackHub]:
    with running_hub(TINY_MODELS) as hub:
        yield hub


@pytest.fixture
def loopback(_one_hub: LoopbackHub) -> LoopbackHub:
    _one_hub.forget()
    return _one_hub


@pytest.fixture
def environ(loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without models, whose hub is on loopback."""
    for name in ("MODEL_DIRS", "MODEL_ALIASES", "HF_TOKEN", "UVICORN_PORT", "UVICORN_HOST", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", loopback.url)
    monkeypatch.setenv("HF_XET_HIGH_PERFORMANCE", "0")  # the command line would set it, for all tests that follow
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def speaches(environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        if isinstance(ended.value.code, str):  # what the interpreter makes of it
            return Done(1, out, f"{err}{ended.value.code}\n")
        return Done(ended.value.code or 0, out, err)

    return run


def listed(speaches: Callable[..., Done], *arguments: str) -> list[str]:
    return [model["id"] for model in json.loads(speaches("models", "list", "--json", *arguments).out)]


# --- Help and version ---


def test_the_version(speaches: Callable[..., Done]) -> None:
    assert speaches("--version") == Done(0, f"speaches {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["models", "pull", "--help"], ["job", "--help"]]
)
def test_every_command_has_help(speaches: Callable[..., Done], arguments: list[str]) -> None:
    done = speaches(*arguments)
    assert done.code == 0
    assert "Usage: speaches" in done.out
    assert "--fd" not in done.out  # the worker's business


@pytest.mark.parametrize("arguments", [["fly"], ["serve", "--port", "x"], ["models", "list", "--task", "x"], ["job"]])
def test_a_command_that_is_written_wrongly_exits_with_2(speaches: Callable[..., Done], arguments: list[str]) -> None:
    done = speaches(*arguments)
    assert done.code == 2
    assert "Usage: speaches" in done.err


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ["pydantic", "huggingface_hub", "numpy", "fastapi"]),
        (["serve", "--port", "0"], ["rich", "huggingface_hub", "numpy", "httpx"]),
        (["serve", "--fd", "3", "--parent", "1"], ["typer", "rich", "huggingface_hub", "numpy", "httpx"]),
    ],
)
def test_nothing_is_imported_before_it_is_needed(arguments: list[str], absent: list[str]) -> None:
    code = f"""
import runpy, sys, types, atexit
sys.modules["speaches.serve"] = types.SimpleNamespace(serve=lambda settings, fd=None, parent=None: None)
sys.argv = ["speaches", *{arguments}]
atexit.register(lambda: print("LOADED", [name for name in {absent} if name in sys.modules]))
runpy.run_module("speaches", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


# --- serve ---


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, int | None, int | None]]:
    """What the server was started with."""
    calls: list[tuple[Settings, int | None, int | None]] = []
    module = ModuleType("speaches.serve")
    module.serve = lambda settings, fd, parent: calls.append((settings, fd, parent))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "speaches.serve", module)
    return calls


def test_serve_takes_its_settings_from_the_environment_and_the_command_line(
    speaches: Callable[..., Done], environ: pytest.MonkeyPatch, served: list[tuple[Settings, int | None, int | None]]
) -> None:
    environ.setenv("UVICORN_HOST", "0.0.0.0")
    environ.setenv("UVICORN_PORT", "1234")
    assert speaches("serve", "--port", "4321").code == 0
    assert speaches("serve", "--host", "::1", "--fd", "7", "--parent", "99").code == 0
    (first, *none), (second, *both) = served
    assert (first.uvicorn_host, first.uvicorn_port, none) == ("0.0.0.0", 4321, [None, None])
    assert (second.uvicorn_host, second.uvicorn_port, both) == ("::1", 1234, [7, 99])


def test_settings_that_cannot_be_used_are_told_one_by_one(
    speaches: Callable[..., Done], environ: pytest.MonkeyPatch, served: list[Any]
) -> None:
    environ.setenv("WORKER_MODE", "both")
    environ.setenv("MAX_AUDIO_SECONDS", "-1")
    environ.setenv("MODEL_ALIASES", "{")
    environ.setenv("WHISPER__INFERENCE_DEVICE", "tpu")
    done = speaches("serve", "--port", "99999")
    assert (done.code, done.out, served) == (1, "", [])
    lines = done.err.splitlines()
    assert lines[0] == "speaches: these settings can't be used:"
    assert set(lines[1:]) == {
        "  UVICORN_PORT is 99999: should be less than or equal to 65535",
        "  MAX_AUDIO_SECONDS is '-1': should be greater than or equal to 0",
        "  MODEL_ALIASES is '{': Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "  WHISPER__INFERENCE_DEVICE is 'tpu': should be 'auto', 'cpu' or 'cuda'",
        "  WORKER_MODE is 'both': should be 'queue' or 'http'",
    }


def test_a_file_of_aliases_that_is_not_there_is_a_sentence(
    speaches: Callable[..., Done], environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("MODEL_ALIASES", "/no/such/file")
    done = speaches("models", "list")
    assert done.code == 1
    assert "/no/such/file" in done.err
    assert "Traceback" not in done.err


# --- models ---


def test_models_are_listed_in_columns(speaches: Callable[..., Done], environ: pytest.MonkeyPatch) -> None:
    environ.setenv("MODEL_DIRS", str(TINY_MODELS))
    lines = speaches("models", "list").out.splitlines()
    assert lines[0].split() == ["MODEL", "TASK", "LANGUAGES", "SIZE", "FOLDER"]
    assert [WHISPER, "stt", "en", "es", "de", "fr", "20.1", "MB", f"{TINY_MODELS}/{WHISPER}"] in [
        line.split() for line in lines
    ]
    assert any(line.startswith("silero_vad_v6 ") and line.endswith("built in") for line in lines)


@pytest.mark.parametrize("task", ["stt", "automatic-speech-recognition", "STT"])
def test_one_task_may_be_listed(speaches: Callable[..., Done], environ: pytest.MonkeyPatch, task: str) -> None:
    environ.setenv("MODEL_DIRS", str(TINY_MODELS))
    assert listed(speaches, "--task", task) == [WHISPER, "speaches/pocketsphinx-en-us"]


def test_models_are_pulled_listed_and_removed(speaches: Callable[..., Done], loopback: LoopbackHub) -> None:
    pulled = speaches("models", "pull", KOKORO)
    assert pulled.code == 0
    assert pulled.out.startswith(f"Downloaded {KOKORO} to ")
    assert "1.5/1.5 MB" in pulled.err
    assert KOKORO in listed(speaches)

    loopback.forget()
    assert "is here already" in speaches("models", "pull", KOKORO).out
    assert loopback.requests == []

    assert speaches("models", "rm", KOKORO) == Done(0, f"Deleted {KOKORO} (1.5 MB).\n", "")
    assert KOKORO not in listed(speaches)


def test_aliases_are_followed(speaches: Callable[..., Done], environ: pytest.MonkeyPatch) -> None:
    environ.setenv("MODEL_ALIASES", json.dumps({"tts-1": KOKORO}))
    assert f"Downloaded {KOKORO} (tts-1-hd) to " in speaches("models", "pull", "tts-1-hd").out
    assert speaches("models", "rm", "tts-1").code == 0
    assert KOKORO not in listed(speaches)


def test_what_can_be_pulled_is_pulled_and_the_rest_told(speaches: Callable[..., Done]) -> None:
    done = speaches("models", "pull", "no/such", "speaches/espeak-ng", KOKORO)
    assert done.code == 1
    assert "speaches: The Hugging Face hub has no model no/such, or it is private: then set HF_TOKEN." in done.err
    assert "speaches/espeak-ng is here already: built in." in done.out
    assert KOKORO in listed(speaches)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/such", "There is no model no/such on this machine"),
        ("whisper-1", "There is no model Systran/faster-whisper-large-v3 (whisper-1) on this machine"),
        ("../cache", "There is no model ../cache on this machine"),
        ("silero_vad_v5", "silero_vad_v6 is built in"),
    ],
)
def test_what_cannot_be_removed_is_a_sentence(speaches: Callable[..., Done], name: str, says: str) -> None:
    done = speaches("models", "rm", name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"speaches: {says}")
    assert len(done.err.splitlines()) == 1


def test_one_wrong_name_removes_nothing(speaches: Callable[..., Done]) -> None:
    speaches("models", "pull", KOKORO)
    assert speaches("models", "rm", KOKORO, "no/such").code == 1
    assert KOKORO in listed(speaches)


def test_a_download_ends_with_ctrl_c_even_when_the_hub_is_silent(
    environ: pytest.MonkeyPatch, loopback: LoopbackHub, tmp_path: Path
) -> None:
    loopback.held["model.bin"] = hold = threading.Event()
    command = [sys.executable, "-m", "speaches", "models", "pull", WHISPER]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert loopback.holding.wait(DEADLINE)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            hold.set()
    assert process.returncode == 130
    assert "Traceback" not in err


# --- job ---


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The outputs of jobs, by the names of their files."""
    outputs: dict[str, Any] = {}
    monkeypatch.setattr("speaches.worker.once.run_file", lambda path, settings, base_url: outputs[path.name])
    return outputs


def test_a_job_prints_its_result(speaches: Callable[..., Done], jobs: dict[str, Any]) -> None:
    jobs["list.json"] = {"object": "list", "data": [{"id": "größe"}]}
    done = speaches("job", "list.json", "--url", "http://127.0.0.1:8000")
    assert (done.code, json.loads(done.out), done.err) == (0, jobs["list.json"], "")
    assert "größe" in done.out
    assert not Path("out").exists()


def test_audio_goes_into_a_file(speaches: Callable[..., Done], jobs: dict[str, Any]) -> None:
    sound = os.urandom(3000)
    content = base64.b64encode(sound).decode()
    jobs["hello.json"] = {"status": "success", "content_type": "audio/wav", "audio_content": content}
    done = speaches("job", "hello.json")
    assert done.code == 0
    assert json.loads(done.out)["audio_content"] == f"{content[:200]}... (4,000 characters)"
    assert done.err == "The whole result, 3,000 bytes, is in out/hello.wav\n"
    assert Path("out/hello.wav").read_bytes() == sound


def test_a_job_that_failed_exits_with_1(speaches: Callable[..., Done], jobs: dict[str, Any]) -> None:
    jobs["bad.json"] = {"error": "There is no such model.", "status_code": 404, "detail": {}}
    done = speaches("job", "bad.json")
    assert (done.code, json.loads(done.out)) == (1, jobs["bad.json"])


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), ("{", "is not valid JSON")])
def test_a_job_that_cannot_be_read_is_a_sentence(speaches: Callable[..., Done], content: str | None, says: str) -> None:
    if content is not None:
        Path("job.json").write_text(content)
    done = speaches("job", "job.json", "--url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("speaches: ")
    assert says in done.err


def test_long_strings_are_shortened_wherever_they_are() -> None:
    long = "x" * 201
    short = "x" * 200 + "... (201 characters)"
    assert shorten({"a": [long, {"b": long}], "c": "x" * 200, "d": 1, "e": None}) == {
        "a": [short, {"b": short}],
        "c": "x" * 200,
        "d": 1,
        "e": None,
    }


# --- Models of an image ---


@pytest.fixture
def fetch_models(environ: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    spec = importlib.util.spec_from_file_location("fetch_models", ROOT / "builder" / "fetch_models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[[list[str]], None] = module.main
    return run


@pytest.mark.parametrize("said", [f"{KOKORO},tts-1,", f'["{KOKORO}", "tts-1"]', f" {KOKORO}  tts-1 ", None])
def test_models_are_put_into_an_image_as_plain_files(
    fetch_models: Callable[[list[str]], None],
    speaches: Callable[..., Done],
    environ: pytest.MonkeyPatch,
    tmp_path: Path,
    said: str | None,
) -> None:
    environ.setenv("MODEL_ALIASES", json.dumps({"tts-1": "speaches-test/piper-en_US-synth-medium"}))
    environ.setenv("MODELS", said or "")
    fetch_models(["--folder", str(tmp_path / "baked"), *([] if said else [KOKORO, "tts-1"])])
    environ.setenv("MODEL_DIRS", str(tmp_path / "baked"))
    environ.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert listed(speaches, "--task", "tts")[:2] == [KOKORO, "speaches-test/piper-en_US-synth-medium"]
    assert not any(path.is_symlink() for path in (tmp_path / "baked").rglob("*"))
    assert [path.name for path in (tmp_path / "baked").iterdir()] == ["speaches-test"]
    fetch_models(["--folder", str(tmp_path / "baked"), KOKORO])  # with no hub: it is there


def test_no_models_are_none(fetch_models: Callable[[list[str]], None], tmp_path: Path) -> None:
    fetch_models(["--folder", str(tmp_path / "baked")])
    assert list((tmp_path / "baked").iterdir()) == []


def test_a_model_that_cannot_be_had_fails_the_build(fetch_models: Callable[[list[str]], None], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        fetch_models(["--folder", str(tmp_path / "baked"), "no/such"])
    assert str(ended.value.code).startswith("fetch_models: The Hugging Face hub has no model no/such")
    assert [path for path in (tmp_path / "baked").rglob("*") if path.is_file()] == []
