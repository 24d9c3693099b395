"""The jobs of `.runpod/tests.json` do what they say, through Runpod's own harness. The Hub only looks whether they end well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.worker.helpers import DEADLINE

ROOT = Path(__file__).parents[2]
TESTS: dict[str, Any] = json.loads((ROOT / ".runpod/tests.json").read_text())
ENVIRONMENT = {variable["key"]: variable["value"] for variable in TESTS["config"]["env"]}


def run(job_input: dict[str, Any], folder: Path) -> Path:
    """Run a job as `python handler.py` does. Returns the file with its result."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "handler.py"), "--test_input", json.dumps({"input": job_input})],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(folder / "hub")},
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (folder / "out").iterdir()
    return result


def job(path: str) -> dict[str, Any]:
    found: dict[str, Any] = next(test["input"] for test in TESTS["tests"] if test["input"]["path"] == path)
    return found


def test_the_self_test_passes(tmp_path: Path) -> None:
    report = json.loads(run(job("/selftest"), tmp_path).read_text())
    assert report["status"] == "ok"
    assert [step["ok"] for step in report["steps"]] == [True, True, True]


def test_the_speech_is_speech(tmp_path: Path) -> None:
    speech = run(job("/v1/audio/speech"), tmp_path)
    assert speech.suffix == ".wav"
    assert speech.read_bytes().startswith(b"RIFF")
    assert speech.stat().st_size > 22_050 * 2 * 0.5  # half a second


def test_the_recording_is_understood(tmp_path: Path) -> None:
    answer = json.loads(run(job("/v1/audio/transcriptions"), tmp_path).read_text())
    assert answer["text"] == "one two three four five"


@pytest.mark.parametrize("model", ["speaches/espeak-ng", "speaches/pocketsphinx-en-us"])
def test_the_built_in_models_are_listed(model: str, tmp_path: Path) -> None:
    listed = json.loads(run(job("/v1/models"), tmp_path).read_text())
    assert model in [entry["id"] for entry in listed["data"]]
