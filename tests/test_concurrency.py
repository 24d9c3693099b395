from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager

import pytest

from speaches.concurrency import NICENESS, Threads, race, together, tripped_over, wait_even_if_cancelled
from tests.fakes import Gate


@asynccontextmanager
async def threads(size: int = 2) -> AsyncIterator[Threads]:
    pool = Threads(size, "tested")
    try:
        yield pool
    finally:
        pool.close()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
async def test_threads_that_compute_and_what_they_start_leave_the_event_loop_the_first_place() -> None:
    async with threads(size=1) as pool:
        lower = max(niceness(), NICENESS)
        assert await pool.run(niceness) == lower
        child: list[int] = []

        def start_a_thread() -> None:
            thread = threading.Thread(target=lambda: child.append(niceness()))
            thread.start()
            thread.join()

        await pool.run(start_a_thread)
        assert child == [lower]


def niceness() -> int:
    """Of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, 0)


class Counting:
    """A blocking generator of numbers that goes through a gate for each, and tells when it is closed."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.made = 0
        self.closed = False

    def numbers(self, end: int = 1000) -> Generator[int, None, None]:
        try:
            for number in range(end):
                with self.gate:
                    self.made += 1
                yield number
        finally:
            self.closed = True


# --- Threads ---


async def test_a_call_runs_in_a_thread_of_the_pool_and_gives_its_result() -> None:
    async with threads() as pool:
        name = await pool.run(lambda suffix: threading.current_thread().name + suffix, "!")
        assert name.startswith("tested")
        assert name.endswith("!")


async def test_what_a_call_raises_is_raised_where_it_was_awaited() -> None:
    async with threads() as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)


async def test_what_is_to_be_put_away_when_the_server_ends_is_put_away() -> None:
    async with threads() as pool:
        pass
    assert await pool.run(str.upper, "closed") == "CLOSED"


async def test_a_cancelled_caller_waits_for_its_call_to_end() -> None:
    gate = Gate()
    gate.close()

    def call() -> str:
        with gate:
            return "done"

    async with threads() as pool:
        caller = asyncio.create_task(pool.run(call))
        await gate.reached()
        for _ in range(3):
            caller.cancel()
            await settled()
        assert not caller.done()
        gate.open()
        await asyncio.wait([caller])
        assert caller.cancelled()
        assert gate.inside == 0


async def test_a_generator_is_iterated_to_its_end() -> None:
    async with threads() as pool:
        source = Counting()
        assert [number async for number in pool.iterate(source.numbers(5))] == [0, 1, 2, 3, 4]
        assert source.closed


async def test_a_slow_reader_slows_the_generator_down() -> None:
    async with threads() as pool:
        source = Counting()
        async with aclosing(pool.iterate(source.numbers())) as numbers:
            await anext(numbers)
            await settled()
            assert source.made == 1
            await anext(numbers)
            assert source.made == 2


async def test_leaving_early_closes_the_generator() -> None:
    async with threads() as pool:
        source = Counting()
        async with aclosing(pool.iterate(source.numbers())) as numbers:
            assert await anext(numbers) == 0
        assert source.closed


async def test_a_failing_generator_fails_its_reader() -> None:
    def numbers() -> Generator[int, None, None]:
        yield 1
        raise ValueError("no more")

    async with threads() as pool, aclosing(pool.iterate(numbers())) as items:
        assert await anext(items) == 1
        with pytest.raises(ValueError, match="no more"):
            await anext(items)


async def test_a_cancelled_reader_closes_the_generator_when_its_step_has_ended() -> None:
    source = Counting()

    async with threads() as pool:

        async def read() -> None:
            async with aclosing(pool.iterate(source.numbers())) as numbers:
                async for _ in numbers:
                    source.gate.close()

        reader = asyncio.create_task(read())
        await source.gate.reached(2)
        reader.cancel()
        await settled()
        assert not source.closed
        source.gate.open()
        await asyncio.wait([reader])
        assert reader.cancelled()
        assert source.closed


async def test_an_error_of_a_call_whose_caller_was_cancelled_is_seen() -> None:
    call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiter = asyncio.create_task(wait_even_if_cancelled(call))
    await settled()
    waiter.cancel()
    await settled()
    assert not waiter.done()
    call.set_exception(ValueError("late"))
    await asyncio.wait([waiter])
    assert waiter.cancelled()


# --- Races ---


async def test_the_work_wins_when_it_is_done_first() -> None:
    rival = asyncio.ensure_future(asyncio.Event().wait())

    async def work() -> str:
        return "done"

    assert await race(work(), rival) == "done"
    assert rival.cancelled()


async def test_the_work_wins_when_both_are_done() -> None:
    async def work(answer: str) -> str:
        return answer

    assert await race(work("mine"), work("other")) == "mine"


async def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await race(work(), asyncio.Event().wait())


async def test_work_that_loses_has_ended_when_the_race_is_over() -> None:
    ended = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await settled()  # it takes its time to clean up
            ended.append("work")
        return "never"

    async def other() -> None:
        await settled()

    assert await race(work(), other()) is None
    assert ended == ["work"]


async def test_a_cancelled_race_ends_both() -> None:
    ended = []

    async def runner(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    whole = asyncio.create_task(race(runner("work"), runner("other")))
    await settled()
    whole.cancel()
    await asyncio.wait([whole])
    assert whole.cancelled()
    assert sorted(ended) == ["other", "work"]


async def test_a_cancellation_while_the_loser_cleans_up_is_not_lost() -> None:
    may_end = asyncio.Event()

    async def work() -> str:
        return "done"

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    whole = asyncio.create_task(race(work(), stubborn()))
    await settled()
    whole.cancel()
    await settled()
    assert not whole.done()
    may_end.set()
    await asyncio.wait([whole])
    assert whole.cancelled()


# --- tripped_over ---


async def test_a_cancellation_of_the_task_goes_on_and_one_that_leaks_is_told() -> None:
    told: list[Exception] = []

    async def work(waited_for: asyncio.Future[None]) -> None:
        try:
            await waited_for
        except (Exception, asyncio.CancelledError) as error:
            told.append(tripped_over(error))

    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    failing, leaking, cancelled = (asyncio.create_task(work(future), name="reading") for future in futures)
    await settled()
    futures[0].set_exception(ValueError("broken"))
    futures[1].cancel()
    cancelled.cancel()
    await asyncio.wait([failing, leaking, cancelled])
    assert cancelled.cancelled() and not leaking.cancelled()
    assert [str(error) for error in told] == ["broken", "What reading waited for was cancelled, and not by its reader."]


# --- together ---


async def test_all_results_come_in_order() -> None:
    gate = asyncio.Event()

    async def first() -> int:
        await gate.wait()
        return 1

    async def second() -> int:
        gate.set()
        return 2

    assert await together([first(), second()]) == [1, 2]
    assert await together([]) == []


@pytest.mark.parametrize("how", ["failure", "cancellation"])
async def test_when_one_fails_or_all_are_left_the_others_have_ended(how: str) -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def patient() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await settled()
            ended.append("patient")

    async def hasty() -> None:
        await (asyncio.Event() if how == "cancellation" else started).wait()
        raise ValueError("broken")

    whole = asyncio.create_task(together([patient(), hasty()]))
    await started.wait()
    if how == "cancellation":
        whole.cancel()
    (outcome,) = await asyncio.gather(whole, return_exceptions=True)
    assert isinstance(outcome, ValueError if how == "failure" else asyncio.CancelledError)
    assert ended == ["patient"]
