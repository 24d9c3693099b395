"""The docs say what is: each setting and its default, each alias; links lead somewhere; examples can be read; no machine is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from speaches.api.captions import CaptionsRequest
from speaches.api.speech import SpeechRequest
from speaches.app import create_app
from speaches.models.aliases import BUILT_IN
from speaches.settings import OLD_NAMES, Settings
from tests.deploy import dockerfile
from tests.deploy.hub import POOLS, is_known

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of all tables with that many columns."""
    found = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found if len(row) == columns]


# --- docs/configuration.md ---

SETTINGS = {row[0].strip("`"): row[1:] for row in rows(CONFIGURATION, 4) if row[0].startswith("`")}


def written(default: Any) -> str:
    """A default as the tables have it."""
    if default is None or default in ([], {}):
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) and default < 1e6 else f"`{default}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented_with_its_default(name: str) -> None:
    assert name.upper() in SETTINGS, "add a row to docs/configuration.md"
    default, meaning, example = SETTINGS[name.upper()]
    assert default == written(Settings.model_fields[name].default)
    assert meaning.endswith(".")
    assert re.fullmatch(r"`[^`]+`", example)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    assert [name for name in SETTINGS if name.lower() not in Settings.model_fields] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_an_example_is_a_valid_value_and_not_the_default(name: str) -> None:
    default, _, example = SETTINGS[name]
    assert example != default
    value = getattr(Settings.model_validate({name.lower(): example.strip("`")}), name.lower())
    assert value != Settings.model_fields[name.lower()].default
    assert not isinstance(value, SecretStr) or value.get_secret_value()


def test_the_old_names_are_documented() -> None:
    assert {old.strip("`"): new.strip("`") for old, new in rows(CONFIGURATION, 2)}.items() >= OLD_NAMES.items()


def test_the_aliases_are_documented() -> None:
    documented = {
        name: target.strip("`") for names, target in rows(CONFIGURATION, 2) for name in re.findall(r"`([^`]+)`", names)
    }
    assert documented.items() >= BUILT_IN.items()


# --- docs/api.md ---


def test_every_route_is_on_the_page_of_the_api_and_nothing_else() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    page = (ROOT / "docs/api.md").read_text()
    named = re.findall(r"^\| `([A-Z]+ /\S*)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(there)


@pytest.mark.parametrize("kind", [SpeechRequest, CaptionsRequest])
def test_every_parameter_of_speech_is_on_the_page_of_the_api(kind: type[BaseModel]) -> None:
    page = (ROOT / "docs/api.md").read_text()
    documented = {name for row in rows(page, 3) for name in re.findall(r"`(\w+)`", row[0])}
    assert kind.model_fields.keys() - documented == set()
    assert documented - {"parameter"} == SpeechRequest.model_fields.keys() | CaptionsRequest.model_fields.keys()


# --- Links ---


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} names no heading"


# --- Examples ---


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_json_in_the_docs_is_json(page: Path) -> None:
    shell = "".join(blocks(page, "sh") + blocks(page, "bash"))
    sent = re.findall(r" -d '(.*?)'", shell, re.DOTALL)
    for example in [*blocks(page, "json"), *sent]:
        assert json.loads(example)


def test_the_endpoints_of_the_deploy_guide_are_what_the_api_takes() -> None:
    """The fields of `CreateEndpointRequest` in the schema of Runpod's REST API v2, as far as the guide uses them."""
    page = ROOT / "docs/deploy-runpod.md"
    created = [
        json.loads(data)
        for block in blocks(page, "sh")
        for data in re.findall(r"https://api\.runpod\.io/v2/serverless .*? -d '(.*?)'", block, re.DOTALL)
    ]
    assert [endpoint["type"] for endpoint in created] == ["QUEUE", "LOAD_BALANCER"]
    for endpoint in created:
        assert endpoint.keys() <= {
            "name", "type", "image", "disk", "gpu", "workers", "scaling", "flashboot", "timeout", "env",
        }  # fmt: skip
        assert set(endpoint["gpu"]["pools"]) <= set(POOLS)
        assert not {"minCudaVersion", "allowedCudaVersions"} <= endpoint["gpu"].keys()
        assert all(isinstance(value, str) and (is_known(key)) for key, value in endpoint["env"].items())
        Settings.model_validate({key.lower(): value for key, value in endpoint["env"].items()})
    queue, balancer = created
    assert queue["scaling"].keys() == {"type", "queueDelay"}
    assert balancer["scaling"]["type"] == "REQUEST_COUNT"
    assert balancer["env"]["WORKER_MODE"] == "http"


def test_the_guide_names_the_cuda_version_of_the_image() -> None:
    cuda = dockerfile.read(ROOT / "Dockerfile").cuda
    named = set(
        re.findall(r"(?:cuda>=|CUDA[: ]+|minCudaVersion\": \")(\d+\.\d+)", (ROOT / "docs/deploy-runpod.md").read_text())
    )
    assert named == {cuda}


# --- Nothing of the machine that somebody worked on ---

# Written in pieces, so that this file names none either.
MACHINE = [
    "/" + "work/",
    "/" + "root/",
    "/" + "Users/",
    "/" + "tmp/dev",
    "/" + "opt/pypi",
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    "npmjs" + r"\.(org|com)",
    "extra-" + "index-url",
]


PRIVATE = {".git", ".venv", "__pycache__", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
"""Folders of tools."""


def tracked() -> list[Path]:
    """What is in the repository, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    paths = (
        [ROOT / name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else list(ROOT.rglob("*"))
    )
    # First those out: what other tests are writing may be gone again.
    paths = [path for path in paths if not PRIVATE.intersection(path.parts)]
    return [path for path in paths if path.is_file() and path.stat().st_size < 1_000_000]


def indexes() -> list[str]:
    """Hosts of the package index that this machine is set to use."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout + " ".join(value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_", "npm_config_")))
    hosts = re.findall(r"https?://(?:[^/@\s]+@)?([^/'\"\s:]+)", configured)
    return [re.escape(host) for host in hosts if "." in host and not host.startswith("127.")]


def test_no_file_names_a_machine_s_path_or_a_package_index() -> None:
    forbidden = re.compile(
        "|".join(rf"(?<![\w.~}}]){path}" if path.startswith("/") else path for path in [*MACHINE, *indexes()])
    )
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]
    assert found == []
