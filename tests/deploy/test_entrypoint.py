"""The image's entrypoint: where models are kept, and who runs the program."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.worker.helpers import DEADLINE

SCRIPT = (Path(__file__).parents[2] / "builder/entrypoint.sh").read_text()


@dataclass
class Container:
    """A folder that stands for the image's file system. `id` and `setpriv` are played: no test changes its user."""

    root: Path
    uid: int = 0
    first_open_port: int = 0
    closed_to_the_user: str = "nothing"
    """A folder that only root can write."""

    def start(self, **env: str) -> dict[str, str]:
        """Run the entrypoint. Returns what the program sees, and what was logged."""
        commands = self.root / "bin"
        commands.mkdir(exist_ok=True)
        (commands / "id").write_text(f"#!/bin/sh\necho {self.uid}\n")
        (commands / "setpriv").write_text(
            "#!/bin/bash\n"
            "while [[ $1 == --* ]]; do case $1 in --re*) shift 2 ;; *) shift ;; esac; done\n"
            f'[[ "$*" == *"{self.closed_to_the_user}"* ]] && exit 1\n'
            'WHO=speaches exec "$@"\n'
        )
        for command in commands.iterdir():
            command.chmod(0o755)
        (self.root / "port").write_text(f"{self.first_open_port}\n")
        script = SCRIPT.replace("/proc/sys/net/ipv4/ip_unprivileged_port_start", str(self.root / "port"))
        script = script.replace("/runpod-volume", str(self.root / "runpod-volume"))
        script = script.replace("=/models", f"={self.root / 'models'}")
        done = subprocess.run(
            ["bash", "-c", script, "entrypoint", "sh", "-c", 'echo "${WHO:-root}|$HF_HUB_CACHE|$HOME"'],
            env={"PATH": f"{commands}:{os.environ['PATH']}", "HOME": "/root", **env},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        who, cache, home = done.stdout.strip().split("|")
        return {"who": who, "cache": cache.replace(str(self.root), ""), "home": home, "log": done.stderr}


@pytest.fixture
def container(tmp_path: Path) -> Container:
    (tmp_path / "models").mkdir()
    return Container(tmp_path)


def test_a_user_of_its_own_and_models_in_the_container(container: Container) -> None:
    assert container.start() == {"who": "speaches", "cache": "/models/hub", "home": "/home/speaches", "log": ""}
    assert not (container.root / "runpod-volume").exists()


def test_a_network_volume_keeps_the_models(container: Container) -> None:
    (container.root / "runpod-volume").mkdir()
    assert container.start()["cache"] == "/runpod-volume/huggingface-cache/hub"


def test_a_network_volume_that_belongs_to_root_keeps_root(container: Container) -> None:
    (container.root / "runpod-volume").mkdir()
    container.closed_to_the_user = "runpod-volume"
    seen = container.start()
    assert (seen["who"], seen["cache"]) == ("root", "/runpod-volume/huggingface-cache/hub")
    assert "Running as root" in seen["log"]


def test_cached_models_that_can_t_be_written_to_are_left_alone(container: Container) -> None:
    (container.root / "runpod-volume").write_text("no folder can be made below a file")
    seen = container.start()
    assert (seen["who"], seen["cache"]) == ("speaches", "/models/hub")


def test_a_cache_that_the_user_chose_stays(container: Container) -> None:
    chosen = container.root / "mine"
    assert container.start(HF_HUB_CACHE=str(chosen))["cache"] == "/mine"


def test_hf_home_is_a_choice_too(container: Container) -> None:
    assert container.start(HF_HOME=str(container.root / "mine"))["cache"] == ""


def test_a_port_that_only_root_may_take_keeps_root(container: Container) -> None:
    container.first_open_port = 1024
    assert container.start(WORKER_MODE="http")["who"] == "root"
    assert container.start(WORKER_MODE="http", PORT="8000")["who"] == "speaches"
    assert container.start(WORKER_MODE="queue")["who"] == "speaches"


def test_docker_lets_every_user_take_port_80(container: Container) -> None:
    assert container.start(WORKER_MODE="http")["who"] == "speaches"


def test_who_is_no_root_stays_who_it_is(container: Container) -> None:
    container.uid = 1000
    assert container.start() == {
        "who": "root",
        "cache": "/models/hub",
        "home": "/root",
        "log": "",
    }  # setpriv not called
