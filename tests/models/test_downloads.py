from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from speaches.errors import Unavailable, UnknownModel
from speaches.models.downloads import Downloads
from speaches.models.hub import Hub, Progress
from tests.fakes import PATIENCE
from tests.hub import LoopbackHub


@dataclass
class FakeHub:
    """Downloads what it is asked for when it is let, in two steps of 50 bytes."""

    asked: list[str] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def download(self, model_id: str, progress: Progress) -> Path:
        self.asked.append(model_id)
        progress(50, 100)
        self.started.set()
        assert self.go_on.wait(PATIENCE)
        progress(100, 100)
        if self.error:
            raise self.error
        return Path(model_id)

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, PATIENCE)


def run(conversation: Callable[[FakeHub, Downloads], Awaitable[None]]) -> FakeHub:
    hub = FakeHub()

    async def talk() -> None:
        downloads = Downloads(hub.download)
        try:
            await asyncio.wait_for(conversation(hub, downloads), PATIENCE)
        finally:
            hub.go_on.set()
            await downloads.close()

    asyncio.run(talk())
    return hub


def test_however_many_ask_a_model_is_downloaded_once() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        waiting = [asyncio.create_task(downloads.get("me/ears")) for _ in range(20)]
        await hub.has_started()
        hub.go_on.set()
        assert await asyncio.gather(*waiting) == [Path("me/ears")] * 20

    assert run(conversation).asked == ["me/ears"]


def test_progress_can_be_seen_while_it_lasts() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        waiting = asyncio.create_task(downloads.get("me/ears"))
        await hub.has_started()
        assert downloads.progress() == {"me/ears": {"bytes_done": 50, "bytes_total": 100}}
        hub.go_on.set()
        await waiting
        assert downloads.progress() == {}

    run(conversation)


def test_who_stops_waiting_leaves_the_download_to_the_others() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        impatient, patient = (asyncio.create_task(downloads.get("me/ears")) for _ in range(2))
        await hub.has_started()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        hub.go_on.set()
        assert await patient == Path("me/ears")

    assert run(conversation).asked == ["me/ears"]


def test_a_download_goes_on_when_nobody_waits() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        only = asyncio.create_task(downloads.get("me/ears"))
        await hub.has_started()
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        again = asyncio.create_task(downloads.get("me/ears"))
        hub.go_on.set()
        assert await again == Path("me/ears")

    assert run(conversation).asked == ["me/ears"]


def test_a_failure_is_told_to_all_and_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        hub.error = UnknownModel("There is none.")
        waiting = [asyncio.create_task(downloads.get("me/ears")) for _ in range(3)]
        await hub.has_started()
        hub.go_on.set()
        assert await asyncio.gather(*waiting, return_exceptions=True) == [hub.error] * 3
        assert downloads.progress() == {}
        hub.error = None
        assert await downloads.get("me/ears") == Path("me/ears")

    assert run(conversation).asked == ["me/ears", "me/ears"]
    assert caplog.messages == ["There is none."]


def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        hub.error = ZeroDivisionError()
        hub.go_on.set()
        with pytest.raises(ZeroDivisionError):
            await downloads.get("me/ears")

    run(conversation)
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [
        ("The download of me/ears failed.", True)
    ]


def test_models_wait_for_their_turn() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        waiting = [asyncio.create_task(downloads.get(model_id)) for model_id in "abc"]
        await hub.has_started()
        assert set(downloads.progress()) == {"a", "b", "c"}
        assert downloads.progress()["c"] == {"bytes_done": 0, "bytes_total": 0}
        hub.go_on.set()
        assert await asyncio.gather(*waiting) == [Path("a"), Path("b"), Path("c")]

    assert sorted(run(conversation).asked) == ["a", "b", "c"]


def test_closing_stops_what_runs_and_what_waits() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        waiting = [asyncio.create_task(downloads.get(model_id)) for model_id in "abc"]
        await hub.has_started()
        closing = asyncio.create_task(downloads.close())
        await asyncio.sleep(0)
        hub.go_on.set()
        await closing
        assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [Unavailable] * 3
        with pytest.raises(Unavailable):
            await downloads.get("d")

    assert "d" not in run(conversation).asked


def test_closing_does_not_wait_for_ever() -> None:
    async def conversation(hub: FakeHub, downloads: Downloads) -> None:
        waiting = asyncio.create_task(downloads.get("me/ears"))
        await hub.has_started()
        await downloads.close(timeout=0.01)
        assert not waiting.done()
        hub.go_on.set()
        with pytest.raises(Unavailable):
            await waiting

    run(conversation)


def test_the_log_says_how_far_it_is_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    def download(model_id: str, progress: Progress) -> Path:
        for done in range(0, 11):
            progress(done * 10**8, 10**9)
        return Path(model_id)

    async def talk(seconds: Iterator[float]) -> None:
        downloads = Downloads(download, clock=lambda: next(seconds))
        await downloads.get("me/ears")
        await downloads.close()

    caplog.set_level(logging.INFO)
    asyncio.run(talk(iter([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 11, 12])))
    assert caplog.messages == [
        "Downloading me/ears.",
        "Downloading me/ears: 400 of 1000 MB.",
        "Downloading me/ears: 900 of 1000 MB.",
        "Downloaded me/ears in 12 s.",
    ]


def test_two_requests_for_a_model_of_the_real_client_ask_the_hub_once(hub: Hub, loopback: LoopbackHub) -> None:
    async def talk() -> None:
        downloads = Downloads(hub.download)
        folders = await asyncio.gather(*(downloads.get("speaches-test/kokoro-synth") for _ in range(2)))
        await downloads.close()
        assert folders[0] == folders[1]

    asyncio.run(talk())
    assert loopback.asked("model.onnx") == 1
    assert loopback.asked("/api/models/speaches-test/kokoro-synth") == 1


def test_closing_ends_a_download_of_the_real_client(hub: Hub, loopback: LoopbackHub) -> None:
    # Held half-way through the 15 MB: the client has then seen its first 10 MB at most.
    loopback.held["model.bin"] = hold = threading.Event()

    async def talk() -> None:
        downloads = Downloads(hub.download)
        waiting = asyncio.create_task(downloads.get("speaches-test/whisper-synth"))
        assert await asyncio.to_thread(loopback.holding.wait, PATIENCE)
        closing = asyncio.create_task(downloads.close(PATIENCE))
        await asyncio.sleep(0)
        hold.set()
        await closing
        with pytest.raises(Unavailable, match="shutting down"):
            await waiting

    asyncio.run(talk())
    assert list(hub.cache.rglob("*.incomplete")) == []
