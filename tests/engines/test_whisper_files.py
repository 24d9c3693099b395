"""A Whisper model with a file missing or broken says which."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from speaches.app import create_app
from speaches.engines.whisper_files import check_files
from speaches.errors import IncompleteModel
from speaches.settings import Settings
from tests.api.serving import serving
from tests.recordings import tone, wav

WHISPER = "speaches-test/whisper-synth"


@pytest.fixture
def folder(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that may be broken."""
    return Path(shutil.copytree(tiny_models / WHISPER, tmp_path / WHISPER))


def test_a_whole_model_is_taken(folder: Path) -> None:
    check_files(folder)
    (folder / "vocabulary.json").unlink()
    (folder / "vocabulary.txt").write_text("a\nb\n")
    check_files(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "vocabulary.json"])
def test_a_file_that_is_missing_or_broken_is_named(folder: Path, name: str) -> None:
    for broken in (b"", b"{", b'{"half": ', b"\xff\xfe\x00", b"version https://git-lfs.github.com/spec/v1"):
        (folder / name).write_bytes(broken)
        with pytest.raises(IncompleteModel, match=f"its {name} is broken"):
            check_files(folder)
    (folder / name).unlink()
    with pytest.raises(IncompleteModel, match=f"no {name}.*download it again"):
        check_files(folder)


async def test_the_request_is_told_which_file_is_missing(settings: Settings, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    app = create_app(settings.model_copy(update={"model_dirs": [folder.parents[1]]}))
    async with serving(app) as server, server.client() as client:
        answer = await client.post(
            "/v1/audio/transcriptions", files={"file": wav(tone(440, 1))}, data={"model": WHISPER}
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (503, "model", "model_incomplete")
        assert f"Model '{WHISPER}' could not be loaded: it has no tokenizer.json." in error["message"]
