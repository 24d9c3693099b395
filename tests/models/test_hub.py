from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speaches.engines.registry import KINDS
from speaches.errors import Forbidden, InvalidRequest, SpeachesError, Unauthorized, Unavailable, UnknownModel
from speaches.models.catalogue import Catalogue, Model
from speaches.models.deletion import delete
from speaches.models.hub import Hub, configure
from speaches.settings import Settings
from tests.conftest import NO_HUB
from tests.fakes import PATIENCE
from tests.hub import LoopbackHub, running_hub
from tests.models.fakes import settle

WHISPER = "speaches-test/whisper-synth"
KOKORO = "speaches-test/kokoro-synth"
PIPER = "speaches-test/piper-en_US-synth-medium"


def on_disk(hub: Hub, model_id: str) -> Model | None:
    return Catalogue([], [hub.cache], KINDS).find(model_id)


def refused(hub: Hub, model_id: str) -> SpeachesError:
    """What a download of it fails with; nothing may be left that counts as a model."""
    with pytest.raises(SpeachesError) as failed:
        hub.download(model_id)
    assert on_disk(hub, model_id) is None
    return failed.value


def own_repository(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / "me" / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# --- Downloads ---


@pytest.mark.parametrize("model_id", [WHISPER, KOKORO, PIPER])
def test_a_download_is_a_model_on_disk(hub: Hub, model_id: str) -> None:
    folder = hub.download(model_id)
    model = on_disk(hub, model_id)
    assert model is not None and model.folder == folder
    assert model.deletable


def test_progress_is_told_in_bytes_up_to_the_end(hub: Hub) -> None:
    told: list[tuple[int, int]] = []
    folder = hub.download(WHISPER, lambda done, total: told.append((done, total)))
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert {total for _, total in told} == {size}
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({done for done, _ in told}) > 3


def test_only_what_the_engine_needs_is_fetched(tmp_path: Path) -> None:
    own_repository(tmp_path, {"model.bin": b"x", "config.json": b"{}", "vocabulary.txt": b""})
    own_repository(tmp_path, {"pytorch_model.bin": b"x", "sub/config.json": b"{}", "flax/model.bin": b"x"})
    with running_hub(tmp_path) as loopback:
        folder = Hub(tmp_path / "cache", KINDS, endpoint=loopback.url).download("me/model")
    assert sorted(file.name for file in folder.rglob("*")) == ["config.json", "model.bin", "vocabulary.txt"]


def test_what_is_here_already_is_not_fetched_again(hub: Hub, loopback: LoopbackHub) -> None:
    folder = hub.download(WHISPER)
    (folder / "config.json").unlink()
    loopback.forget()
    told: list[tuple[int, int]] = []
    assert hub.download(WHISPER, lambda done, total: told.append((done, total))) == folder
    assert loopback.asked("config.json") <= 1  # its contents are still there as a blob
    assert loopback.asked("model.bin") == 0
    assert told[0][0] > 15_000_000


def test_a_new_revision_takes_the_place_of_the_old(tmp_path: Path) -> None:
    own_repository(tmp_path, {"model.bin": b"old", "config.json": b"{}", "vocabulary.txt": b""})
    with running_hub(tmp_path) as loopback:
        hub = Hub(tmp_path / "cache", KINDS, endpoint=loopback.url)
        old = hub.download("me/model")
        own_repository(tmp_path, {"model.bin": b"newer"})
        new = hub.download("me/model")
    model = on_disk(hub, "me/model")
    assert model is not None and model.folder == new != old
    assert (new / "model.bin").read_bytes() == b"newer"


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.cuts["model.bin"] = 12_000_000
    folder = hub.download(WHISPER)
    assert (folder / "model.bin").stat().st_size == 15_053_608
    assert loopback.asked("model.bin") == 2
    assert loopback.ranges == ["bytes=10485760-"]


def test_after_a_download_that_failed_the_next_fetches_only_the_rest(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.failing["model.bin"] = 500
    error = refused(hub, WHISPER)
    assert isinstance(error, Unavailable)
    assert str(error) == f"The Hugging Face hub failed on {WHISPER} (status 500). Try again later."
    loopback.forget()
    hub.download(WHISPER)
    assert on_disk(hub, WHISPER) is not None
    assert loopback.asked("model.bin") == 1
    assert loopback.asked("tokenizer.json") == 0


def test_a_model_that_lacks_only_its_tokenizer_is_none_yet(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.failing["tokenizer.json"] = 500
    refused(hub, WHISPER)
    snapshots = hub.cache / "models--speaches-test--whisper-synth" / "snapshots"
    assert (next(snapshots.iterdir()) / "model.bin").exists()  # so its engine would recognise it


def test_progress_can_stop_a_download(hub: Hub) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise Unavailable("enough")

    with pytest.raises(Unavailable, match="enough"):
        hub.download(WHISPER, stop)
    assert on_disk(hub, WHISPER) is None
    assert list(hub.cache.rglob("*.incomplete")) == []


def test_partial_files_of_processes_that_died_are_swept(hub: Hub) -> None:
    blobs = hub.cache / "models--speaches-test--kokoro-synth" / "blobs"
    blobs.mkdir(parents=True)
    stale, fresh = blobs / "a.1.incomplete", blobs / "b.2.incomplete"
    stale.touch()
    settle(stale)
    fresh.touch()
    hub.download(KOKORO)
    assert not stale.exists()
    assert fresh.exists()


def test_the_same_model_may_be_downloaded_twice_at_once(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.held["model.bin"] = hold = threading.Event()
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(hub.download(WHISPER))) for _ in range(2)]
    for thread in threads:
        thread.start()
    hold.set()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert len(set(folders)) == 1 and len(folders) == 2
    assert on_disk(hub, WHISPER) is not None


def test_a_model_that_was_deleted_can_be_fetched_again_and_fail_half_way(hub: Hub, loopback: LoopbackHub) -> None:
    # huggingface-hub remembers the list of files of a revision, and then does not write it down again.
    hub.download(WHISPER)
    model = on_disk(hub, WHISPER)
    assert model is not None
    delete(model)
    loopback.failing["tokenizer.json"] = 500
    refused(hub, WHISPER)


# --- What may go wrong ---


@pytest.mark.parametrize("model_id", ["no/such", "speaches-test/Whisper-synth"])
def test_a_model_that_the_hub_does_not_have(hub: Hub, model_id: str) -> None:
    error = refused(hub, model_id)
    assert isinstance(error, UnknownModel)
    assert str(error) == f"The Hugging Face hub has no model {model_id}, or it is private: then set HF_TOKEN."
    assert not hub.cache.exists()


@pytest.mark.parametrize(
    "model_id", ["", "whisper-9", "../x", "a/b/c", "a\\b/c", "a/..", "/etc/passwd", "a/b\0", "-a/b", "a/b c"]
)
def test_an_id_that_names_no_model_asks_nobody(hub: Hub, loopback: LoopbackHub, model_id: str) -> None:
    assert isinstance(refused(hub, model_id), UnknownModel)
    assert loopback.requests == []


def test_a_private_model_needs_a_token(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.private.add(KOKORO)
    assert isinstance(refused(hub, KOKORO), UnknownModel)
    assert replace(hub, token="any").download(KOKORO).is_dir()


def test_a_wrong_token_is_named(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.failing[f"/api/models/{KOKORO}"] = 401
    error = refused(replace(hub, token="old"), KOKORO)
    assert isinstance(error, Unauthorized)
    assert str(error) == "The Hugging Face hub does not accept the token in HF_TOKEN."


def test_a_gated_model_says_where_to_accept_its_terms(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.gated.add(KOKORO)
    error = refused(hub, KOKORO)
    assert isinstance(error, Unauthorized)
    assert error.code == "gated_repo"
    assert str(error) == (
        f"{KOKORO} is gated: its owner wants to know who takes it. Accept its terms at {loopback.url}/{KOKORO}"
        " and set HF_TOKEN to a token of that account."
    )
    assert isinstance(refused(replace(hub, token="another's"), KOKORO), Forbidden)
    assert replace(hub, token="accepted").download(KOKORO).is_dir()


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, UnknownModel, "has no model"),
        (403, Forbidden, "may not read"),
        (404, UnknownModel, "has no model"),
        (429, Unavailable, "status 429"),
        (500, Unavailable, "status 500"),
        (503, Unavailable, "status 503"),
    ],
)
def test_what_the_hub_answers_becomes_a_sentence(
    hub: Hub, loopback: LoopbackHub, status: int, kind: type[SpeachesError], says: str
) -> None:
    loopback.failing[f"/api/models/{WHISPER}"] = status
    error = refused(hub, WHISPER)
    assert type(error) is kind
    assert says in str(error)


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": b"", "config.json": b"{}"},
        {"model.onnx": b"", "config.json": b'{"model_type": "bert"}'},
        {"model.onnx": b"", "config.json": b"not JSON"},
        {"README.md": b""},
        {},
    ],
)
def test_a_repository_for_no_engine_is_refused_before_anything_large_is_fetched(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    (tmp_path / "me" / "model").mkdir(parents=True)
    own_repository(tmp_path, files)
    with running_hub(tmp_path) as loopback:
        hub = Hub(tmp_path / "cache", KINDS, endpoint=loopback.url)
        error = refused(hub, "me/model")
        assert loopback.asked("model.onnx") == loopback.asked("model.safetensors") == 0
    assert type(error) is InvalidRequest
    assert error.code == "unsupported_model"
    assert str(error) == (
        "No engine here can run me/model: its files are not those of a model for whisper, kokoro, piper, smart-turn, gtcrn."
    )
    assert not hub.cache.exists()


def test_without_a_network_the_model_is_not_found(tmp_path: Path) -> None:
    error = refused(Hub(tmp_path, KINDS, endpoint=NO_HUB), WHISPER)
    assert isinstance(error, UnknownModel)
    assert "is not on this machine, and the Hugging Face hub can't be reached" in str(error)


def test_a_hub_that_goes_away_half_way(hub: Hub, loopback: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    loopback.cuts.update({"model.onnx": 65536})
    loopback.always_cut = True
    error = refused(hub, KOKORO)
    assert isinstance(error, Unavailable)
    assert "broke off" in str(error)
    assert list(hub.cache.rglob("*.incomplete")) == []


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, f"There is no room for {KOKORO} in"),
        (errno.EDQUOT, f"There is no room for {KOKORO} in"),
        (errno.EROFS, "HF_HUB_CACHE says where downloads go"),
        (errno.EACCES, "HF_HUB_CACHE says where downloads go"),
        (errno.EIO, "broke off"),
    ],
)
def test_a_disk_that_fails_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.file_download._chmod_and_move", fail)
    error = refused(hub, KOKORO)
    assert isinstance(error, Unavailable)
    assert says in str(error)


def test_a_disk_that_is_too_small_is_noticed_before_the_download(
    hub: Hub, loopback: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Callable[..., object] = lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", usage)
    error = refused(hub, WHISPER)
    assert str(error) == (
        f"There is no room for {WHISPER} in {hub.cache}: [Errno 28] 20 MB are needed and 1 MB are free."
    )
    assert loopback.asked("model.bin") == 0


def test_names_that_climb_out_of_the_repository_are_passed_over(hub: Hub, loopback: LoopbackHub) -> None:
    loopback.more_files += ["../../evil.json", "/etc/evil.json", "sub\\..\\evil.json", "evil\0.json"]
    assert hub.download(PIPER).is_dir()
    assert [request for request in loopback.requests if "evil" in request] == []


# --- Settings ---


def settings(**said: Any) -> Settings:
    return Settings(**said)


def test_the_setting_for_fast_downloads_goes_by_its_new_name() -> None:
    environ = {"HF_HUB_ENABLE_HF_TRANSFER": "1"}
    configure(settings(), environ)
    assert environ == {"HF_XET_HIGH_PERFORMANCE": "1"}
    configure(settings(hf_hub_enable_hf_transfer=False), environ := {})
    assert environ == {}
    configure(settings(), environ := {"HF_XET_HIGH_PERFORMANCE": "0"})
    assert environ == {"HF_XET_HIGH_PERFORMANCE": "0"}


def test_the_hub_takes_its_settings_from_where_users_put_them() -> None:
    environ = {"HF_HUB_CACHE": "/data", "HF_ENDPOINT": "https://mirror"}
    assert Hub.of(settings(hf_token="hf_x"), KINDS, environ) == Hub(Path("/data"), KINDS, "hf_x", "https://mirror")
    assert Hub.of(settings(), KINDS, {"HF_ENDPOINT": ""}).endpoint is None
