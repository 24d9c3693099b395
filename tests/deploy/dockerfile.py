"""A Dockerfile as its stages and instructions, as far as our own needs to be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What follows a FROM."""

    image: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)
    """Keyword and arguments, continued lines joined."""

    def of(self, keyword: str) -> list[str]:
        return [arguments for word, arguments in self.instructions if word == keyword]

    @property
    def env(self) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S*)", " ".join(self.of("ENV"))))

    @property
    def apt_packages(self) -> set[str]:
        found = [re.search(r"apt-get install (.+?)(&&|$)", run) for run in self.of("RUN")]
        return {word for match in found if match for word in match[1].split() if not word.startswith("-")}

    def command(self, keyword: str) -> list[str]:
        """The arguments of its one ENTRYPOINT or CMD."""
        (arguments,) = self.of(keyword)
        return [str(word) for word in json.loads(arguments)]

    @property
    def sources(self) -> list[str]:
        """What its COPY instructions take out of the build context."""
        own = [copy for copy in self.of("COPY") if "--from=" not in copy]
        return [word for copy in own for word in copy.split()[:-1] if not word.startswith("--")]


@dataclass
class Dockerfile:
    stages: list[Stage]

    @property
    def final(self) -> Stage:
        return self.stages[-1]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def cuda(self) -> str:
        """Of the GPU image: `12.8`."""
        match = re.fullmatch(r"nvidia/cuda:(\d+\.\d+)\.\d+-[\w.-]+", self.stage("base-gpu").image)
        assert match, "The GPU image has to be built on nvidia/cuda with a full version."
        return match[1]


def read(path: Path) -> Dockerfile:
    stages: list[Stage] = []
    for keyword, arguments in _instructions(path.read_text()):
        if keyword == "FROM":
            image, _, name = arguments.partition(" AS ")
            stages.append(Stage(image.strip(), name.strip() or None))
        elif stages:
            stages[-1].instructions.append((keyword, arguments))
    return Dockerfile(stages)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for instruction in re.split(r"(?<!\\)\n", "\n".join(lines)):
        keyword, _, arguments = instruction.replace("\\\n", " ").strip().partition(" ")
        if keyword:
            yield keyword, " ".join(arguments.split())
