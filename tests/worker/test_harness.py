"""handler.py at home: the SDK's local harness and its simulator."""

from __future__ import annotations

import base64
import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from speaches.worker.harness import save
from speaches.worker.sdk import LEVELS, Mode, mode_of, set_log_level

from .fake_server import WAV
from .helpers import DEADLINE, eventually, free_port
from .processes import gone, worker

ROOT = Path(__file__).parents[2]
SPEECH = {"path": "/v1/audio/speech", "body": {"model": "m", "input": "Hello", "voice": "v"}}


def test_the_job_in_test_input_is_done_and_its_audio_kept(tmp_path: Path) -> None:
    (tmp_path / "test_input.json").write_text((ROOT / "test_input.json").read_text())
    with worker(tmp_path, {"WORKER_STREAM": "true"}) as process:  # which makes no difference at home
        family = process.family()
        assert process.ended() == 0
        gone(family)
    assert (tmp_path / "out" / "local_test.wav").read_bytes() == WAV
    *_, done, where, how, example = process.log().splitlines()
    assert done == f"Done: /v1/audio/speech gave {len(WAV):,} bytes of audio/wav."
    assert where == "The result is in out/local_test.wav"
    assert "test_input.json" in how
    assert "--test_input" in example
    assert base64.b64encode(WAV).decode()[:100] not in process.log()


def test_a_job_on_the_command_line_that_fails_is_exit_code_1(tmp_path: Path) -> None:
    with worker(tmp_path, {"RUNPOD_LOG_LEVEL": "WARNING"}, "--test_input", '{"input": {"path": "//x"}}') as process:
        assert process.ended() == 1
    assert "The job failed (400): path must begin with a single '/'" in process.log().splitlines()[-3]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("arguments", "word"), [(["--test_input", "{"], "not valid JSON"), ([], "No job ran")])
def test_a_job_that_is_none_is_exit_code_1(tmp_path: Path, arguments: list[str], word: str) -> None:
    with worker(tmp_path, {}, *arguments) as process:
        assert process.ended() == 1
    assert word in process.log()
    assert "Traceback" not in process.log()


def test_a_server_that_does_not_boot_is_exit_code_1_with_its_last_words(tmp_path: Path) -> None:
    with worker(tmp_path, {}, "--test_input", json.dumps({"input": SPEECH}), behaviour="dies") as process:
        assert process.ended() == 1
    assert process.log().endswith("Its last lines:\nfake server, dies\nthis model does not exist\n")


def test_a_setting_that_is_not_valid_is_exit_code_2(tmp_path: Path) -> None:
    with worker(tmp_path, {"WORKER_CONCURRENCY": "many"}) as process:
        assert process.ended() == 2
    assert "WORKER_CONCURRENCY is 'many'" in process.log()
    assert "Traceback" not in process.log()


def test_the_simulator_returns_results_whole(tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, {}, "--rp_serve_api", "--rp_api_port", str(port)) as process:

        def runsync(job_input: Any) -> Any:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/runsync",
                json.dumps({"input": job_input}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return json.load(response)

        eventually(lambda: "Uvicorn running" in process.log() or _answers(port))
        done = runsync(SPEECH)
        assert (done["status"], base64.b64decode(done["output"]["audio_content"])) == ("COMPLETED", WAV)
        large = runsync({"path": "/bytes?size=3000000&type=audio/wav"})
        assert base64.b64decode(large["output"]["audio_content"]) == bytes(3_000_000)
        assert runsync({"path": "/text?status=204"})["output"] == {"status": "success"}
        failed = runsync({"path": "/v1/realtime"})
        assert (failed["status"], "load-balancing" in failed["error"]) == ("FAILED", True)
        family = process.family()
        process.popen.send_signal(signal.SIGTERM)
        process.ended()
        gone(family)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "environment", "mode"),
    [
        ([], {}, Mode.HARNESS),
        ([], {"RUNPOD_WEBHOOK_GET_JOB": "http://x"}, Mode.PLATFORM),
        (["--test_input", "{}"], {"RUNPOD_WEBHOOK_GET_JOB": "http://x"}, Mode.HARNESS),
        (["--test_input={}"], {"RUNPOD_WEBHOOK_GET_JOB": "http://x"}, Mode.HARNESS),
        (["--rp_serve_api"], {}, Mode.SIMULATOR),
        (["--rp_serve"], {"RUNPOD_WEBHOOK_GET_JOB": "http://x"}, Mode.SIMULATOR),
        ([], {"RUNPOD_REALTIME_PORT": "8001"}, Mode.SIMULATOR),
        ([], {"RUNPOD_REALTIME_PORT": "0"}, Mode.HARNESS),
    ],
)
def test_the_mode_is_the_one_that_the_sdk_will_choose(
    arguments: list[str], environment: dict[str, str], mode: Mode
) -> None:
    assert mode_of(arguments, environment) is mode


@pytest.mark.parametrize(
    ("wish", "level"),
    [
        ("", "INFO"),
        ("debug", "DEBUG"),
        ("WARNING", "WARN"),
        ("critical", "ERROR"),
        ("loud", "INFO"),
        ("ERROR", "ERROR"),
    ],
)
def test_no_log_level_kills_the_sdk(wish: str, level: str) -> None:
    environment = {"RUNPOD_LOG_LEVEL": wish}
    set_log_level(environment)
    assert environment["RUNPOD_LOG_LEVEL"] == level
    assert level in LEVELS


@pytest.mark.parametrize(
    ("output", "name", "content"),
    [
        ({"status": "success", "content_type": "audio/mpeg", "audio_content": "SUQz"}, "j.mp3", b"ID3"),
        ({"status": "success", "content_type": "application/zip", "data": "UEs="}, "j.zip", b"PK"),
        ({"text": "grüß"}, "j.txt", "grüß".encode()),
        ({"text": "WEBVTT\n"}, "j.vtt", b"WEBVTT\n"),
        ({"text": "1\n00:00:00,000 --> 00:00:01,000\nhi"}, "j.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhi"),
        ({"text": "hi", "language": "en"}, "j.json", b'{\n  "text": "hi",\n  "language": "en"\n}\n'),
        ([], "j.json", b"[]\n"),
    ],
)
def test_a_result_is_kept_as_the_file_that_it_stands_for(
    tmp_path: Path, output: Any, name: str, content: bytes
) -> None:
    path, size = save(output, tmp_path / "out", "j")
    assert (path.name, path.read_bytes(), size) == (name, content, len(content))


def test_a_jobs_name_can_not_leave_the_folder(tmp_path: Path) -> None:
    path, _ = save([], tmp_path, "../../x/y")
    assert path == tmp_path / ".._.._x_y.json"
