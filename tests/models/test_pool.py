from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from speaches.engines.base import Engine, Task
from speaches.errors import Conflict, NotFound, SpeachesError, TimedOut
from speaches.models.catalogue import Model
from speaches.models.pool import Loaded, Pool
from speaches.scheduling import Scheduler
from tests.fakes import PATIENCE, Gate


def model(name: str = "a", *, size: int = 0, task: Task = Task.STT) -> Model:
    return Model(name, task, "fake", None, created=0, owned_by="tests", size_bytes=size)


@dataclass
class FakeEngine:
    model: Model
    disk: Disk
    closed: bool = False

    def run(self, tasks: Sequence[Any]) -> list[Any]:
        assert not self.closed, "used after it was closed"
        with self.disk.work:
            return list(tasks)

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


@dataclass
class Disk:
    """Where engines are loaded from."""

    loads: Gate = field(default_factory=Gate)
    """What a load goes through."""
    work: Gate = field(default_factory=Gate)
    """What a call goes through."""
    error: Exception | None = None
    loaded: list[FakeEngine] = field(default_factory=list)
    """Every engine there ever was."""
    tried: list[str] = field(default_factory=list)

    def load(self, wanted: Model) -> Any:
        self.tried.append(wanted.id)
        with self.loads:
            if self.error is not None:
                raise self.error
        self.loaded.append(FakeEngine(wanted, self))
        return self.loaded[-1]

    @property
    def open(self) -> list[str]:
        """The ids of the engines in memory."""
        return [engine.model.id for engine in self.loaded if not engine.closed]


@asynccontextmanager
async def pooling(
    disk: Disk, *, ttl: float = -1, load_timeout: float = PATIENCE, memory: int = 0
) -> AsyncIterator[Pool]:
    def schedule(wanted: Model, engine: Engine) -> Scheduler[Any, Any]:
        assert isinstance(engine, FakeEngine)
        return Scheduler(engine.run, name="pooled")

    pool = Pool(disk.load, schedule, ttl=lambda task: ttl, load_timeout=load_timeout, memory_bytes=memory)
    try:
        yield pool
    finally:
        disk.loads.open()
        disk.work.open()
        await pool.close()


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def use(pool: Pool, wanted: Model) -> FakeEngine:
    async with pool.use(wanted) as loaded:
        engine: FakeEngine = loaded.engine
        assert not engine.closed
        return engine


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def closed(pool: Pool) -> None:
    """Wait until what has been dropped is closed."""
    while pool._closing:
        await asyncio.wait(pool._closing)


class Clock:
    """Stops the running event loop's clock and moves it, so that no test waits for a time to come, and none comes by itself."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time()
        loop.time = lambda: self._now  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        self._now += seconds
        await settled()


# --- Loading ---


async def test_a_model_is_loaded_once_however_many_ask(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        asked = [asyncio.create_task(use(pool, model())) for _ in range(20)]
        await disk.loads.reached()
        disk.loads.open()
        engines = await asyncio.gather(*asked)
    assert disk.tried == ["a"]
    assert all(engine is engines[0] for engine in engines)


async def test_a_loaded_model_is_used_again(disk: Disk) -> None:
    async with pooling(disk) as pool:
        assert await use(pool, model()) is await use(pool, model())
        assert [loaded.model.id for loaded in pool.loaded()] == ["a"]
        assert pool.is_loaded("a")


async def test_different_models_load_at_the_same_time(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        asked = [asyncio.create_task(use(pool, model(name))) for name in ("a", "b")]
        await disk.loads.reached(2)
        disk.loads.open()
        await asyncio.gather(*asked)
        assert sorted(disk.open) == ["a", "b"]


async def test_a_failed_load_fails_all_who_waited_and_leaves_no_trace(disk: Disk) -> None:
    disk.error = OSError("model.bin is cut short")
    async with pooling(disk) as pool:
        asked = [asyncio.create_task(use(pool, model())) for _ in range(3)]
        for task in asked:
            with pytest.raises(SpeachesError, match=r"model\.bin is cut short") as failed:
                await task
            assert failed.value.code == "model_load_failed"
        assert disk.tried == ["a"]
        assert pool.loaded() == []
        disk.error = None
        assert (await use(pool, model())).model.id == "a"
        assert disk.tried == ["a", "a"]


async def test_who_waits_too_long_gets_a_504_and_the_next_one_finds_the_model(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk, load_timeout=0.01) as pool:
        with pytest.raises(TimedOut, match="MODEL_LOAD_TIMEOUT") as late:
            await use(pool, model())
        assert (late.value.status, late.value.code) == (504, "model_loading")
        disk.loads.open()
        await asyncio.wait(pool._loading.values())
        assert (await use(pool, model())).model.id == "a"
        assert disk.tried == ["a"]


async def test_who_stops_waiting_does_not_stop_the_load(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        gone, stays = (asyncio.create_task(use(pool, model())) for _ in range(2))
        await disk.loads.reached()
        gone.cancel()
        await asyncio.wait([gone])
        disk.loads.open()
        assert (await stays).model.id == "a"
        assert disk.tried == ["a"]


async def test_a_load_that_nobody_waits_for_any_more_enters_the_pool(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        gone = asyncio.create_task(use(pool, model()))
        await disk.loads.reached()
        gone.cancel()
        await asyncio.wait([gone])
        disk.loads.open()
        await asyncio.wait(pool._loading.values())
        assert pool.is_loaded("a")


async def test_who_asks_in_the_moment_a_load_ends_gets_that_model(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        first = asyncio.create_task(use(pool, model()))
        await disk.loads.reached()
        load = pool._loading["a"]
        disk.loads.open()
        later = []
        while not load.done():  # one asker for each step of the loop, one of them is bound to come in that moment
            later.append(asyncio.create_task(use(pool, model())))
            await asyncio.sleep(0)
        later.append(asyncio.create_task(use(pool, model())))
        engines = await asyncio.gather(first, *later)
    assert len(set(map(id, engines))) == 1
    assert disk.tried == ["a"]


# --- Going ---


async def test_with_a_ttl_of_minus_one_a_model_stays(disk: Disk) -> None:
    async with pooling(disk, ttl=-1) as pool:
        clock = Clock()
        await use(pool, model())
        await clock.advance(30)
        assert pool.is_loaded("a")
        assert pool.loaded()[0].expiry is None


async def test_with_a_ttl_of_zero_a_model_goes_after_its_last_use(disk: Disk) -> None:
    async with pooling(disk, ttl=0) as pool:
        async with pool.use(model()):
            async with pool.use(model()):
                pass
            await settled()
            assert pool.is_loaded("a")
        await settled()
        assert not pool.is_loaded("a")
        await closed(pool)
        assert disk.open == []


async def test_with_a_ttl_of_zero_all_who_waited_for_a_load_get_the_model(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk, ttl=0) as pool:
        asked = [asyncio.create_task(use(pool, model())) for _ in range(5)]
        await disk.loads.reached()
        disk.loads.open()
        await asyncio.gather(*asked)
        assert disk.tried == ["a"]


async def test_an_idle_model_goes_when_its_time_has_come(disk: Disk) -> None:
    async with pooling(disk, ttl=10) as pool:
        clock = Clock()
        await use(pool, model())
        await clock.advance(9)
        assert pool.is_loaded("a")
        await clock.advance(2)
        assert not pool.is_loaded("a")
        await closed(pool)
        assert disk.open == []


async def test_each_use_gives_a_model_new_time(disk: Disk) -> None:
    async with pooling(disk, ttl=10) as pool:
        clock = Clock()
        for _ in range(3):
            await use(pool, model())
            await clock.advance(9)
        assert disk.tried == ["a"]
        assert disk.open == ["a"]


async def test_a_model_in_use_does_not_go(disk: Disk) -> None:
    async with pooling(disk, ttl=10) as pool:
        clock = Clock()
        await use(pool, model())
        async with pool.use(model()) as loaded:
            await clock.advance(25)
            assert pool.is_loaded("a")
            assert not loaded.engine.closed


async def test_a_model_that_was_loaded_for_nobody_goes_too(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk, ttl=10) as pool:
        clock = Clock()
        gone = asyncio.create_task(use(pool, model()))
        await disk.loads.reached()
        gone.cancel()
        await asyncio.wait([gone])
        disk.loads.open()
        await asyncio.wait(pool._loading.values())
        await clock.advance(11)
        await closed(pool)
        assert disk.open == []


# --- Unloading ---


async def test_an_idle_model_can_be_unloaded_and_loaded_again(disk: Disk) -> None:
    async with pooling(disk) as pool:
        first = await use(pool, model())
        pool.unload("a")
        assert pool.loaded() == []
        second = await use(pool, model())
        assert second is not first
        await closed(pool)
        assert first.closed
        assert not second.closed


async def test_unloading_a_busy_model_is_a_conflict_and_changes_nothing(disk: Disk) -> None:
    async with pooling(disk) as pool:
        async with pool.use(model()) as loaded:
            with pytest.raises(Conflict, match="in use by 1 request") as refused:
                pool.unload("a")
            assert refused.value.status == 409
            await settled()
            assert not loaded.engine.closed
            assert pool.is_loaded("a")
        assert await use(pool, model()) is loaded.engine


async def test_unloading_what_is_not_loaded_is_a_404(disk: Disk) -> None:
    async with pooling(disk) as pool:
        with pytest.raises(NotFound):
            pool.unload("a")


async def test_an_engine_is_closed_after_the_running_call_of_a_client_that_left(disk: Disk) -> None:
    disk.work.close()
    async with pooling(disk) as pool:
        async with pool.use(model()) as loaded:
            assert loaded.scheduler is not None
            async with loaded.scheduler.admit() as request:
                running = request.submit("task")
                await disk.work.reached()
        pool.unload("a")
        await settled()
        assert not loaded.engine.closed
        disk.work.open()
        await closed(pool)
        assert running.result() == "task"
        assert loaded.engine.closed


async def test_nobody_is_ever_given_a_closed_engine(disk: Disk) -> None:
    async with pooling(disk, ttl=0) as pool:

        async def client(number: int) -> None:
            for _ in range(10):
                async with pool.use(model(str(number % 3))) as loaded:
                    assert loaded.scheduler is not None
                    async with loaded.scheduler.admit() as request:
                        assert await request.submit(number) == number
                    assert not loaded.engine.closed
                if number == 0:
                    for entry in pool.loaded():
                        if not entry.users:
                            pool.unload(entry.model.id)
                await asyncio.sleep(0)

        await asyncio.gather(*(client(number) for number in range(9)))
        await closed(pool)
    assert len(disk.loaded) >= 3
    assert disk.open == []


# --- Memory ---


async def test_the_budget_evicts_the_idle_model_that_was_not_used_for_longest(disk: Disk) -> None:
    async with pooling(disk, memory=100) as pool:
        for name in ("a", "b", "a", "c"):
            await use(pool, model(name, size=40))
        assert sorted(entry.model.id for entry in pool.loaded()) == ["a", "c"]


async def test_the_budget_evicts_no_more_than_it_must(disk: Disk) -> None:
    async with pooling(disk, memory=100) as pool:
        for name, size in (("a", 20), ("b", 20), ("c", 50), ("d", 30)):
            await use(pool, model(name, size=size))
        assert sorted(entry.model.id for entry in pool.loaded()) == ["b", "c", "d"]


async def test_the_budget_leaves_busy_models_alone(disk: Disk) -> None:
    async with pooling(disk, memory=100) as pool, pool.use(model("a", size=60)) as loaded:
        await use(pool, model("b", size=60))
        assert sorted(entry.model.id for entry in pool.loaded()) == ["a", "b"]
        await use(pool, model("c", size=60))
        assert sorted(entry.model.id for entry in pool.loaded()) == ["a", "c"]
        assert not loaded.engine.closed


async def test_a_model_loads_only_when_those_it_evicts_are_closed(disk: Disk) -> None:
    async with pooling(disk, memory=100) as pool:
        engine = await use(pool, model("a", size=60))
        disk.loads.close()
        second = asyncio.create_task(use(pool, model("b", size=60)))
        await disk.loads.reached(2)
        assert engine.closed
        disk.loads.open()
        await second


async def test_without_a_budget_nothing_is_evicted(disk: Disk) -> None:
    async with pooling(disk) as pool:
        for name in ("a", "b", "c"):
            await use(pool, model(name, size=10**12))
        assert len(pool.loaded()) == 3


# --- The end ---


async def test_close_closes_every_engine_and_ends_the_threads(disk: Disk) -> None:
    async with pooling(disk) as pool:
        for name in ("a", "b"):
            await use(pool, model(name))
        threads = list(pool._threads._threads)
    assert disk.open == []
    assert threads
    assert not any(thread.is_alive() for thread in threads)


async def test_close_during_a_load_waits_for_it_and_closes_what_it_loaded(disk: Disk) -> None:
    disk.loads.close()
    async with pooling(disk) as pool:
        gone = asyncio.create_task(use(pool, model()))
        await disk.loads.reached()
        gone.cancel()
        await asyncio.wait([gone])
        closing = asyncio.create_task(pool.close())
        await settled()
        assert not closing.done()
        disk.loads.open()
        await closing
        assert [engine.closed for engine in disk.loaded] == [True]


async def test_a_pool_that_was_never_used_closes() -> None:
    before = set(threading.enumerate())
    async with pooling(Disk()) as pool:
        assert pool.loaded() == []
    assert set(threading.enumerate()) <= before


async def test_a_model_without_a_scheduler_is_held_in_the_same_way(disk: Disk) -> None:
    pool = Pool(disk.load, lambda wanted, engine: None, ttl=lambda task: -1, load_timeout=PATIENCE)
    async with pool.use(model(task=Task.VAD)) as loaded:
        entry: Loaded = loaded
        assert entry.scheduler is None
        assert entry.users == 1
    await pool.close()
    assert disk.open == []
