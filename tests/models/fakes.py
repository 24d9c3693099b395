"""Kinds of engines that are made of a few file names, and models for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speaches.engines.base import Engine, Task
from speaches.engines.description import Description
from speaches.settings import Settings

LONG_AGO = 1_700_000_000  # seconds since 1970


@dataclass
class FakeKind:
    """Takes a folder that has all files of `needs`. Remembers which folders it was asked to describe."""

    NAME: str
    TASK: Task
    needs: tuple[str, ...] = ()
    PATTERNS: tuple[str, ...] = ()
    BUILTIN: tuple[str, ...] = ()
    described: list[Path | None] = field(default_factory=list)

    def recognises(self, folder: Path) -> bool:
        return bool(self.needs) and all((folder / name).is_file() for name in self.needs)

    def describe(self, folder: Path | None) -> Description:
        self.described.append(folder)
        if folder and (folder / "odd").exists():
            raise KeyError("audio")
        return Description(languages=("en",))

    def load(self, folder: Path | None, settings: Settings) -> Engine:
        raise NotImplementedError


def hearing() -> FakeKind:
    return FakeKind("hearing", Task.STT, ("model.bin", "config.json"), ("model.bin", "*.json", "README.md"))


def built_in() -> FakeKind:
    return FakeKind("tiny", Task.VAD, BUILTIN=("built/in",))


def add_folder(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """A model that `hearing()` recognises, unless other files are given, and that has been there for long."""
    for name, text in (files or {"model.bin": "weights", "config.json": "{}"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return settle(folder)


def settle(folder: Path) -> Path:
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def add_snapshot(cache: Path, model_id: str, revision: str = "a" * 40, *, main: bool = True) -> Path:
    """The same in a hub cache."""
    root = cache / f"models--{model_id.replace('/', '--')}"
    folder = add_folder(root / "snapshots" / revision)
    if main:
        add_folder(root / "refs", {"main": revision})
    return folder
