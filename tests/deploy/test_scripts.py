"""The scripts that people and CI share: what they install, when they don't, and what they say when they can't."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.worker.helpers import DEADLINE

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())

# A Python that notes what it was asked to do. It knows its version and makes "virtual environments" of itself.
PYTHON = """#!/bin/bash
case "$*" in
*sys.exit*) [[ {version} =~ ^3\\.1[123] ]] ;;
-V) echo "Python {version}" ;;
*"import pip"*) ;;
*"import venv"*) exit {no_venv} ;;
*"-m venv --clear"*) rm -rf "${{@: -1}}"; mkdir -p "${{@: -1}}/bin"; cp "$0" "${{@: -1}}/bin/python"; touch "${{@: -1}}/pyvenv.cfg" ;;
*'version("onnxruntime-gpu")'*) echo 1.26.0 ;;
*) echo "$*" >>"{log}"; [ ! -e "{fail}" ] ;;
esac
"""


@dataclass
class Checkout:
    """A copy of the scripts, a Python that only notes, and the commands that it was given."""

    folder: Path
    version: str = "3.12.4"
    no_venv: int = 0

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def call(self, script: str, *arguments: str, **env: str) -> tuple[int, str]:
        commands = self.folder / "commands"
        commands.mkdir(exist_ok=True)
        text = PYTHON.format(version=self.version, no_venv=self.no_venv, log=self.log, fail=self.folder / "fail")
        (commands / "good-python").write_text(text)
        (commands / "good-python").chmod(0o755)
        done = subprocess.run(
            ["bash", str(self.folder / "scripts" / script), *arguments],
            env={"PATH": f"{commands}:{os.environ['PATH']}", "PYTHON": "good-python", **env},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        return done.returncode, done.stdout + done.stderr

    def commands(self) -> list[str]:
        """What Python was asked to do since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return Checkout(tmp_path)


def test_run_installs_and_runs_the_handler(checkout: Checkout) -> None:
    code, output = checkout.call("run", "--test_input", "{}")
    assert code == 0, output
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod]", "-u handler.py --test_input {}"]
    assert "Installing speaches[runpod] into .venv with Python 3.12.4" in output


def test_a_second_call_installs_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.call("run")
    checkout.commands()
    assert checkout.call("run") == (0, "")
    assert checkout.commands() == ["-u handler.py"]


def test_test_and_then_run_install_once(checkout: Checkout) -> None:
    checkout.call("test", "-k", "x")
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod,test]", "-m pytest -k x"]
    checkout.call("run")
    checkout.call("serve")
    assert checkout.commands() == ["-u handler.py", "-m speaches serve"]


def test_a_changed_pyproject_installs_again(checkout: Checkout) -> None:
    checkout.call("install")
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write("# another\n")
    checkout.commands()
    checkout.call("install")
    assert checkout.commands() == ["-m pip install -qq --editable ."]


def test_an_install_that_failed_is_tried_again(checkout: Checkout) -> None:
    (checkout.folder / "fail").touch()
    assert checkout.call("run")[0] == 1
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod]"]  # and no handler
    (checkout.folder / "fail").unlink()
    assert checkout.call("run")[0] == 0
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod]", "-u handler.py"]


def test_an_environment_whose_python_has_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.call("install")
    checkout.commands()
    (checkout.folder / ".venv/bin/python").unlink()
    (checkout.folder / ".venv/bin/python").symlink_to("/nowhere/python")
    checkout.call("install", "runpod")
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod]"]


def test_onnxruntime_gpu_takes_the_place_of_onnxruntime_and_keeps_it(checkout: Checkout) -> None:
    swap = [
        "-m pip uninstall -qq --yes onnxruntime",
        "-m pip install -qq --no-deps --force-reinstall onnxruntime-gpu==1.26.0",
        "builder/check_onnxruntime.py gpu",
    ]
    checkout.call("install", "gpu")
    assert checkout.commands() == ["-m pip install -qq --editable .[gpu]", *swap]
    checkout.call("install", "runpod")  # whatever brings onnxruntime back
    assert checkout.commands() == ["-m pip install -qq --editable .[runpod,gpu]", *swap]
    assert checkout.call("install", "runpod") == (0, "")


def test_venv_names_another_folder(checkout: Checkout) -> None:
    checkout.call("install", VENV=str(checkout.folder / "other"))
    assert (checkout.folder / "other/bin/python").exists()
    assert not (checkout.folder / ".venv").exists()


def test_a_python_that_is_too_old_is_said_in_one_sentence(checkout: Checkout) -> None:
    checkout.version = "3.10.13"
    code, output = checkout.call("run")
    assert code == 1
    assert output.count("\n") == 1
    assert "needs Python 3.11, 3.12 or 3.13, and good-python is Python 3.10.13" in output


def test_a_python_without_venv_is_said_in_one_sentence(checkout: Checkout) -> None:
    checkout.no_venv = 1
    code, output = checkout.call("run")
    assert code == 1
    assert output.count("\n") == 1
    assert "apt install python3-venv" in output


def test_a_folder_that_is_no_environment_is_not_touched(checkout: Checkout) -> None:
    (checkout.folder / ".venv").mkdir()
    (checkout.folder / ".venv/notes.txt").write_text("mine")
    code, output = checkout.call("run")
    assert code == 1
    assert ".venv is not a virtual environment" in output
    assert (checkout.folder / ".venv/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "script",
    [*SCRIPTS, ROOT / "scripts/clients/run", ROOT / ".ci/run", *(ROOT / "builder").glob("*.sh")],
    ids=lambda path: path.name,
)
def test_a_script_can_be_executed_and_has_no_syntax_error(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith(("#!/usr/bin/env bash\n", "#!/bin/bash\n"))
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_offers_the_scripts() -> None:
    listed = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    offered = {line.split()[1] for line in listed.splitlines()}
    assert offered == {"help", "run", "test", "test-real", "lint", "bench", "serve"}
    assert offered - {"help"} <= {script.name for script in SCRIPTS}


def test_the_workflow_runs_what_people_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert ".ci/run" in steps
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_ci_installs_into_a_folder_of_its_own_and_removes_it() -> None:
    text = (ROOT / ".ci/run").read_text()
    assert "export VENV=$folder/venv" in text
    assert "trap 'rm -rf \"$folder\"' EXIT" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("step make")] == [
        "test",
        "test-real",
        "lint",
    ]


def test_bench_runs_all_or_one(checkout: Checkout) -> None:
    checkout.call("bench", "overhead", "--help")
    assert checkout.commands()[-1] == "-m bench.overhead --help"
    checkout.call("bench")
    run = [command.split(".")[-1] for command in checkout.commands()]
    assert run and all((ROOT / f"bench/{name}.py").exists() for name in run)


def test_lint_does_everything_even_when_something_fails(checkout: Checkout) -> None:
    checkout.call("install", "runpod", "test")
    checkout.commands()
    (checkout.folder / "fail").touch()
    assert checkout.call("lint")[0] == 1
    assert checkout.commands() == ["-m ruff check .", "-m ruff format --check .", "-m mypy"]
