"""Downloads from the Hugging Face hub.

A download goes into the hub cache, laid out as huggingface-hub does it, and takes only the files that the model's
engine needs. Until it is whole a mark stands beside it, so that the catalogue does not take it for a model.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.errors import Forbidden, InvalidRequest, SpeachesError, Unauthorized, Unavailable, UnknownModel
from speaches.models.catalogue import hub_caches, is_model_id, unfinished_mark

if TYPE_CHECKING:
    from speaches.engines.registry import EngineKind
    from speaches.settings import Settings

__all__ = ["Hub", "Progress", "configure"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told the bytes done and the bytes in all, from any thread. An exception that it raises ends the download."""

TIMEOUT = 10.0  # seconds for an answer about a repository
FILES_AT_ONCE = 4
SMALL_BYTES = 1_000_000  # a JSON file up to this size may be read to tell what a repository is
MOST_CONFIGS = 20  # of those
STALE_SECONDS = 3600.0  # a partial file that nobody has written to for so long was left by a process that died


def configure(settings: Settings, environ: MutableMapping[str, str]) -> None:
    """Hand the settings that huggingface-hub reads from the environment on to it, before anything imports it."""
    # Its own name for it only earns a warning since huggingface-hub 1.
    environ.pop("HF_HUB_ENABLE_HF_TRANSFER", None)
    if settings.hf_hub_enable_hf_transfer:
        environ.setdefault("HF_XET_HIGH_PERFORMANCE", "1")


@dataclass(frozen=True)
class Hub:
    """The hub, and the cache on this machine that downloads go to. Methods block."""

    cache: Path
    kinds: Sequence[EngineKind]
    token: str | None = None
    """None takes the one that `hf auth login` has stored, if any."""
    endpoint: str | None = None
    """None is HF_ENDPOINT, or huggingface.co."""

    @classmethod
    def of(cls, settings: Settings, kinds: Sequence[EngineKind], environ: Mapping[str, str]) -> Hub:
        token = settings.hf_token.get_secret_value() if settings.hf_token else None
        return cls(hub_caches(environ)[0], kinds, token, environ.get("HF_ENDPOINT") or None)

    def download(self, model_id: str, progress: Progress | None = None) -> Path:
        """Fetch what is not here yet of a model.

        Returns:
            The folder with its files.

        Raises:
            UnknownModel: If the hub has no such model, or can't be reached.
            InvalidRequest: If no engine can run it.
            Unauthorized, Forbidden: If it needs a token, or another one.
            Unavailable: If the hub failed or the connection broke, or the disk is full. What has been fetched stays.
        """
        if not is_model_id(model_id) or "/" not in model_id:
            raise UnknownModel(
                f"There is no model {model_id!r}: models of the hub are named owner/name.", param="model"
            )
        with self._explaining(model_id):
            repo = self._look_up(model_id)
            kind = self._kind_of(repo)
            needed = {name: size for name, size in repo.files.items() if _matches(name, kind.PATTERNS)}
            folder = self._fetch(repo, needed, progress or _ignore)
        if not kind.recognises(folder):
            raise InvalidRequest(f"{model_id} looks like a model for {kind.NAME}, but is not one.", param="model")
        return folder

    def _look_up(self, model_id: str) -> _Repo:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HTTPError

        try:
            info = HfApi(self.endpoint, token=self.token).model_info(model_id, files_metadata=True, timeout=TIMEOUT)
        except HfHubHTTPError:
            raise
        except (HTTPError, ConnectionError) as error:  # no route, no name, no answer; or HF_HUB_OFFLINE
            raise UnknownModel(
                f"The model {model_id} is not on this machine, and the Hugging Face hub can't be reached ({error}).",
                param="model",
            ) from error
        files = {file.rfilename: file.size or 0 for file in info.siblings if _stays_inside(file.rfilename)}
        return _Repo(model_id, info.sha, files)

    def _kind_of(self, repo: _Repo) -> EngineKind:
        """The engine that a repository's files are for: by their names and, where these don't tell, by its JSON."""
        telling = [name for name in repo.files if any(_matches(name, kind.PATTERNS) for kind in self.kinds)]
        configs = [name for name in telling if name.endswith(".json") and repo.files[name] <= SMALL_BYTES]
        for read in ([], configs[:MOST_CONFIGS]):
            with TemporaryDirectory(prefix="speaches-") as folder:
                for name in telling:
                    file = Path(folder, name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(self._file(repo, name) if name in read else b"")
                if kind := next((kind for kind in self.kinds if _recognises(kind, Path(folder))), None):
                    return kind
        names = ", ".join(kind.NAME for kind in self.kinds if kind.PATTERNS)
        raise InvalidRequest(
            f"No engine here can run {repo.id}: its files are not those of a model for {names}.",
            param="model",
            code="unsupported_model",
        )

    def _file(self, repo: _Repo, name: str) -> bytes:
        from huggingface_hub import hf_hub_download

        # Without a cache folder of its own, a repository that turns out to be no model would leave its files behind.
        with TemporaryDirectory(prefix="speaches-") as folder:
            path = hf_hub_download(
                repo.id, name, revision=repo.sha, local_dir=folder, token=self.token, endpoint=self.endpoint
            )
            return Path(path).read_bytes()

    def _fetch(self, repo: _Repo, needed: Mapping[str, int], progress: Progress) -> Path:
        snapshot = self.cache / f"models--{repo.id.replace('/', '--')}" / "snapshots" / repo.sha
        _sweep(snapshot.parent.parent / "blobs")
        here = sum(size for name, size in needed.items() if (snapshot / name).is_file())
        total = sum(needed.values())
        self._check_space(total - here)
        progress(here, total)
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        unfinished_mark(snapshot).touch()
        self._fetch_snapshot(repo, needed, _bar(here, total, progress))
        _point_main_at(snapshot)
        unfinished_mark(snapshot).unlink(missing_ok=True)
        progress(total, total)
        return snapshot

    def _fetch_snapshot(self, repo: _Repo, needed: Mapping[str, int], bar: Any) -> None:
        from huggingface_hub import snapshot_download

        snapshot_download(
            repo.id,
            revision=repo.sha,
            cache_dir=self.cache,
            allow_patterns=list(needed),
            max_workers=FILES_AT_ONCE,
            tqdm_class=bar,
            token=self.token,
            endpoint=self.endpoint,
        )

    def _check_space(self, needed: int) -> None:
        there = next(folder for folder in (self.cache, *self.cache.absolute().parents) if folder.exists())
        if (free := shutil.disk_usage(there).free) < needed:
            raise OSError(errno.ENOSPC, f"{needed // 10**6} MB are needed and {free // 10**6} MB are free")

    @contextmanager
    def _explaining(self, model_id: str) -> Iterator[None]:
        """Turn what huggingface-hub raises into an answer."""
        errors = _library_errors()
        try:
            yield
        except errors as error:
            raise self._explain(model_id, error) from error

    def _explain(self, model_id: str, error: BaseException) -> SpeachesError:
        from huggingface_hub import errors

        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
            return self._explain(model_id, error.__cause__)
        if isinstance(error, errors.GatedRepoError):
            return self._no_access(model_id)
        if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
            return _not_there(model_id)
        if isinstance(error, errors.HfHubHTTPError):
            return self._refusal(model_id, error.response.status_code)
        return self._broken(model_id, error)

    def _refusal(self, model_id: str, status: int) -> SpeachesError:
        match status:
            case 401 if self.token:
                return Unauthorized("The Hugging Face hub does not accept the token in HF_TOKEN.", code="bad_hf_token")
            case 401 | 404:
                return _not_there(model_id)
            case 403:
                return Forbidden(f"The token in HF_TOKEN may not read {model_id}.", param="model", code="no_access")
            case _:
                return Unavailable(f"The Hugging Face hub failed on {model_id} (status {status}). Try again later.")

    def _broken(self, model_id: str, error: BaseException) -> SpeachesError:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT):
            return Unavailable(f"There is no room for {model_id} in {self.cache}: {_reason(error)}.")
        if number in (errno.EROFS, errno.EACCES, errno.EPERM):
            return Unavailable(f"{model_id} can't be stored: {_reason(error)}. HF_HUB_CACHE says where downloads go.")
        return Unavailable(f"The download of {model_id} broke off ({_reason(error)}). The next try goes on from there.")

    def _no_access(self, model_id: str) -> SpeachesError:
        where = f"{model_id} is gated: its owner wants to know who takes it. Accept its terms at {self._page(model_id)}"
        if self.token:
            return Forbidden(f"{where} with the account that HF_TOKEN belongs to.", param="model", code="gated_repo")
        return Unauthorized(f"{where} and set HF_TOKEN to a token of that account.", param="model", code="gated_repo")

    def _page(self, model_id: str) -> str:
        return f"{self.endpoint or 'https://huggingface.co'}/{model_id}"


@dataclass(frozen=True)
class _Repo:
    id: str
    sha: str
    """The commit that `main` is at."""
    files: Mapping[str, int]
    """Sizes in bytes by name."""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether an engine takes this file of a repository. `*` stays within its folder."""
    return any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in patterns)


def _not_there(model_id: str) -> UnknownModel:
    # To strangers the hub does not tell a private model from one that does not exist.
    return UnknownModel(
        f"The Hugging Face hub has no model {model_id}, or it is private: then set HF_TOKEN.", param="model"
    )


def _library_errors() -> tuple[type[Exception], ...]:
    """What huggingface-hub and the libraries below it raise."""
    from huggingface_hub.errors import HFValidationError, HTTPError, XetDownloadError

    return OSError, HTTPError, HFValidationError, XetDownloadError, RuntimeError  # the last by hf_xet


def _reason(error: BaseException) -> str:
    """The first line of a message, to put into a sentence."""
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return first.rstrip(".")


def _recognises(kind: EngineKind, skeleton: Path) -> bool:
    """Whether the names alone, with empty files behind them, are enough for the engine."""
    try:
        return kind.recognises(skeleton)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and name.isprintable()


def _bar(here: int, total: int, progress: Progress) -> Any:
    """The class of huggingface-hub's progress bars: draws nothing, and tells `progress` instead.

    There is one bar for bytes that came in, one for bytes on disk and one for files. Either of the first two may be
    behind; what counts is the further one.
    """
    from huggingface_hub.utils import tqdm

    done = {"most": 0}

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.in_bytes = kwargs.get("unit") == "B"

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self.in_bytes and self.n > done["most"]:
                done["most"] = int(self.n)
                progress(min(here + done["most"], total), total)

    return Bar


def _sweep(blobs: Path) -> None:
    """Remove partial files of dead processes: huggingface-hub names them anew each time and never takes them up."""
    for file in blobs.glob("*.incomplete"):
        if time.time() - file.stat().st_mtime > STALE_SECONDS:
            file.unlink(missing_ok=True)


def _point_main_at(snapshot: Path) -> None:
    """Make the snapshot the one that counts, at once for whoever reads meanwhile."""
    refs = snapshot.parent.parent / "refs"
    refs.mkdir(exist_ok=True)
    draft = refs / f".main.{os.getpid()}"
    draft.write_text(snapshot.name)
    draft.replace(refs / "main")


def _ignore(done: int, total: int) -> None:
    pass
