"""Whether the files of a Whisper model are whole. Asked before they are loaded, since the libraries' own words lead astray."""

from __future__ import annotations

import json
from pathlib import Path

from speaches.errors import IncompleteModel


def check_files(folder: Path) -> None:
    """Raise IncompleteModel, naming the file, where one is missing or broken.

    Without tokenizer.json faster-whisper asks the hub for another model's, and fails with an error of the network.
    """
    vocabulary = next(folder.glob("vocabulary.*"), folder / "vocabulary.json")
    for file in (folder / "config.json", folder / "tokenizer.json", vocabulary):
        if not file.is_file():
            raise _incomplete(f"it has no {file.name}")
        if not _is_whole(file):
            raise _incomplete(f"its {file.name} is broken")


def _is_whole(file: Path) -> bool:
    try:
        text = file.read_text("utf-8")
        return bool(json.loads(text) if file.suffix == ".json" else text.strip())
    except (OSError, ValueError, RecursionError):
        return False


def _incomplete(what: str) -> IncompleteModel:
    return IncompleteModel(
        f"{what}. Delete the model and download it again, or put the file there: the model's own page on the hub has it, as a rule;"
        " tokenizer.json is the same as that of the OpenAI model which it was made from.",
        param="model",
    )
