"""The Hub's two files fit the Hub's schema, the image, and the settings that exist."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import dockerfile
from tests.deploy.hub import NEEDED, is_known, lint_hub, lint_tests

ROOT = Path(__file__).parents[2]
HUB: dict[str, Any] = json.loads((ROOT / ".runpod/hub.json").read_text())
TESTS: dict[str, Any] = json.loads((ROOT / ".runpod/tests.json").read_text())
IMAGE = dockerfile.read(ROOT / "Dockerfile")
IMAGE_ENV = IMAGE.stage("base-gpu").env | IMAGE.final.env

Change = Callable[[dict[str, Any]], object]


def problems_of_hub(hub: dict[str, Any]) -> list[str]:
    return lint_hub(hub, image_cuda=IMAGE.cuda)


def problems_of_tests(tests: dict[str, Any]) -> list[str]:
    return lint_tests(tests, image_cuda=IMAGE.cuda, image_env=IMAGE_ENV)


def field(hub: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(variable["input"] for variable in hub["config"]["env"] if variable["key"] == key)
    return found


def test_our_hub_file_is_right() -> None:
    assert problems_of_hub(HUB) == []


def test_our_tests_file_is_right() -> None:
    assert problems_of_tests(TESTS) == []


def test_the_file_of_the_docs_template_and_the_first_worker_is_refused_for_each_of_its_mistakes() -> None:
    hub = {
        "title": "Speaches",
        "description": "Speech",
        "type": "serverless",
        "category": "audio",
        "config": {
            "runsOn": "GPU",
            "containerDiskInGb": 15,
            "gpuCount": 1,
            "gpuIds": "RTX A4000,-NVIDIA RTX 4090",
            "allowedCudaVersions": ["12.8", "12.7", "12.6", "12.5", "12.4", "12.3", "12.2", "12.1", "12.0"],
            "env": [{"key": "MODEL_LOAD_SECONDS", "value": "300"}],
        },
    }
    problems = "\n".join(lint_hub(hub, image_cuda="12.4"))
    assert "'RTX A4000', which is not a pool" in problems
    assert "takes away 'NVIDIA RTX 4090'" in problems
    assert "does not ascend" in problems
    assert "can't start on hosts with 12.3, 12.2, 12.1, 12.0" in problems
    assert "hosts with CUDA 12.9, 13.0, 13.1, 13.2 could run the image" in problems
    assert "MODEL_LOAD_SECONDS is read by nothing" in problems
    assert "MODEL_LOAD_SECONDS is static" in problems
    assert all(f"{key} can't be chosen" in problems for key in NEEDED)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda hub: hub.pop("title"), "title is missing"),
        (lambda hub: hub.update(type="pod"), "type is 'pod'"),
        (lambda hub: hub.update(category="speech"), "category 'speech'"),
        (lambda hub: hub["config"].update(containerDiskInGb="30"), "containerDiskInGb is missing"),
        (lambda hub: hub["config"].update(runsOn="TPU"), "runsOn is 'TPU'"),
        (lambda hub: hub["config"].update(runsOn="CPU", cpuFlavor="small"), "cpuFlavor 'small'"),
        (lambda hub: hub["config"].update(gpuCount="one"), "gpuCount is missing"),
        (lambda hub: hub["config"].update(gpuIds="AMPERE_16, ADA_24"), "' ADA_24', which is not a pool"),
        (lambda hub: hub["config"].update(allowedCudaVersions=["12.8", "14.9"]), "14.9, which Runpod does not know"),
        (lambda hub: hub["config"]["env"].append(hub["config"]["env"][0]), "DEFAULT_STT_MODEL is there twice"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(type="integer"), "is of type 'integer'"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").pop("default"), "WORKER_CONCURRENCY has no default"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(default="8"), "'8' is not a number"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(default=65), "65 is out of range"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(default=0, min=0), "0 is refused"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(maximum=9), "has maximum"),
        (lambda hub: field(hub, "WORKER_CONCURRENCY").update(description=""), "no description"),
        (lambda hub: field(hub, "WORKER_STREAM").update(default="false"), "'false' is not a boolean"),
        (lambda hub: field(hub, "STT_MODEL_TTL").update(default=True), "True is not a number"),
        (lambda hub: field(hub, "LOG_LEVEL").update(default="trace"), "'trace' is not one of the options"),
        (
            lambda hub: hub["config"]["presets"][0]["defaults"].update(MODEL="turbo"),
            "preset 'Fast (Whisper large-v3-turbo, Kokoro)' sets MODEL, which is no input",
        ),
        (
            lambda hub: hub["config"]["presets"][0]["defaults"].update(WORKER_CONCURRENCY="8"),
            "WORKER_CONCURRENCY '8' is not a number",
        ),
    ],
)
def test_a_mistake_in_the_hub_file_is_found(change: Change, problem: str) -> None:
    hub = copy.deepcopy(HUB)
    change(hub)
    assert problem in "\n".join(problems_of_hub(hub))


def first_speech(tests: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in tests["tests"] if t["input"]["path"] == "/v1/audio/speech")
    return found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tests: tests["tests"].pop(0), "no test asks for /selftest"),
        (lambda tests: first_speech(tests).update(timeout=30_000), "30000 ms are less than a cold start takes"),
        (lambda tests: first_speech(tests).pop("name"), "it has no name"),
        (lambda tests: first_speech(tests).update(input={}), "the worker can't read its input"),
        (
            lambda tests: first_speech(tests)["input"]["body"].update(model="speaches-ai/piper-en_US-amy-medium"),
            "'speaches-ai/piper-en_US-amy-medium' would have to be downloaded",
        ),
        (lambda tests: first_speech(tests)["input"]["body"].update(voice="af_heart"), "has no voice 'af_heart'"),
        (
            lambda tests: first_speech(tests)["input"].update(
                path="/v1/audio/transcriptions", file_url="https://raw.githubusercontent.com/a.wav"
            ),
            "it needs https://raw.githubusercontent.com/a.wav",
        ),
        (lambda tests: tests["config"].update(gpuTypeId="ADA_24"), "gpuTypeId 'ADA_24' is not the full name"),
        (lambda tests: tests["config"].update(gpuTypeId="RTX 4090"), "gpuTypeId 'RTX 4090' is not the full name"),
        (lambda tests: tests["config"].update(allowedCudaVersions=["12.4"]), "can't start on hosts with 12.4"),
        (lambda tests: tests["config"]["env"].append({"key": "MODEL", "value": "a"}), "MODEL is read by nothing"),
        (lambda tests: tests["config"]["env"].append({"key": "WORKER_STREAM", "value": True}), "is not a string"),
        (lambda tests: tests["config"]["env"].append({"key": "WORKER_MODE", "value": "pod"}), "WORKER_MODE is refused"),
        (
            lambda tests: tests["config"]["env"].append({"key": "UVICORN_HOST", "value": "127.0.0.1"}),
            "UVICORN_HOST is '127.0.0.1' in the tests and '0.0.0.0' in the image",
        ),
    ],
)
def test_a_mistake_in_the_tests_file_is_found(change: Change, problem: str) -> None:
    tests = copy.deepcopy(TESTS)
    change(tests)
    assert problem in "\n".join(problems_of_tests(tests))


def test_a_cpu_listing_needs_no_gpu() -> None:
    hub = copy.deepcopy(HUB)
    config = hub["config"]
    for key in ("gpuIds", "gpuCount", "allowedCudaVersions"):
        del config[key]
    config.update(runsOn="CPU", cpuFlavor="cpu5c-4-8")
    assert problems_of_hub(hub) == []


@pytest.mark.parametrize("name", ["DEFAULT_STT_MODEL", "HF_TOKEN", "RUNPOD_INIT_TIMEOUT", "WHISPER__COMPUTE_TYPE"])
def test_what_something_reads_is_known(name: str) -> None:
    assert is_known(name)


def test_the_hub_finds_its_files_in_the_root() -> None:
    assert all((ROOT / name).is_file() for name in ("handler.py", "Dockerfile", "README.md"))
