from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from speaches.engines.base import Window
from speaches.errors import TooBusy
from speaches.scheduling import Request, Scheduler
from tests.fakes import PATIENCE, Gate

Work = Scheduler[Any, Any]
Admitted = Request[Any, Any]


@dataclass
class Engine:
    """Answers each task with its capitals, behind a gate, and remembers its calls."""

    calls: list[list[Any]] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    threads: set[str] = field(default_factory=set)

    def run(self, tasks: Sequence[Any]) -> list[Any]:
        self.calls.append(list(tasks))
        self.threads.add(threading.current_thread().name)
        with self.gate:
            if any(task == "bad" for task in tasks):
                raise RuntimeError("can't do a bad task")
            return [str(task).upper() for task in tasks]

    @property
    def order(self) -> list[Any]:
        return [task for call in self.calls for task in call]


@asynccontextmanager
async def scheduling(engine: Engine, **options: Any) -> AsyncIterator[Work]:
    scheduler: Work = Scheduler(engine.run, **options)
    try:
        yield scheduler
    finally:
        engine.gate.open()
        await scheduler.close()


def busy(engine: Engine, request: Admitted) -> asyncio.Future[Any]:
    """Give the engine a task that it does not end until its gate opens."""
    engine.gate.close()
    return request.submit("first")


async def done(*futures: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*futures))


async def settled() -> None:
    """Let everything that can go on without a thread go on."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- Results ---


async def test_each_task_gets_its_own_result_in_the_order_they_were_given() -> None:
    async with scheduling(Engine(), workers=3) as scheduler, scheduler.admit() as request:
        futures = [request.submit(f"task {n}") for n in range(50)]
        assert await done(*futures) == [f"TASK {n}" for n in range(50)]


async def test_tasks_of_one_request_start_in_order() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, scheduler.admit() as request:
        await done(*(request.submit(n) for n in range(20)))
    assert engine.order == list(range(20))


async def test_a_failed_call_fails_its_batch_and_nothing_else() -> None:
    engine = Engine()
    sharing = scheduling(engine, batch_size=2, batch_key=lambda task: task == "later")
    async with sharing as scheduler, scheduler.admit() as one, scheduler.admit() as two:
        blocker = busy(engine, one)
        bad, good, later = one.submit("bad"), two.submit("good"), two.submit("later")
        engine.gate.open()
        assert await blocker == "FIRST"
        for failed in (bad, good):
            with pytest.raises(RuntimeError, match="bad task"):
                await failed
        assert await later == "LATER"
        assert await one.submit("and on") == "AND ON"
    assert engine.calls == [["first"], ["bad", "good"], ["later"], ["and on"]]


async def test_an_engine_that_loses_results_fails_the_tasks_rather_than_keep_them_waiting() -> None:
    scheduler: Work = Scheduler(lambda tasks: [])
    async with scheduler.admit() as request:
        with pytest.raises(RuntimeError, match="0 results for 1 task"):
            await request.submit("a")
        with pytest.raises(RuntimeError, match="0 results for 1 task"):
            await request.submit("b")
    await scheduler.close()


# --- Turns ---


async def test_a_short_request_does_not_wait_for_a_long_one() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, scheduler.admit() as long, scheduler.admit() as short:
        blocker = busy(engine, long)
        many = [long.submit(f"long {n}") for n in range(100)]
        one = short.submit("short")
        engine.gate.open()
        await done(blocker, one, *many)
    assert engine.order.index("short") <= 2


async def test_requests_take_turns() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, AsyncExitStack() as stack:
        a, b, c = [await stack.enter_async_context(scheduler.admit()) for _ in range(3)]
        futures = [busy(engine, a)]
        futures += [request.submit(name + str(n)) for request, name in ((a, "a"), (b, "b"), (c, "c")) for n in range(3)]
        engine.gate.open()
        await done(*futures)
    assert engine.order == ["first", "a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


async def test_requests_are_told_apart_by_who_they_are_and_not_by_their_samples() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, scheduler.admit() as one, scheduler.admit() as two:
        blocker = busy(engine, one)
        window = np.zeros(16_000, np.float32)
        heard = [one.submit(Window(window)), two.submit(Window(window.copy())), two.submit(Window(window[:100]))]
        engine.gate.open()
        await done(blocker, *heard)
    assert len(engine.order) == 4


# --- Batches ---


async def test_a_batch_takes_from_several_requests_and_is_no_larger_than_allowed() -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=4) as scheduler, AsyncExitStack() as stack:
        requests = [await stack.enter_async_context(scheduler.admit()) for _ in range(3)]
        futures = [busy(engine, requests[0])]
        futures += [request.submit(f"{n}{k}") for n, request in enumerate(requests) for k in range(2)]
        engine.gate.open()
        await done(*futures)
    assert engine.calls == [["first"], ["00", "10", "20", "01"], ["11", "21"]]


async def test_a_batch_holds_tasks_of_one_key_only() -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=8, batch_key=lambda task: task[0]) as scheduler, AsyncExitStack() as stack:
        names = ("x1", "y1", "x2", "y2", "z1")
        requests = [await stack.enter_async_context(scheduler.admit()) for _ in names]
        blocker = busy(engine, requests[0])
        futures = [request.submit(name) for request, name in zip(requests, names, strict=True)]
        engine.gate.open()
        await done(blocker, *futures)
    assert engine.calls == [["first"], ["x1", "x2"], ["y1", "y2"], ["z1"]]


async def test_tasks_of_one_request_are_not_reordered_to_fill_a_batch() -> None:
    engine = Engine()
    sharing = scheduling(engine, batch_size=8, batch_key=lambda task: task[0])
    async with sharing as scheduler, scheduler.admit() as request:
        blocker = busy(engine, request)
        futures = [request.submit(name) for name in ("x1", "x2", "y1", "x3")]
        engine.gate.open()
        await done(blocker, *futures)
    assert engine.calls == [["first"], ["x1", "x2"], ["y1"], ["x3"]]


async def test_requests_that_share_batches_do_not_keep_another_key_waiting() -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=2, batch_key=lambda task: task[0]) as scheduler, AsyncExitStack() as stack:
        a, odd, b = [await stack.enter_async_context(scheduler.admit()) for _ in range(3)]
        futures = [busy(engine, a)]
        futures += [a.submit(f"x-a{n}") for n in range(10)]
        futures += [odd.submit("y")]
        futures += [b.submit(f"x-b{n}") for n in range(10)]
        engine.gate.open()
        await done(*futures)
    assert engine.calls.index(["y"]) <= 2


async def test_random_loads_are_done_wholly_in_order_and_in_lawful_batches() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        engine = Engine()
        size = int(rng.integers(1, 5))
        options: dict[str, Any] = {"batch_size": size, "batch_key": lambda t: t[0], "concurrency": 4}
        workers = int(rng.integers(1, 4))
        async with scheduling(engine, workers=workers, **options) as scheduler:
            await done(*(_client(scheduler, n, np.random.default_rng((seed, n))) for n in range(12)))
        assert all(len(call) <= size and len({task[0] for task in call}) == 1 for call in engine.calls)
        for n in range(12):
            mine = [task[2] for task in engine.order if task[1] == n]
            # Of two workers, the one that was given its task first may be the second to note it.
            assert (mine if workers == 1 else sorted(set(mine))) == sorted(mine)


async def _client(scheduler: Work, name: int, rng: np.random.Generator) -> None:
    """Submits tasks, waits for some, and sometimes leaves early."""
    async with scheduler.admit() as request:
        tasks = [(int(rng.integers(2)), name, k) for k in range(int(rng.integers(1, 8)))]
        futures = [request.submit(task) for task in tasks]
        stay = len(tasks) if rng.random() < 0.7 else int(rng.integers(len(tasks)))
        for task, future in list(zip(tasks, futures, strict=True))[:stay]:
            assert await future == str(task).upper()


# --- Workers ---


async def test_workers_run_at_the_same_time_and_never_more_than_there_are() -> None:
    engine = Engine()
    async with scheduling(engine, workers=3) as scheduler, scheduler.admit() as request:
        engine.gate.close()
        futures = [request.submit(n) for n in range(9)]
        await engine.gate.reached(3)
        assert len(engine.calls) == 3
        engine.gate.open()
        await done(*futures)
    assert engine.gate.most_inside == 3


async def test_a_second_request_uses_an_idle_worker_at_once() -> None:
    engine = Engine()
    async with scheduling(engine, workers=2) as scheduler, scheduler.admit() as one, scheduler.admit() as two:
        blocker = busy(engine, one)
        other = two.submit("other")
        await engine.gate.reached(2)
        engine.gate.open()
        assert await done(blocker, other) == ["FIRST", "OTHER"]


async def test_no_thread_is_left_after_close() -> None:
    engine = Engine()
    async with scheduling(engine, workers=4, name="short-lived") as scheduler, scheduler.admit() as request:
        await done(*(request.submit(n) for n in range(20)))
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("short-lived")]
    for thread in threads:  # they have been told to end
        thread.join(PATIENCE)
    assert engine.threads
    assert not any(thread.is_alive() for thread in threads)


async def test_close_waits_for_the_call_of_a_request_that_has_left() -> None:
    engine = Engine()
    scheduler: Work = Scheduler(engine.run)
    async with scheduler.admit() as request:
        busy(engine, request)
        await engine.gate.reached()
    closing = asyncio.create_task(scheduler.close())
    await settled()
    assert not closing.done()
    assert scheduler.busy
    engine.gate.open()
    await closing
    assert not scheduler.busy


# --- Leaving ---


async def test_leaving_forgets_what_has_not_started_and_lets_the_running_call_end() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler:
        async with scheduler.admit() as request:
            running = busy(engine, request)
            waiting = [request.submit(n) for n in range(5)]
            await engine.gate.reached()
        assert all(future.cancelled() for future in waiting)
        assert not running.done()
        engine.gate.open()
        assert await running == "FIRST"
        async with scheduler.admit() as other:
            assert await other.submit("next") == "NEXT"
    assert engine.order == ["first", "next"]


async def test_leaving_between_others_turns_does_not_disturb_them() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, scheduler.admit() as one, scheduler.admit() as three:
        blocker = busy(engine, one)
        async with scheduler.admit() as two:
            rest = [one.submit("1"), two.submit("2"), three.submit("3")]
        engine.gate.open()
        assert await done(blocker, rest[0], rest[2]) == ["FIRST", "1", "3"]
    assert engine.order == ["first", "1", "3"]


async def test_a_task_that_its_waiter_cancelled_is_not_run() -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=3) as scheduler, scheduler.admit() as request:
        blocker = busy(engine, request)
        dropped, kept = request.submit("dropped"), request.submit("kept")
        dropped.cancel()
        engine.gate.open()
        assert await done(blocker, kept) == ["FIRST", "KEPT"]
    assert engine.calls == [["first"], ["kept"]]


async def test_a_running_task_that_its_waiter_cancelled_does_not_stop_the_engine() -> None:
    engine = Engine()
    async with scheduling(engine) as scheduler, scheduler.admit() as request:
        running = busy(engine, request)
        await engine.gate.reached()
        running.cancel()
        after = request.submit("after")
        engine.gate.open()
        assert await after == "AFTER"


async def test_a_failure_after_its_request_has_left_is_nobodys_complaint(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    with caplog.at_level(logging.ERROR):
        async with scheduling(engine) as scheduler:
            async with scheduler.admit() as request:
                engine.gate.close()
                request.submit("bad")
                await engine.gate.reached()
            engine.gate.open()
        del request
        await settled()
    assert engine.calls == [["bad"]]
    assert "bad task" not in caplog.text


# --- Admission ---


async def test_a_request_beyond_the_concurrency_waits_for_a_place() -> None:
    async with scheduling(Engine(), concurrency=1) as scheduler:
        async with scheduler.admit():
            second = asyncio.create_task(_one_task(scheduler, "second"))
            await settled()
            assert scheduler.queued == 1
        assert await second == "SECOND"
        assert scheduler.queued == 0


async def test_places_are_given_in_the_order_of_asking() -> None:
    engine = Engine()
    async with scheduling(engine, concurrency=1) as scheduler:
        async with scheduler.admit():
            rest = [asyncio.create_task(_one_task(scheduler, n)) for n in range(6)]
            await settled()
        await done(*rest)
    assert engine.order == list(range(6))


async def test_a_full_queue_turns_requests_away_at_once_and_says_when_to_come_back() -> None:
    async with scheduling(Engine(), concurrency=1, queue_size=2) as scheduler:
        async with scheduler.admit():
            waiting = [asyncio.create_task(_one_task(scheduler, n)) for n in range(2)]
            await settled()
            with pytest.raises(TooBusy, match="2 requests for this model are waiting") as refused:
                await _one_task(scheduler, "late")
            assert refused.value.status == 429
            assert refused.value.retry_after and refused.value.retry_after > 0
        assert await done(*waiting) == ["0", "1"]
        assert await _one_task(scheduler, "later") == "LATER"


async def test_a_queue_of_no_places_admits_up_to_the_concurrency() -> None:
    async with scheduling(Engine(), concurrency=1, queue_size=0) as scheduler:
        async with scheduler.admit():
            with pytest.raises(TooBusy):
                await _one_task(scheduler, "second")
        assert await _one_task(scheduler, "third") == "THIRD"


async def test_who_gives_up_in_the_queue_lets_the_next_one_in() -> None:
    async with scheduling(Engine(), concurrency=1) as scheduler:
        async with scheduler.admit():
            gone = asyncio.create_task(_one_task(scheduler, "gone"))
            stays = asyncio.create_task(_one_task(scheduler, "stays"))
            await settled()
            gone.cancel()
            await asyncio.wait([gone])
            assert scheduler.queued == 1
        assert await stays == "STAYS"


async def test_who_is_cancelled_in_the_moment_of_getting_a_place_passes_it_on() -> None:
    async with scheduling(Engine(), concurrency=1) as scheduler:
        place = scheduler.admit()
        await place.__aenter__()
        gone = asyncio.create_task(_one_task(scheduler, "gone"))
        stays = asyncio.create_task(_one_task(scheduler, "stays"))
        await settled()
        await place.__aexit__(None, None, None)  # the place is gone's now, but gone has not run since
        gone.cancel()
        assert await stays == "STAYS"
        assert gone.cancelled()
        assert await _one_task(scheduler, "more") == "MORE"


async def test_who_gives_up_in_the_moment_before_a_place_is_free_does_not_lose_it() -> None:
    async with scheduling(Engine(), concurrency=1) as scheduler:
        place = scheduler.admit()
        await place.__aenter__()
        gone = asyncio.create_task(_one_task(scheduler, "gone"))
        stays = asyncio.create_task(_one_task(scheduler, "stays"))
        await settled()
        gone.cancel()
        await place.__aexit__(None, None, None)
        assert await stays == "STAYS"
        assert await _one_task(scheduler, "more") == "MORE"


async def test_places_come_back_whatever_happens_to_those_who_had_them() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        async with scheduling(Engine(), concurrency=2, queue_size=100) as scheduler:
            tasks = [asyncio.create_task(_one_task(scheduler, "bad" if n % 5 == 0 else n)) for n in range(30)]
            while not all(task.done() for task in tasks):
                if rng.random() < 0.5:
                    tasks[int(rng.integers(30))].cancel()
                await asyncio.sleep(0)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert scheduler.queued == 0
            both = await done(_one_task(scheduler, "a"), _one_task(scheduler, "b"))
            assert both == ["A", "B"]


async def _one_task(scheduler: Work, task: Any) -> Any:
    async with scheduler.admit() as request:
        return await request.submit(task)


# --- Time for a batch to fill ---


def asked_delays(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, asyncio.TimerHandle]]:
    """The timers that the loop is asked for, each with its delay; none runs off by itself."""
    loop = asyncio.get_running_loop()
    asked: list[tuple[float, asyncio.TimerHandle]] = []

    def call_later(delay: float, callback: Callable[..., object], *arguments: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(0.0, callback, arguments, loop, context)
        asked.append((delay, handle))
        return handle

    monkeypatch.setattr(loop, "call_later", call_later)
    return asked


async def test_a_lone_task_waits_for_the_delay_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=4, batch_delay=0.005) as scheduler, scheduler.admit() as request:
        asked = asked_delays(monkeypatch)
        future = request.submit("alone")
        await settled()
        assert engine.calls == []
        ((delay, timer),) = asked
        assert delay == 0.005
        timer._run()  # the time has come
        assert await future == "ALONE"
    assert engine.calls == [["alone"]]


async def test_what_comes_within_the_delay_shares_the_batch_and_starts_no_second_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()
    sharing = scheduling(engine, batch_size=4, batch_delay=0.005)
    async with sharing as scheduler, scheduler.admit() as one, scheduler.admit() as two:
        asked = asked_delays(monkeypatch)
        futures = [one.submit("a"), two.submit("b"), one.submit("c")]
        ((_, timer),) = asked
        timer._run()
        assert await done(*futures) == ["A", "B", "C"]
    assert engine.calls == [["a", "b", "c"]]


async def test_a_full_batch_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=2, batch_delay=3600) as scheduler, scheduler.admit() as request:
        asked = asked_delays(monkeypatch)
        assert await done(request.submit("a"), request.submit("b")) == ["A", "B"]
        assert [timer.cancelled() for _, timer in asked] == [True]
    assert engine.calls == [["a", "b"]]


async def test_after_a_batch_the_next_task_is_given_its_own_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=2, batch_delay=3600) as scheduler, scheduler.admit() as request:
        asked = asked_delays(monkeypatch)
        await done(request.submit("a"), request.submit("b"))
        future = request.submit("c")
        assert [timer.cancelled() for _, timer in asked] == [True, False]
        asked[-1][1]._run()
        assert await future == "C"


async def test_what_waits_while_a_call_runs_goes_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has waited long enough."""
    engine = Engine()
    async with scheduling(engine, batch_size=2, batch_delay=3600) as scheduler, scheduler.admit() as request:
        asked_delays(monkeypatch)
        engine.gate.close()
        first = [request.submit("a"), request.submit("b")]
        await engine.gate.reached()
        late = request.submit("late")
        engine.gate.open()
        assert await done(*first, late) == ["A", "B", "LATE"]


async def test_an_engine_that_takes_one_task_at_a_time_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scheduling(Engine(), batch_size=1, batch_delay=3600) as scheduler, scheduler.admit() as request:
        asked = asked_delays(monkeypatch)
        assert await request.submit("a") == "A"
        assert asked == []


async def test_who_leaves_before_the_batch_has_filled_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    async with scheduling(engine, batch_size=4, batch_delay=0.005) as scheduler, scheduler.admit() as stays:
        asked = asked_delays(monkeypatch)
        async with scheduler.admit() as leaves:
            gone, kept = leaves.submit("gone"), stays.submit("kept")
        asked[0][1]._run()
        assert await kept == "KEPT"
        assert gone.cancelled()
    assert engine.calls == [["kept"]]


async def test_closing_while_a_batch_could_fill_lets_no_timer_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    scheduler: Work = Scheduler(engine.run, batch_size=4, batch_delay=0.005)
    asked = asked_delays(monkeypatch)
    async with scheduler.admit() as request:
        waiting = request.submit("waiting")
    await scheduler.close()
    assert waiting.cancelled()
    assert [timer.cancelled() for _, timer in asked] == [True]
    assert engine.calls == []
