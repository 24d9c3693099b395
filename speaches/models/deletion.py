"""Deleting models from disk."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from speaches.errors import Forbidden, Unavailable
from speaches.models.catalogue import Model

__all__ = ["check_deletable", "delete"]


def check_deletable(model: Model) -> Path:
    """The folder that would go. Raises Forbidden if the model is built in, lies behind a link, or its folder may not be changed."""
    if model.root is None:
        raise Forbidden(f"{model.id} is built in: it can't be deleted.", param="model")
    if not model.deletable:
        raise Forbidden(f"{model.root} can't be deleted from here: it is a link or read-only.", param="model")
    return model.root


def delete(model: Model) -> None:
    """Remove a model's own folder, of MODEL_DIRS or the hub cache with all its revisions, and nothing else.

    The caller has unloaded it.

    Raises:
        Forbidden: As `check_deletable`.
        Unavailable: If the disk refuses.
    """
    root = check_deletable(model)
    try:
        if root.name.startswith("models--"):
            _delete_from_cache(root)
        if root.exists():
            shutil.rmtree(root)
    except OSError as error:
        raise Unavailable(f"{model.id} could not be deleted: {error}.") from error


def _delete_from_cache(root: Path) -> None:
    """As huggingface-hub does it: it may keep the contents outside, in a store that several repositories share."""
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir(root.parent)
    # Of this repository alone: a revision is deleted by its commit, and another repository may have the same one.
    repos = frozenset(repo for repo in cache.repos if repo.repo_path == root.resolve())
    commits = [revision.commit_hash for repo in repos for revision in repo.revisions]
    replace(cache, repos=repos).delete_revisions(*commits).execute()
