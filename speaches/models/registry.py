"""Which models there are to download: the hub's list, or our own where the hub can't be reached."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from speaches.engines.base import Task

if TYPE_CHECKING:
    from speaches.models.hub import Hub

__all__ = ["Entry", "Registry", "curated", "search"]

logger = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds; our own list is better than a long wait
LIMIT = 1000  # entries of one question, the most that the hub gives

TAGS: dict[Task, tuple[tuple[str, ...], ...]] = {
    Task.STT: (("ctranslate2", "automatic-speech-recognition"),),
    Task.TTS: (
        ("onnx", "text-to-speech", "speaches", "kokoro"),
        ("onnx", "text-to-speech", "speaches", "piper"),
    ),
}
"""What the cards of models that run here carry. Other models run too; they are found by their names."""


@dataclass(frozen=True)
class Entry:
    """A model that can be had."""

    id: str
    task: Task
    languages: tuple[str, ...] = ()
    created: int = 0
    """Seconds since 1970; 0 where it is not known."""
    size_bytes: int | None = None
    """About; None where it is not known, 0 for what is built in."""

    @property
    def owned_by(self) -> str:
        return self.id.split("/")[0] if "/" in self.id else "speaches"


@dataclass(frozen=True)
class Registry:
    source: Literal["hub", "curated"]
    entries: tuple[Entry, ...]


def search(hub: Hub, task: Task | None = None) -> Registry:
    """The models for a task, or for all, the most downloaded first. Blocks for a few seconds at most; never fails."""
    from huggingface_hub.errors import HTTPError

    tasks = [task] if task else list(TAGS)
    try:
        found = [entry for task in tasks for tags in TAGS.get(task, ()) for entry in _ask(hub, task, tags)]
    except (HTTPError, OSError, ValueError) as error:
        logger.warning("The Hugging Face hub can't be searched (%s): listing the models we know.", error)
        return Registry("curated", curated(task))
    built_in = [entry for entry in curated(task) if entry.size_bytes == 0]
    return Registry("hub", tuple({entry.id: entry for entry in (*found, *built_in)}.values()))


def curated(task: Task | None = None) -> tuple[Entry, ...]:
    """Good models that are known to be there."""
    facts = json.loads(Path(__file__).with_name("curated.json").read_text())
    entries = (
        Entry(fact["id"], Task(fact["task"]), tuple(fact["languages"]), size_bytes=fact["size_bytes"]) for fact in facts
    )
    return tuple(entry for entry in entries if task in (None, entry.task))


def _ask(hub: Hub, task: Task, tags: Sequence[str]) -> Iterator[Entry]:
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # Not HfApi.list_models: it tries for a minute, without a time-out.
    response = get_session().get(
        f"{hub.endpoint or constants.ENDPOINT}/api/models",
        params={"filter": list(tags), "sort": "downloads", "limit": LIMIT, "cardData": True},
        headers=build_hf_headers(token=hub.token),
        timeout=TIMEOUT,
    )
    hf_raise_for_status(response)
    for fact in response.json():
        if entry := _entry(fact, task):
            yield entry


def _entry(fact: Any, task: Task) -> Entry | None:
    """Read one model of the hub's list. What strangers wrote on their cards may be of any shape."""
    if not isinstance(fact, dict) or not isinstance(fact.get("id"), str):
        return None
    card = fact.get("cardData")
    languages = card.get("language") if isinstance(card, dict) else None
    if isinstance(languages, str):
        languages = [languages]
    if not isinstance(languages, list):
        languages = []
    return Entry(
        fact["id"], task, tuple(code for code in languages if isinstance(code, str)), _seconds(fact.get("createdAt"))
    )


def _seconds(created: Any) -> int:
    try:
        return int(datetime.fromisoformat(created).timestamp())
    except (ValueError, TypeError, OverflowError):
        return 0
