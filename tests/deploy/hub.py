"""
What Runpod's Hub takes in `.runpod/hub.json` and `.runpod/tests.json`, written down as checks.

The Hub itself accepts nearly everything and fails when somebody deploys. Each check here is a mistake that a published worker made.
The source is Runpod's publishing guide, its command line, and the official workers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from speaches.engines import espeak
from speaches.engines.registry import KINDS
from speaches.errors import SpeachesError
from speaches.settings import Settings
from speaches.worker.job import read_job

POOLS = (
    "AMPERE_16",
    "AMPERE_24",
    "ADA_24",
    "AMPERE_48",
    "ADA_48_PRO",
    "AMPERE_80",
    "ADA_80_PRO",
    "HOPPER_141",
)
CPU_FLAVORS = re.compile(r"cpu[35][cg](-\d+-\d+)?")
CUDA_VERSIONS = ("11.8", *(f"12.{minor}" for minor in range(10)), "13.0", "13.1", "13.2")
CATEGORIES = ("audio", "embedding", "language", "video", "image")
INPUT_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "huggingface": (str,),
    "number": (int, float),
    "boolean": (bool,),
}
INPUT_KEYS = {
    "name", "type", "description", "default", "required", "advanced", "options", "min", "max", "trueValue", "falseValue",
}  # fmt: skip
COLD_START_MS = 300_000  # a test's time includes pulling the image and booting

# Read by huggingface-hub and by Runpod's platform, not by our settings.
LIBRARY_VARIABLES = {
    "HF_HUB_CACHE",
    "HF_HOME",
    "HF_ENDPOINT",
    "RUNPOD_INIT_TIMEOUT",
    "RUNPOD_MIN_MEMORY_GB",
    "RUNPOD_LOG_LEVEL",
}

# What a user of a speech worker must be able to choose without building an image.
NEEDED = {"DEFAULT_STT_MODEL", "DEFAULT_TTS_MODEL", "WORKER_CONCURRENCY", "HF_TOKEN", "BUCKET_ENDPOINT_URL"}

BUILT_IN = {model_id for kind in KINDS for model_id in kind.BUILTIN}

Json = Mapping[str, Any]


def lint_hub(hub: Json, *, image_cuda: str) -> list[str]:
    """What is wrong with a hub.json, in sentences. `image_cuda` is the `12.8` of the image that the Dockerfile builds on."""
    return list(_hub(hub, image_cuda))


def lint_tests(tests: Json, *, image_cuda: str, image_env: Mapping[str, str]) -> list[str]:
    """What is wrong with a tests.json. `image_env` is what the Dockerfile sets."""
    return list(_tests(tests, image_cuda, image_env))


def is_known(variable: str) -> bool:
    """Whether something reads that environment variable."""
    return variable.lower() in Settings.model_fields or variable in LIBRARY_VARIABLES


# --- hub.json ---


def _hub(hub: Json, image_cuda: str) -> Iterator[str]:
    for key in ("title", "description", "type", "category"):
        if not isinstance(hub.get(key), str) or not hub[key]:
            yield f"{key} is missing"
    if hub.get("type") != "serverless":
        yield f"type is {hub.get('type')!r}, not serverless"
    if hub.get("category") not in CATEGORIES:
        yield f"category {hub.get('category')!r} is not one of {', '.join(CATEGORIES)}"
    config = hub.get("config", {})
    if not isinstance(config.get("containerDiskInGb"), int):
        yield "containerDiskInGb is missing"
    yield from _hardware(config, image_cuda)
    variables = config.get("env", [])
    for variable in variables:
        yield from _variable(variable)
    keys = [variable.get("key") for variable in variables]
    yield from (f"{key} is there twice" for key in {key for key in keys if keys.count(key) > 1})
    yield from (f"{key} can't be chosen" for key in sorted(NEEDED - set(keys)))
    yield from _presets(config.get("presets", []), {v["key"]: v["input"] for v in variables if "input" in v})


def _hardware(config: Json, image_cuda: str) -> Iterator[str]:
    match config.get("runsOn"):
        case "GPU":
            yield from _pools(config.get("gpuIds", ""))
            if not isinstance(config.get("gpuCount"), int):
                yield "gpuCount is missing"
            yield from _cuda(config.get("allowedCudaVersions", []), image_cuda)
        case "CPU":
            if not CPU_FLAVORS.fullmatch(str(config.get("cpuFlavor", ""))):
                yield f"cpuFlavor {config.get('cpuFlavor')!r} does not exist"
        case other:
            yield f"runsOn is {other!r}, not GPU or CPU"


def _pools(gpu_ids: str) -> Iterator[str]:
    for token in gpu_ids.split(","):
        if token.startswith("-"):
            if not _is_gpu(token[1:]):
                yield f"gpuIds takes away {token[1:]!r}, which is not the full name of a GPU"
        elif token not in POOLS:
            yield f"gpuIds names {token!r}, which is not a pool ({', '.join(POOLS)})"


def _is_gpu(name: str) -> bool:
    """Whether this is written as Runpod's GPU ids are: `NVIDIA GeForce RTX 4090`, `NVIDIA L4`, not `RTX 4090` or `NVIDIA RTX 4090`."""
    geforce = re.fullmatch(r"NVIDIA GeForce RTX \d{4}( Ti| SUPER)?", name)
    workstation = re.fullmatch(r"NVIDIA RTX (\d{4} Ada Generation|A\d{4}|PRO \d{4} .+)", name)
    center = re.fullmatch(r"NVIDIA (A|B|H|L)\d+S?( .+)?", name)
    return bool(geforce or workstation or center)


def _cuda(allowed: list[str], image_cuda: str) -> Iterator[str]:
    """The list is matched exactly, and Runpod's command line takes its first entry as the minimum."""
    unknown = [version for version in allowed if version not in CUDA_VERSIONS]
    if unknown:
        yield f"allowedCudaVersions has {', '.join(unknown)}, which Runpod does not know"
        return
    if allowed != sorted(allowed, key=CUDA_VERSIONS.index):
        yield "allowedCudaVersions does not ascend"
    if older := [v for v in allowed if CUDA_VERSIONS.index(v) < CUDA_VERSIONS.index(image_cuda)]:
        yield f"the image needs CUDA {image_cuda}, so it can't start on hosts with {', '.join(older)}"
    if left_out := [v for v in CUDA_VERSIONS[CUDA_VERSIONS.index(image_cuda) :] if v not in allowed]:
        yield f"hosts with CUDA {', '.join(left_out)} could run the image, but are left out"


def _variable(variable: Json) -> Iterator[str]:
    key = variable.get("key", "")
    if not is_known(key):
        yield f"{key} is read by nothing"
    if "input" not in variable:
        # Runpod's command line sends these as empty strings: what is constant belongs into the Dockerfile.
        yield f"{key} is static"
        return
    field = variable["input"]
    if unknown := sorted(set(field) - INPUT_KEYS):
        yield f"{key} has {', '.join(unknown)}, which Runpod does not know"
    if not field.get("name") or not field.get("description"):
        yield f"{key} has no name or no description"
    if field.get("type") not in INPUT_TYPES:
        yield f"{key} is of type {field.get('type')!r}"
    elif "default" not in field:
        yield f"{key} has no default"
    else:
        yield from (f"{key}: the default {problem}" for problem in _value(key, field["default"], field))


def _presets(presets: list[Json], inputs: Mapping[str, Json]) -> Iterator[str]:
    for preset in presets:
        for key, value in preset.get("defaults", {}).items():
            if key not in inputs:
                yield f"preset {preset.get('name')!r} sets {key}, which is no input"
            else:
                yield from (f"preset {preset.get('name')!r}: {key} {p}" for p in _value(key, value, inputs[key]))


def _value(key: str, value: Any, field: Json) -> Iterator[str]:
    types = INPUT_TYPES.get(field["type"], (object,))  # an unknown one is reported already
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield f"{value!r} is not a {field['type']}"
        return
    options = [option["value"] for option in field.get("options", [])]
    if options and value not in options:
        yield f"{value!r} is not one of the options"
    if field["type"] == "number" and not field.get("min", value) <= value <= field.get("max", value):
        yield f"{value!r} is out of range"
    # As Runpod's command line sends it: booleans as true and false, whatever trueValue says.
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text and (refusal := _refusal(key, text)):
        yield f"{value!r} is refused: {refusal}"


def _refusal(key: str, text: str) -> str | None:
    """What our settings say to that value in the environment."""
    if key.lower() not in Settings.model_fields:
        return None
    try:
        Settings.model_validate({key.lower(): text})
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


# --- tests.json ---


def _tests(tests: Json, image_cuda: str, image_env: Mapping[str, str]) -> Iterator[str]:
    if not any(test.get("input", {}).get("path") == "/selftest" for test in tests.get("tests", [])):
        yield "no test asks for /selftest: a job that fails politely counts as passed"
    for test in tests.get("tests", []):
        for problem in _test(test):
            yield f"{test.get('name', '?')!r}: {problem}"
    config = tests.get("config", {})
    if "cpuFlavor" not in config:
        if not _is_gpu(config.get("gpuTypeId", "")):
            yield f"gpuTypeId {config.get('gpuTypeId')!r} is not the full name of a GPU"
        yield from _cuda(config.get("allowedCudaVersions", []), image_cuda)
    for variable in config.get("env", []):
        key, value = variable.get("key", ""), variable.get("value")
        if not is_known(key):
            yield f"{key} is read by nothing"
        elif not isinstance(value, str):
            yield f"{key} is not a string"
        elif refusal := _refusal(key, value):
            yield f"{key} is refused: {refusal}"
        if key in image_env and image_env[key] != value:
            yield f"{key} is {value!r} in the tests and {image_env[key]!r} in the image"


def _test(test: Json) -> Iterator[str]:
    if not test.get("name"):
        yield "it has no name"
    if test.get("timeout", 0) < COLD_START_MS:
        yield f"{test.get('timeout')} ms are less than a cold start takes"
    try:
        request = read_job(test.get("input"))
    except SpeachesError as error:
        yield f"the worker can't read its input: {error.message}"
        return
    body = request.body or {}
    model = body.get("model", "")
    if request.target.startswith("/v1/audio/") and model not in BUILT_IN:
        yield f"the model {model!r} would have to be downloaded"
    if model in espeak.BUILTIN and body.get("voice") not in {voice.id for voice in espeak.describe(None).voices}:
        yield f"{model} has no voice {body.get('voice')!r}"
    yield from (f"it needs {upload.url}" for upload in request.uploads if upload.url)
