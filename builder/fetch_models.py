"""Put models into an image while it is built, so that it works offline.

    python fetch_models.py owner/name whisper-1    # or MODELS="owner/name, whisper-1" in the environment

They end up in a folder for MODEL_DIRS, as plain files: <folder>/<owner>/<name>/files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from speaches.engines.registry import KINDS
from speaches.errors import SpeachesError
from speaches.models.aliases import Aliases
from speaches.models.catalogue import Catalogue
from speaches.models.hub import Hub, configure
from speaches.settings import Settings

FOLDER = Path("/models/baked")


def names(text: str) -> list[str]:
    """Read `a, b`, `a b` or `["a", "b"]`."""
    return list(json.loads(text)) if text.lstrip().startswith("[") else text.replace(",", " ").split()


def fetch(name: str, folder: Path, settings: Settings) -> Path | None:
    """Download a model into the folder. None where it is there already, or built in."""
    model_id = Aliases(settings.model_aliases).resolve(name)
    if Catalogue([folder], [], KINDS).find(model_id):
        return None
    target = folder / model_id
    target.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that what is whole moves into its place at once.
    with TemporaryDirectory(prefix=".fetch-", dir=folder) as cache:
        hub = replace(Hub.of(settings, KINDS, os.environ), cache=Path(cache))
        whole = Path(cache, "whole")
        shutil.copytree(hub.download(model_id), whole)  # a snapshot is links to contents elsewhere
        whole.rename(target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="ids or aliases; without any, those in MODELS")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    given = parser.parse_args(arguments)
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    configure(settings, os.environ)
    for name in [part for text in given.models or [os.environ.get("MODELS", "")] for part in names(text)]:
        try:
            target = fetch(name, folder, settings)
        except (SpeachesError, OSError) as error:
            sys.exit(f"fetch_models: {error}")
        print(f"{name} is in {target}" if target else f"{name} is there already", flush=True)


if __name__ == "__main__":
    main()
