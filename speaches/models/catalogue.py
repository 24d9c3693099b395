"""What is on disk, and what is built in. Asks the disk only, never the network.

    MODEL_DIRS   <folder>/<owner>/<name>/files
    hub caches   <folder>/models--<owner>--<name>/snapshots/<revision>/files

The files of a folder decide which engine it belongs to. A folder is examined once and remembered until it changes, so
finding a model costs a `stat` or two. A folder that cannot be understood is left out, with one warning.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speaches.engines.base import Task, Voice
    from speaches.engines.registry import EngineKind

__all__ = ["Catalogue", "Model", "hub_caches", "is_model_id", "unfinished_mark"]

logger = logging.getLogger(__name__)

RUNPOD_CACHE = Path("/runpod-volume/huggingface-cache/hub")
"""Where Runpod puts the models that an endpoint is configured to cache."""

MAX_ID_BYTES = 200  # a file name holds 255, and the cache puts `models--` and more around it
SETTLED_NS = 2_000_000_000  # file systems' times are as coarse as this: a younger folder may change without a trace


@dataclass(frozen=True)
class Model:
    """A model that can be loaded."""

    id: str
    """`owner/name`, or a built-in one's name."""
    task: Task
    engine: str
    """`NAME` of its kind."""
    folder: Path | None
    """Where its files are; None for a built-in one."""
    created: int
    """When it came onto this machine, in seconds since 1970."""
    owned_by: str
    languages: tuple[str, ...] = ()
    """BCP 47; empty where the files do not tell."""
    voices: tuple[Voice, ...] = ()
    sample_rate: int | None = None
    """Hz of its speech."""
    size_bytes: int = 0
    deletable: bool = False
    root: Path | None = None
    """The folder that goes when the model is deleted."""


@dataclass(frozen=True)
class _Place:
    """Where a model may be."""

    id: str
    folder: Path
    root: Path
    """What holds nothing but this model."""
    top: Path
    """The folder of MODEL_DIRS, or the cache, that it lies in."""


def is_model_id(model_id: str) -> bool:
    """Whether this can name a folder, and none outside of where models are."""
    parts = model_id.split("/")
    return (
        len(parts) <= 2
        # Also keeps out control characters and lone surrogates, which no file system call takes.
        and model_id.isprintable()
        and "\\" not in model_id
        and all(part and not part.startswith(".") for part in parts)
        and len(model_id.encode()) <= MAX_ID_BYTES
    )


def unfinished_mark(snapshot: Path) -> Path:
    """The file that stands in a repository's folder while a snapshot is being downloaded, and after that if it failed."""
    return snapshot.parent.parent / f".{snapshot.name}.unfinished"


def hub_caches(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The hub caches of this machine: the one that downloads go to, then Runpod's.

    The rules of `huggingface_hub.constants` without its import; only that an empty string means unset here.
    """
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = environ.get("HF_HOME") or f"{base}/huggingface"
    cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    own = Path(os.path.expandvars(cache)).expanduser()
    return (own,) if own == RUNPOD_CACHE else (own, RUNPOD_CACHE)


class Catalogue:
    """The models of this machine. May be asked from any thread."""

    def __init__(self, model_dirs: Sequence[Path], caches: Sequence[Path], kinds: Sequence[EngineKind]) -> None:
        self._model_dirs = [folder.absolute() for folder in model_dirs]
        self._caches = [folder.absolute() for folder in caches]
        self._kinds = kinds
        self._builtin = {model_id: kind for kind in kinds for model_id in kind.BUILTIN}
        self._examined: dict[_Place | str, tuple[int, Model | None]] = {}
        """What a place held when its folder had that mtime, in ns. The built-in ones stand here too, by their ids."""
        self._warned: set[Path | str] = set()

    def models(self) -> list[Model]:
        """All models, each id once: from MODEL_DIRS, the caches, then the built-in ones.

        Looks through every folder, so not on the event loop.
        """
        found: dict[str, Model] = {}
        for place in self._places():
            if place.id not in found and place.id not in self._builtin and (model := self._look(place)):
                found[place.id] = model
        return [*found.values(), *(model for model_id in self._builtin if (model := self._look_within(model_id)))]

    def find(self, model_id: str) -> Model | None:
        """The model of that id, looking only where it can be. None for whatever names no model."""
        if model_id in self._builtin:
            return self._look_within(model_id)
        if not is_model_id(model_id):
            return None
        return next((model for place in self._places_of(model_id) if (model := self._look(place))), None)

    # --- Where to look ---

    def _places(self) -> Iterator[_Place]:
        for top in self._model_dirs:
            for owner in _folders(top):
                for folder in _folders(owner):
                    yield from self._in_model_dir(top, f"{owner.name}/{folder.name}")
        for cache in self._caches:
            for root in _folders(cache):
                if root.name.startswith("models--"):
                    yield from self._in_cache(cache, root.name.removeprefix("models--").replace("--", "/", 1))

    def _places_of(self, model_id: str) -> Iterator[_Place]:
        for top in self._model_dirs:
            yield from self._in_model_dir(top, model_id)
        for cache in self._caches:
            yield from self._in_cache(cache, model_id)

    def _in_model_dir(self, top: Path, model_id: str) -> Iterator[_Place]:
        if "/" in model_id:
            yield _Place(model_id, top / model_id, root=top / model_id, top=top)

    def _in_cache(self, cache: Path, model_id: str) -> Iterator[_Place]:
        """The snapshots of a repository: the one that `main` names, then the newest."""
        root = cache / f"models--{model_id.replace('/', '--')}"
        main = _read(root / "refs" / "main").strip()
        snapshots = sorted(_folders(root / "snapshots"), key=lambda folder: _mtime_ns(folder) or 0, reverse=True)
        for folder in sorted(snapshots, key=lambda folder: folder.name != main):
            if not unfinished_mark(folder).exists():
                yield _Place(model_id, folder, root=root, top=cache)

    # --- What is there ---

    def _look(self, place: _Place) -> Model | None:
        mtime = _mtime_ns(place.folder)
        if mtime is None:
            return None
        seen, model = self._examined.get(place, (None, None))
        if seen != mtime:
            model = self._examine(place, mtime)
            if time.time_ns() - mtime > SETTLED_NS:
                self._examined[place] = (mtime, model)
        return model

    def _look_within(self, model_id: str) -> Model | None:
        if model_id not in self._examined:
            self._examined[model_id] = (0, self._examine_builtin(model_id))
        return self._examined[model_id][1]

    def _examine(self, place: _Place, mtime: int) -> Model | None:
        try:
            for kind in self._kinds:
                if kind.recognises(place.folder):
                    return _describe(place, kind, mtime)
        # Any exception, here and below alone: whatever an engine trips over in one model, the others must be served.
        except Exception as error:
            self._warn(place.folder, f"it can't be read ({type(error).__name__}: {error})")
            return None
        if place.top in self._model_dirs:  # a hub cache holds all sorts of things, and may
            self._warn(place.folder, "no engine recognises its files")
        return None

    def _examine_builtin(self, model_id: str) -> Model | None:
        try:
            return _describe_builtin(model_id, self._builtin[model_id])
        except Exception as error:
            self._warn(model_id, f"its library does not work ({type(error).__name__}: {error})")
            return None

    def _warn(self, what: Path | str, why: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("%s is left out: %s.", what, why)


def _describe(place: _Place, kind: EngineKind, mtime: int) -> Model:
    description = kind.describe(place.folder)
    return Model(
        id=place.id,
        task=kind.TASK,
        engine=kind.NAME,
        folder=place.folder,
        created=mtime // 1_000_000_000,
        owned_by=place.id.split("/")[0],
        languages=tuple(description.languages),
        voices=tuple(description.voices),
        sample_rate=description.sample_rate,
        size_bytes=sum(file.stat().st_size for file in place.folder.rglob("*") if file.is_file()),
        deletable=_is_deletable(place),
        root=place.root,
    )


def _describe_builtin(model_id: str, kind: EngineKind) -> Model:
    description = kind.describe(None)
    return Model(
        id=model_id,
        task=kind.TASK,
        engine=kind.NAME,
        folder=None,
        created=(_mtime_ns(Path(__file__).parent) or 0) // 1_000_000_000,
        owned_by="speaches",
        languages=tuple(description.languages),
        voices=tuple(description.voices),
        sample_rate=description.sample_rate,
    )


def _is_deletable(place: _Place) -> bool:
    """Whether its folder lies where it says, not behind a link to somewhere else, and may be changed."""
    is_there = place.root.resolve() == place.top.resolve() / place.root.relative_to(place.top)
    return is_there and os.access(place.root.parent, os.W_OK)


def _folders(folder: Path) -> list[Path]:
    """The folders inside, by name; none where it can't be read."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names are all that is needed)
    except OSError:
        return []
    return [folder / name for name in names if is_model_id(name) and _mtime_ns(folder / name) is not None]


def _mtime_ns(folder: Path) -> int | None:
    """When the folder last changed; None where there is no such folder."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_mtime_ns if S_ISDIR(status.st_mode) else None


def _read(path: Path) -> str:
    """The text of a small file; empty where there is none."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
