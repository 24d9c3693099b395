"""What is played of the answers, in which order, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from speaches.realtime.playback import AHEAD, Playback
from tests.fakes import PATIENCE

if TYPE_CHECKING:
    from speaches.engines.base import Samples


def spoken(count: int, level: float = 0.5) -> Samples:
    return np.full(count, level, np.float32)


async def test_there_is_silence_where_there_is_nothing_to_say() -> None:
    assert not Playback().take(480).any()


async def test_speech_is_played_in_the_frames_that_the_track_takes() -> None:
    playback = Playback()
    playback.add("a", spoken(700))
    playback.add("a", spoken(300))
    frames = [playback.take(480) for _ in range(3)]
    assert [int(np.count_nonzero(frame)) for frame in frames] == [480, 480, 40]
    assert frames[2][:40].all()


async def test_an_answer_has_ended_when_it_is_whole_and_played() -> None:
    playback = Playback()
    playback.add("a", spoken(480))
    playback.take(480)
    ended = asyncio.ensure_future(playback.ended())
    await asyncio.sleep(0)
    assert not ended.done()
    playback.finish("a")
    assert await ended == ("a", 480)


async def test_an_answer_that_is_whole_is_played_to_its_end() -> None:
    playback = Playback()
    playback.add("a", spoken(500))
    playback.finish("a")
    playback.take(480)
    playback.take(480)
    assert await playback.ended() == ("a", 500)


async def test_what_is_thrown_away_is_not_heard_and_told_as_far_as_it_was() -> None:
    playback = Playback()
    playback.add("a", spoken(5000))
    playback.take(480)
    playback.clear("a")
    assert not playback.take(480).any()
    assert await playback.ended() == ("a", 480)


async def test_of_an_answer_that_was_thrown_away_nothing_more_is_taken() -> None:
    playback = Playback()
    playback.add("a", spoken(480))
    playback.clear("a")
    assert not playback.add("a", spoken(480))
    playback.finish("a")
    assert not playback.take(480).any()


async def test_answers_follow_one_another_without_a_gap() -> None:
    playback = Playback()
    playback.add("a", spoken(100, 0.1))
    playback.add("b", spoken(100, 0.2))
    playback.finish("a")
    heard = playback.take(480)
    assert heard[:100] == pytest.approx(0.1)
    assert heard[100:200] == pytest.approx(0.2)
    assert not heard[200:].any()


async def test_an_answer_waits_until_the_one_before_it_is_over() -> None:
    playback = Playback()
    playback.add("a", spoken(100, 0.1))
    playback.add("b", spoken(100, 0.2))
    assert not playback.take(480)[100:].any()
    playback.add("a", spoken(100, 0.1))
    playback.finish("a")
    heard = playback.take(480)
    assert heard[:100] == pytest.approx(0.1)
    assert heard[100:200] == pytest.approx(0.2)


async def test_synthesis_waits_while_much_is_waiting_to_be_played() -> None:
    playback = Playback()
    playback.add("a", spoken(AHEAD))
    waiting = asyncio.ensure_future(playback.room("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    playback.take(480)
    await waiting


async def test_an_answer_that_waits_for_another_does_not_take_its_room() -> None:
    playback = Playback()
    playback.add("a", spoken(100))
    playback.add("b", spoken(AHEAD))
    await asyncio.wait_for(playback.room("a"), PATIENCE)


async def test_who_waits_for_room_in_an_answer_that_is_thrown_away_goes_on() -> None:
    playback = Playback()
    playback.add("a", spoken(AHEAD))
    waiting = asyncio.ensure_future(playback.room("a"))
    await asyncio.sleep(0)
    playback.clear("a")
    await asyncio.wait_for(waiting, PATIENCE)


async def test_an_answer_without_speech_is_no_news() -> None:
    playback = Playback()
    playback.finish("a")
    playback.clear("a")
    playback.add("b", spoken(1))
    playback.finish("b")
    playback.take(1)
    assert await playback.ended() == ("b", 1)
