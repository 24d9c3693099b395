from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from speaches.engines.base import Task
from speaches.models.catalogue import RUNPOD_CACHE, Catalogue, Model, hub_caches, unfinished_mark
from tests.models.fakes import FakeKind, add_folder, add_snapshot, built_in, hearing, settle

TINY_MODELS = Path(__file__).parent


def ids(catalogue: Catalogue) -> list[str]:
    return [model.id for model in catalogue.models()]


def in_dir(folder: Path, *kinds: FakeKind) -> Catalogue:
    return Catalogue([folder], [], kinds or [hearing()])


def in_cache(cache: Path, *kinds: FakeKind) -> Catalogue:
    return Catalogue([], [cache], kinds or [hearing()])


# --- What there is ---


def test_a_model_of_a_folder_is_found_and_described(tmp_path: Path) -> None:
    folder = add_folder(tmp_path / "me" / "ears")
    assert in_dir(tmp_path).find("me/ears") == Model(
        id="me/ears",
        task=Task.STT,
        engine="hearing",
        folder=folder,
        created=1_700_000_000,
        owned_by="me",
        languages=("en",),
        size_bytes=len("weights{}"),
        deletable=True,
        root=folder,
    )


def test_a_model_of_the_hub_cache_is_found_at_its_main_revision(tmp_path: Path) -> None:
    add_snapshot(tmp_path, "me/ears", "b" * 40, main=False)
    folder = add_snapshot(tmp_path, "me/ears", "a" * 40)
    model = in_cache(tmp_path).find("me/ears")
    assert model is not None
    assert model.folder == folder
    assert model.root == tmp_path / "models--me--ears"


def test_without_a_main_revision_the_newest_counts(tmp_path: Path) -> None:
    add_snapshot(tmp_path, "me/ears", "a" * 40, main=False)
    newest = add_snapshot(tmp_path, "me/ears", "b" * 40, main=False)
    os.utime(newest)
    model = in_cache(tmp_path).find("me/ears")
    assert model is not None and model.folder == newest


def test_the_list_holds_each_model_once_in_the_order_of_the_places(tmp_path: Path) -> None:
    for name in ("zebra", "apple"):
        add_folder(tmp_path / "dir" / "me" / name)
    for name in ("apple", "pear"):
        add_snapshot(tmp_path / "cache", f"me/{name}")
    catalogue = Catalogue([tmp_path / "dir"], [tmp_path / "cache", tmp_path / "gone"], [hearing(), built_in()])
    assert ids(catalogue) == ["me/apple", "me/zebra", "me/pear", "built/in"]
    apple = catalogue.find("me/apple")
    assert apple is not None and apple.folder == tmp_path / "dir" / "me" / "apple"


def test_built_in_models_have_no_folder_and_their_names_are_taken(tmp_path: Path) -> None:
    add_folder(tmp_path / "built" / "in")
    model = in_dir(tmp_path, hearing(), built_in()).find("built/in")
    assert model is not None
    assert (model.folder, model.deletable, model.owned_by, model.task) == (None, False, "speaches", Task.VAD)
    assert ids(in_dir(tmp_path, hearing(), built_in())) == ["built/in"]


def test_built_in_models_are_described_when_asked_for_and_once(tmp_path: Path) -> None:
    kind = built_in()
    catalogue = in_dir(tmp_path, kind)
    assert kind.described == []
    assert catalogue.find("built/in") is catalogue.find("built/in")
    assert kind.described == [None]


def test_a_built_in_model_whose_library_is_broken_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeKind):
        def describe(self, folder: Path | None) -> None:  # type: ignore[override]
            raise OSError("no such library")

    catalogue = in_dir(tmp_path, Broken("broken", Task.TTS, BUILTIN=("speaches/broken",)), built_in())
    assert ids(catalogue) == ids(catalogue) == ["built/in"]
    assert caplog.messages == ["speaches/broken is left out: its library does not work (OSError: no such library)."]


def test_the_tiny_models_are_recognised_by_their_files() -> None:
    from speaches.engines.registry import KINDS

    found = {model.id: (model.engine, model.task) for model in Catalogue([TINY_MODELS], [], KINDS).models()}
    assert found["speaches-test/whisper-synth"] == ("whisper", Task.STT)
    assert found["speaches-test/kokoro-synth"] == ("kokoro", Task.TTS)
    assert found["speaches-test/piper-en_US-synth-medium"] == ("piper", Task.TTS)
    assert {"speaches/espeak-ng", "speaches/pocketsphinx-en-us", "silero_vad_v6"} < set(found)


# --- Odd folders ---


def test_odd_folders_are_left_out_with_one_warning_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_folder(tmp_path / "me" / "ears")
    add_folder(tmp_path / "me" / "odd", {"model.bin": "", "config.json": "", "odd": ""})
    add_folder(tmp_path / "me" / "pictures", {"cat.png": ""})
    add_folder(tmp_path / "me" / ".hidden")
    (tmp_path / "file").touch()
    (tmp_path / "me" / "file").touch()
    (tmp_path / "me" / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "me" / "circle").symlink_to(tmp_path / "me" / "circle")
    catalogue = in_dir(tmp_path)
    assert ids(catalogue) == ids(catalogue) == ["me/ears"]
    assert catalogue.find("me/odd") is None
    assert caplog.messages == [
        f"{tmp_path}/me/odd is left out: it can't be read (KeyError: 'audio').",
        f"{tmp_path}/me/pictures is left out: no engine recognises its files.",
    ]


def test_other_things_in_the_hub_cache_are_passed_over_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_snapshot(tmp_path, "me/ears")
    add_folder(tmp_path / "models--google--gemma" / "snapshots" / "c", {"model.safetensors": ""})
    add_folder(tmp_path / "datasets--me--data" / "snapshots" / "c")
    add_folder(tmp_path / ".locks", {"x": ""})
    add_folder(tmp_path / "models--", {"x": ""})
    add_folder(tmp_path / "models--only-refs" / "refs", {"main": "d"})
    assert ids(in_cache(tmp_path)) == ["me/ears"]
    assert caplog.messages == []


@pytest.mark.parametrize("main", ["", ".", "..", "../..", "gone", "\0", "x/y", "\xff"])
def test_an_odd_main_revision_leaves_the_snapshots(tmp_path: Path, main: str) -> None:
    folder = add_snapshot(tmp_path, "me/ears")
    (tmp_path / "models--me--ears" / "refs" / "main").write_bytes(main.encode("latin-1"))
    model = in_cache(tmp_path).find("me/ears")
    assert model is not None and model.folder == folder


def test_a_snapshot_whose_files_are_gone_is_no_model(tmp_path: Path) -> None:
    folder = add_snapshot(tmp_path, "me/ears")
    (folder / "model.bin").unlink()
    (folder / "model.bin").symlink_to("../../blobs/gone")
    assert in_cache(tmp_path).find("me/ears") is None


@pytest.mark.parametrize("main", [True, False])
def test_a_download_that_stopped_half_way_is_no_model(tmp_path: Path, main: bool) -> None:
    folder = add_snapshot(tmp_path, "me/ears", main=main)
    catalogue = in_cache(tmp_path)
    assert catalogue.find("me/ears") is not None
    unfinished_mark(folder).touch()
    assert catalogue.find("me/ears") is None
    assert ids(catalogue) == []


def test_while_a_new_revision_is_downloaded_the_old_one_serves(tmp_path: Path) -> None:
    old = add_snapshot(tmp_path, "me/ears", "a" * 40)
    unfinished_mark(add_snapshot(tmp_path, "me/ears", "b" * 40)).touch()
    model = in_cache(tmp_path).find("me/ears")
    assert model is not None and model.folder == old


# --- Ids ---


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        ".",
        "..",
        "/",
        "me/",
        "/ears",
        "../secret/ears",
        "me/..",
        "me/../me/ears",
        "me/./ears",
        "me//ears",
        "/etc/passwd",
        "me/ears/",
        "me/ears/model.bin",
        "me\\ears",
        "..\\secret",
        "me/ears\0",
        "me/ears\n",
        "me/\ud800",
        "me/" + "x" * 300,
        "me/" + "ä" * 150,
        "~/ears",
        "me",
        "Me/ears",
        "me/EARS",
        "models--me--ears",
    ],
)
def test_only_the_right_id_finds_a_model(tmp_path: Path, model_id: str) -> None:
    add_folder(tmp_path / "dir" / "me" / "ears")
    add_folder(tmp_path / "secret" / "ears")
    add_snapshot(tmp_path / "cache", "me/eyes")
    catalogue = Catalogue([tmp_path / "dir"], [tmp_path / "cache"], [hearing()])
    assert catalogue.find("me/ears") is not None
    assert catalogue.find(model_id) is None


@pytest.mark.parametrize("model_id", ["me/fine tuned", "ich/schöne-stimme", "me/a--b", "me/v1.0_x"])
def test_own_folders_may_have_other_names_than_the_hub_allows(tmp_path: Path, model_id: str) -> None:
    add_folder(tmp_path / model_id)
    catalogue = in_dir(tmp_path)
    assert catalogue.find(model_id) is not None
    assert ids(catalogue) == [model_id]


def test_a_repository_without_an_owner_keeps_its_name(tmp_path: Path) -> None:
    add_snapshot(tmp_path, "ears")
    assert ids(in_cache(tmp_path)) == ["ears"]
    assert in_cache(tmp_path).find("ears") is not None


# --- Remembering ---


def test_a_folder_is_examined_once_until_it_changes(tmp_path: Path) -> None:
    folder = add_folder(tmp_path / "me" / "ears")
    kind = hearing()
    catalogue = in_dir(tmp_path, kind)
    first = catalogue.find("me/ears")
    assert catalogue.models() == [catalogue.find("me/ears")] == [first]
    assert kind.described == [folder]

    (folder / "more.json").write_text("1234")
    os.utime(folder, (1_700_000_001, 1_700_000_001))
    second = catalogue.find("me/ears")
    assert first is not None and second is not None
    assert second.size_bytes == first.size_bytes + 4


def test_finding_one_model_looks_at_no_other(tmp_path: Path) -> None:
    add_folder(tmp_path / "me" / "eyes")
    folder = add_folder(tmp_path / "me" / "ears")
    kind = hearing()
    in_dir(tmp_path, kind).find("me/ears")
    assert kind.described == [folder]


def test_a_folder_that_is_still_being_written_is_looked_at_again(tmp_path: Path) -> None:
    # Two changes within one tick of the file system's clock leave the same time.
    folder = add_folder(tmp_path / "me" / "ears", {"config.json": "{}"})
    os.utime(folder)
    before = folder.stat()
    catalogue = in_dir(tmp_path)
    assert catalogue.find("me/ears") is None
    (folder / "model.bin").touch()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert catalogue.find("me/ears") is not None


def test_a_model_that_was_removed_is_gone_and_one_that_was_added_is_there(tmp_path: Path) -> None:
    folder = add_folder(tmp_path / "me" / "ears")
    catalogue = in_dir(tmp_path)
    assert ids(catalogue) == ["me/ears"]
    folder.rename(folder.with_name("eyes"))
    assert catalogue.find("me/ears") is None
    assert ids(catalogue) == ["me/eyes"]
    settle(folder.parent)


def test_a_model_behind_a_link_can_be_used_but_not_deleted(tmp_path: Path) -> None:
    add_folder(tmp_path / "elsewhere" / "ears")
    add_folder(tmp_path / "dir" / "you" / "ears")
    (tmp_path / "dir" / "me").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dir" / "you" / "eyes").symlink_to(tmp_path / "elsewhere" / "ears")
    deletable = {model.id: model.deletable for model in in_dir(tmp_path / "dir").models()}
    assert deletable == {"me/ears": False, "you/ears": True, "you/eyes": False}


# --- Where ---


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HF_HOME": "/data/hf"},
        {"HF_HUB_CACHE": "/data/cache"},
        {"HF_HOME": "/data/hf", "HF_HUB_CACHE": "/data/cache"},
        {"HUGGINGFACE_HUB_CACHE": "/data/old"},
        {"XDG_CACHE_HOME": "/data/xdg"},
        {"HF_HOME": "$HOME/hf"},
        {"HF_HUB_CACHE": "~/cache"},
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    code = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    env = {"HOME": "/home/me", "PATH": os.environ["PATH"], **environ}
    theirs = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert hub_caches(environ) == (Path(theirs.stdout.strip()), RUNPOD_CACHE)


def test_an_empty_setting_is_unset_and_runpods_cache_is_not_looked_at_twice() -> None:
    assert hub_caches({"HF_HOME": "", "HF_HUB_CACHE": ""}) == hub_caches({})
    assert hub_caches({"HF_HUB_CACHE": str(RUNPOD_CACHE)}) == (RUNPOD_CACHE,)


def test_the_catalogue_imports_nothing_heavy() -> None:
    code = """
import sys
import speaches.models.aliases, speaches.models.catalogue, speaches.models.downloads, speaches.models.hub
print([name for name in ("huggingface_hub", "numpy", "pydantic", "rich", "typer", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
