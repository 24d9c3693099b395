"""The Dockerfile, its lock files and compose.yaml, as far as they can be checked without Docker."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy import dockerfile
from tests.deploy.hub import is_known

ROOT = Path(__file__).parents[2]
IMAGE = dockerfile.read(ROOT / "Dockerfile")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def locked(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / "builder" / name).read_text().splitlines() if not line.startswith("#")]
    return {package: Version(version) for package, version in (line.split("==") for line in lines)}


def wanted(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    found = [Requirement(line) for line in lines]
    return [
        r for r in found if r.marker is None or r.marker.evaluate({"sys_platform": "linux", "python_version": "3.12"})
    ]


# --- What is locked ---


@pytest.mark.parametrize("requirement", wanted("runpod"), ids=str)
def test_the_lock_has_what_the_package_needs(requirement: Requirement) -> None:
    versions = locked("requirements.txt")
    assert requirement.name in versions, "run builder/lock.sh"
    assert versions[requirement.name] in requirement.specifier, "run builder/lock.sh"


@pytest.mark.parametrize("requirement", wanted("gpu"), ids=str)
def test_the_gpu_lock_has_what_the_gpu_extra_needs(requirement: Requirement) -> None:
    versions = locked("requirements.txt") | locked("requirements-gpu.txt")
    assert versions[requirement.name] in requirement.specifier, "run builder/lock.sh"


def test_onnxruntime_is_of_the_image_s_cuda() -> None:
    version = locked("requirements-gpu.txt")["onnxruntime-gpu"]
    assert Version("1.24") <= version < Version("1.27"), "1.27 and later are built for CUDA 13"
    assert IMAGE.cuda.startswith("12.")
    assert str(locked("requirements-gpu.txt")["nvidia-cuda-runtime-cu12"]).startswith(f"{IMAGE.cuda}.")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-gpu.txt"])
def test_a_lock_names_exact_versions_and_no_index(name: str) -> None:
    header, *lines = (ROOT / "builder" / name).read_text().splitlines()
    assert header.startswith("# ") and "builder/lock.sh" in header
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.+!]+", line)] == []


def test_runpod_s_sdk_is_held() -> None:
    assert locked("requirements.txt")["runpod"] >= Version("1.12"), "1.7.11 to 1.10.0 send all jobs to one worker"


def test_an_environment_is_one_variant_and_not_the_other() -> None:
    from builder.check_onnxruntime import check, version

    here, other = ("gpu", "cpu") if version("onnxruntime-gpu") else ("cpu", "gpu")
    assert "CPUExecutionProvider" in check(here)
    with pytest.raises(SystemExit, match="is installed beside"):
        check(other)


# --- The Dockerfile ---


def test_one_argument_chooses_between_gpu_and_cpu() -> None:
    assert IMAGE.final.image == "base-${VARIANT}"
    assert IMAGE.stage("base-gpu").image.startswith("nvidia/cuda:12.")
    assert IMAGE.stage("base-cpu").image == IMAGE.stage("build").image == "ubuntu:24.04"
    assert IMAGE.stage("base-gpu").image.endswith("-ubuntu24.04"), "the same Python in all stages"


def test_what_is_copied_exists_and_is_part_of_the_context() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for stage in IMAGE.stages:
        for source in stage.sources:
            assert (ROOT / source).exists()
            assert ".." not in source
            probe = f"{source}/x" if (ROOT / source).is_dir() else source
            assert any(fnmatch.fnmatch(probe, rule[1:]) for rule in rules), f".dockerignore keeps {source} out"


def test_the_last_stage_has_nothing_to_build_with() -> None:
    assert IMAGE.final.apt_packages == {"ca-certificates", "python3", "tini"}
    assert "pip uninstall" in " ".join(IMAGE.stage("build").of("RUN"))
    assert not any("pip install" in run for run in IMAGE.final.of("RUN"))


def test_a_small_process_forwards_signals_and_reaps() -> None:
    assert IMAGE.final.command("ENTRYPOINT") == ["/usr/bin/tini", "-g", "--", "entrypoint"]
    assert IMAGE.final.command("CMD") == ["python", "-u", "handler.py"]


def test_a_token_never_gets_into_a_layer() -> None:
    bake = next(run for run in IMAGE.stage("models").of("RUN") if "fetch_models.py" in run)
    assert "--mount=type=secret,id=HF_TOKEN" in bake
    assert not any("TOKEN" in text for stage in IMAGE.stages for text in stage.of("ARG") + stage.of("ENV"))


def test_something_reads_what_the_image_sets() -> None:
    python = {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "HF_HUB_DISABLE_TELEMETRY"}
    env = IMAGE.final.env | IMAGE.stage("base-cpu").env
    assert [name for name in env if not is_known(name) and name not in python] == []
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["RUNPOD_LOG_LEVEL"] == "INFO"
    assert float(env["RUNPOD_MIN_MEMORY_GB"]) <= 1


def test_the_image_does_not_decide_where_models_are_cached() -> None:
    # Only the entrypoint knows what is mounted and can be written.
    assert not {"HF_HOME", "HF_HUB_CACHE"} & IMAGE.final.env.keys()


def test_baked_models_are_looked_for_where_they_are_baked() -> None:
    from builder.fetch_models import FOLDER

    assert IMAGE.final.env["MODEL_DIRS"] == str(FOLDER)


# --- compose.yaml ---


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_compose_runs_the_plain_server_and_keeps_its_models(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["profiles"] == [name]
    assert service["command"] == ["speaches", "serve"]
    assert service["build"].get("args", {}).get("VARIANT", "gpu") == name
    assert service["volumes"] == ["models:/models"]
    assert "models" in COMPOSE["volumes"]
    assert service["env_file"] == [{"path": ".env", "required": False}]


def test_compose_asks_a_path_that_needs_no_key_and_answers_while_models_load() -> None:
    assert "127.0.0.1:8000/health" in COMPOSE["services"]["cpu"]["healthcheck"]["test"][-1]


def test_compose_gives_the_gpu_to_the_gpu_service_only() -> None:
    (device,) = COMPOSE["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in COMPOSE["services"]["cpu"]
