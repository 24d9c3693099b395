from __future__ import annotations

from pathlib import Path

import pytest

from speaches.errors import Forbidden, Unavailable
from speaches.models.catalogue import Catalogue, Model
from speaches.models.deletion import delete
from speaches.models.hub import Hub
from tests.models.fakes import add_folder, add_snapshot, built_in, hearing


def found(model_id: str, *, folder: Path | None = None, cache: Path | None = None) -> Model:
    catalogue = Catalogue([folder] if folder else [], [cache] if cache else [], [hearing(), built_in()])
    model = catalogue.find(model_id)
    assert model is not None
    return model


def test_a_model_of_a_folder_goes_and_nothing_else(tmp_path: Path) -> None:
    add_folder(tmp_path / "me" / "ears")
    add_folder(tmp_path / "me" / "eyes")
    delete(found("me/ears", folder=tmp_path))
    assert [path.name for path in (tmp_path / "me").iterdir()] == ["eyes"]


def test_a_model_of_the_cache_goes_with_all_its_revisions(tmp_path: Path) -> None:
    add_snapshot(tmp_path, "me/ears", "a" * 40)
    add_snapshot(tmp_path, "me/ears", "b" * 40, main=False)
    add_snapshot(tmp_path, "me/eyes")
    delete(found("me/ears", cache=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["models--me--eyes"]


def test_a_downloaded_model_goes(hub: Hub) -> None:
    from speaches.engines.registry import KINDS

    hub.download("speaches-test/kokoro-synth")
    catalogue = Catalogue([], [hub.cache], KINDS)
    model = catalogue.find("speaches-test/kokoro-synth")
    assert model is not None
    delete(model)
    assert catalogue.find(model.id) is None
    assert list(hub.cache.rglob("*.onnx")) == list(hub.cache.glob("*/blobs/*")) == []


def test_what_a_model_shares_with_others_through_links_stays(tmp_path: Path) -> None:
    add_folder(tmp_path / "elsewhere", {"model.bin": "x"})
    folder = add_folder(tmp_path / "dir" / "me" / "ears", {"config.json": "{}"})
    (folder / "model.bin").symlink_to(tmp_path / "elsewhere" / "model.bin")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    delete(found("me/ears", folder=tmp_path / "dir"))
    assert not folder.exists()
    assert (tmp_path / "elsewhere" / "model.bin").read_text() == "x"


def test_a_model_behind_a_link_stays(tmp_path: Path) -> None:
    add_folder(tmp_path / "elsewhere" / "ears")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "me").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Forbidden, match="it is a link or read-only"):
        delete(found("me/ears", folder=tmp_path / "dir"))
    assert (tmp_path / "elsewhere" / "ears" / "model.bin").exists()


def test_a_built_in_model_stays(tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="built/in is built in"):
        delete(found("built/in", folder=tmp_path))


def test_a_disk_that_refuses_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    add_folder(tmp_path / "me" / "ears")
    model = found("me/ears", folder=tmp_path)
    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(Unavailable, match=r"me/ears could not be deleted: \[Errno 13\]"):
        delete(model)
