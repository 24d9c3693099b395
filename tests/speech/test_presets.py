from __future__ import annotations

import json
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from speaches.errors import Conflict, NotFound, Unavailable
from speaches.speech import presets
from speaches.speech.presets import Preset, Presets, default_folder
from tests.fakes import PATIENCE

NARRATOR: dict[str, Any] = {"name": "Narrator", "voice": "ada(2)+max", "model": "fake/voice", "voice_language": "en-US"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet"


@pytest.fixture
def kept(folder: Path) -> Presets:
    return Presets(folder)


def add(kept: Presets, name: str) -> Preset:
    return kept.add(**NARRATOR | {"name": name})


def test_a_voice_is_found_by_its_id_and_by_its_name_in_any_letters(kept: Presets) -> None:
    narrator = kept.add(**NARRATOR, speed=0.9, language="en-GB", instructions="calm", gender="male")
    assert (narrator.voice, narrator.model, narrator.speed) == ("ada(2)+max", "fake/voice", 0.9)
    for name in (narrator.id, "Narrator", "NARRATOR"):
        assert kept.find(name) == narrator
    for name in ("nobody", "", "voice_", narrator.id[:-1], "../" + narrator.id, narrator.id.upper()):
        assert kept.find(name) is None


def test_without_a_folder_there_are_none(kept: Presets) -> None:
    assert kept.all() == []
    assert kept.find("Narrator") is None


def test_they_outlive_the_server(kept: Presets, folder: Path) -> None:
    narrator = add(kept, "Ärger 🙂")
    assert Presets(folder).find("ärger 🙂") == narrator


def test_a_server_sees_what_another_one_keeps_and_removes(kept: Presets, folder: Path) -> None:
    other = Presets(folder)
    assert other.find("Narrator") is None
    narrator = add(kept, "Narrator")
    assert other.find("Narrator") == narrator
    kept.remove(narrator)
    assert other.find("Narrator") is None
    with pytest.raises(NotFound):
        other.remove(narrator)


def test_a_folder_that_has_long_been_the_same_is_not_read_again(kept: Presets, folder: Path) -> None:
    narrator = add(kept, "Narrator")
    long_ago = 1_000_000_000
    os.utime(folder, (long_ago, long_ago))
    assert kept.find("Narrator") == narrator
    (folder / f"{narrator.id}.json").unlink()
    os.utime(folder, (long_ago, long_ago))
    assert kept.find("Narrator") == narrator  # nothing told it that the file is gone
    os.utime(folder, (long_ago + 1, long_ago + 1))
    assert kept.find("Narrator") is None


def test_a_folder_that_changed_just_now_is_read_again_even_if_its_time_is_the_same(kept: Presets, folder: Path) -> None:
    """As on file systems that tell times by the second."""
    narrator = add(kept, "Narrator")
    now = time.time_ns() + 3600 * 10**9  # so that it stays just now, however slow the machine is
    os.utime(folder, ns=(now, now))
    assert kept.find("Narrator") == narrator
    (folder / f"{narrator.id}.json").unlink()
    os.utime(folder, ns=(now, now))
    assert kept.find("Narrator") is None


def test_a_name_is_taken_once(kept: Presets) -> None:
    narrator = add(kept, "Narrator")
    for name in ("Narrator", "narrator", narrator.id):
        with pytest.raises(Conflict, match="already") as refused:
            add(kept, name)
        assert (refused.value.status, refused.value.param) == (409, "name")
    kept.remove(narrator)
    assert add(kept, "Narrator").id != narrator.id


def test_one_of_many_who_take_a_name_at_once_gets_it(kept: Presets) -> None:
    together = threading.Barrier(8)

    def try_it(_: int) -> bool:
        together.wait(PATIENCE)
        try:
            add(kept, "Narrator")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(try_it, range(8))) == 1
    assert len(kept.all()) == 1


def test_of_two_of_the_same_name_the_older_is_found(kept: Presets, folder: Path) -> None:
    """As two servers can make them in the same moment."""
    newer = add(kept, "Narrator")
    older = {**json.loads((folder / f"{newer.id}.json").read_text()), "id": "voice_" + "f" * 24, "created_at": 1}
    (folder / f"{older['id']}.json").write_text(json.dumps(older))
    found = Presets(folder).find("Narrator")
    assert found is not None
    assert found.created_at == 1


def test_they_are_listed_in_the_order_in_which_they_came(kept: Presets, folder: Path) -> None:
    for number, name in enumerate(("c", "a", "b")):
        file = folder / f"{add(kept, name).id}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"created_at": number}))
    assert [preset.name for preset in Presets(folder).all()] == ["c", "a", "b"]


def test_there_are_at_most_so_many(kept: Presets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "MOST", 3)
    for name in "abc":
        add(kept, name)
    with pytest.raises(Conflict, match="3 voices of your own already"):
        add(kept, "d")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id": "voice_' + b"a" * 24 + b'"}',
        b"[" * 100_000,
        json.dumps(NARRATOR | {"id": "voice_" + "b" * 24, "created_at": 1}).encode(),
        json.dumps(NARRATOR | {"id": "voice_" + "a" * 24, "created_at": 1, "speed": "fast"}).encode(),
        json.dumps(NARRATOR | {"id": "voice_" + "a" * 24, "created_at": 1, "instructions": "x" * 70_000}).encode(),
    ],
)
def test_a_broken_file_is_left_out_with_one_warning(
    kept: Presets, folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    narrator = add(kept, "Narrator")
    (folder / f"voice_{'a' * 24}.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert kept.all() == kept.all() == [narrator]
    assert len(caplog.records) == 1
    assert "left out" in caplog.text


def test_other_files_are_none_of_our_business(kept: Presets, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    narrator = add(kept, "Narrator")
    for name in ("notes.txt", ".voice_unfinished", f"voice_{'A' * 24}.json", f".{narrator.id}.json.0123"):
        (folder / name).write_text("{}")
    assert kept.all() == [narrator]
    assert caplog.text == ""


def test_a_name_never_names_a_file(kept: Presets, folder: Path) -> None:
    add(kept, "../../evil")
    assert [file.name for file in folder.iterdir()] == [f"{kept.all()[0].id}.json"]
    assert not (folder.parent.parent / "evil").exists()


def test_a_folder_that_can_not_be_made_is_an_error_of_keeping_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Presets(tmp_path / "file" / "voices")
    assert kept.all() == []
    with pytest.raises(Unavailable, match="VOICES_DIR") as refused:
        add(kept, "Narrator")
    assert str(tmp_path) not in refused.value.message  # that is for the log
    assert str(tmp_path) in caplog.text


def test_a_file_that_can_not_be_finished_leaves_nothing(
    kept: Presets, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        add(kept, "Narrator")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"XDG_DATA_HOME": "/data"}, Path("/data/speaches/voices")),
        ({"XDG_DATA_HOME": ""}, Path.home() / ".local/share/speaches/voices"),
        ({}, Path.home() / ".local/share/speaches/voices"),
    ],
)
def test_the_folder_is_the_users_own(environ: dict[str, str], wanted: Path) -> None:
    assert default_folder(environ) == wanted
