"""Voices that users keep under names of their own: a voice or a mix with its model, speed and language, each a JSON file in one folder."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from speaches.errors import Conflict, NotFound, Unavailable

logger = logging.getLogger(__name__)

MOST = 1000  # presets in a folder; more are refused, and not read
MAX_BYTES = 64 * 1024  # of one file
SETTLED_NS = 2_000_000_000  # file systems' times are as coarse as this: a younger folder may change without a trace
_FILE = re.compile(r"(voice_[0-9a-f]{24})\.json")


@dataclass(frozen=True)
class Preset:
    """A voice as it was kept."""

    id: str
    """`voice_` and 24 hexadecimal digits."""
    name: str
    voice: str
    """What a request may name: a voice of the model, a mix, an alias."""
    model: str
    created_at: int
    """Seconds since 1970."""
    voice_language: str
    """The voice's own, as the model told it when the voice was kept. BCP 47."""
    gender: Literal["female", "male"] | None = None
    speed: float | None = None
    language: str | None = None
    """BCP 47, to pronounce text in, where it is not the voice's."""
    instructions: str | None = None


@cache  # 4 ms, which a start should not wait for
def _adapter() -> TypeAdapter[Preset]:
    return TypeAdapter(Preset)


def default_folder(environ: Mapping[str, str]) -> Path:
    """Where presets are kept unless VOICES_DIR says where."""
    return Path(environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "speaches" / "voices"


class Presets:
    """The presets in a folder, which several servers may share. May be asked from any thread; methods block.

    A file never changes once it is there. Where two servers keep the same name in the same moment, the older of the two is found by it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._seen = -1
        """The folder's mtime, in ns, when it was last read."""
        self._by_file: dict[str, Preset | None] = {}
        """What each file held; None where it can't be understood."""

    def all(self) -> list[Preset]:
        """All presets, the oldest first."""
        with self._lock:
            self._read()
            found = [preset for preset in self._by_file.values() if preset]
        return sorted(found, key=lambda preset: (preset.created_at, preset.id))

    def find(self, name_or_id: str) -> Preset | None:
        """The preset of that id, else the one of that name, in whatever letters."""
        presets, small = self.all(), name_or_id.casefold()
        by_id = (preset for preset in presets if preset.id == name_or_id)
        by_name = (preset for preset in presets if preset.name.casefold() == small)
        return next(by_id, None) or next(by_name, None)

    def add(self, **fields: Any) -> Preset:
        """Keep a voice; the fields are those of Preset, but for `id` and `created_at`.

        Raises:
            Conflict: If there is a preset of that name, or no room for one more.
            Unavailable: If the folder can't be written.
        """
        with self._lock:
            if self.find(name := fields["name"]):
                raise Conflict(f"There is a voice {name!r} already; delete it first.", param="name", code="name_taken")
            if len(self.all()) >= MOST:
                raise Conflict(
                    f"There are {MOST} voices of your own already; delete some first.", code="too_many_voices"
                )
            preset = Preset(id=f"voice_{secrets.token_hex(12)}", created_at=int(time.time()), **fields)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                _write(self._folder / f"{preset.id}.json", json.dumps(asdict(preset)))
            except OSError as error:
                raise self._not_writable(error) from error
            return preset

    def remove(self, preset: Preset) -> None:
        """Forget a preset.

        Raises:
            NotFound: If another server was faster.
            Unavailable: If the folder can't be written.
        """
        try:
            (self._folder / f"{preset.id}.json").unlink()
        except FileNotFoundError:
            raise NotFound(f"There is no voice {preset.id!r} any more.", param="voice_id") from None
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> Unavailable:
        logger.error("The folder for voices, %s (VOICES_DIR), can't be written: %s", self._folder, error)
        return Unavailable(
            f"This server can't keep voices: the folder that VOICES_DIR names can't be written ({error.strerror}).",
            code="voices_not_writable",
        )

    def _read(self) -> None:
        """Read what is new in the folder, and forget what is gone."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed == self._seen:
                return
            names = sorted(name for name in os.listdir(self._folder) if _FILE.fullmatch(name))[:MOST]  # noqa: PTH208
        except OSError:  # there is none yet
            self._by_file, self._seen = {}, -1
            return
        self._by_file = {
            name: self._by_file[name] if name in self._by_file else _preset(self._folder / name) for name in names
        }
        self._seen = changed if time.time_ns() - changed > SETTLED_NS else -1


def _preset(file: Path) -> Preset | None:
    """What a file holds; None, with a warning, where that is no preset."""
    try:
        with file.open("rb") as opened:
            preset = _adapter().validate_json(opened.read(MAX_BYTES))
    except (OSError, ValidationError) as error:
        logger.warning("%s is left out: it holds no voice (%s).", file, type(error).__name__)
        return None
    if f"{preset.id}.json" != file.name:
        logger.warning("%s is left out: it holds a voice of another id.", file)
        return None
    return preset


def _write(file: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        unfinished.write_text(text)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
