"""Sentences are spoken while the LLM writes the next ones."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from speaches.chat import speaking as chat_speaking
from speaches.chat.answers import Delta, ToolCall
from speaches.chat.speaking import SPOKEN_AHEAD, STALL, spoken_answer
from speaches.concurrency import Threads
from speaches.engines.base import Piece, Task, Utterance
from speaches.errors import BadGateway
from speaches.models.catalogue import Model
from speaches.models.pool import Loaded
from speaches.scheduling import Scheduler
from speaches.speech.speak import RUN_AHEAD, SpeakOptions, Spoken, speak
from tests.chat.llm import written
from tests.fakes import FakeVoice

MODEL = Model("tests/voice", Task.TTS, "fake", None, created=0, owned_by="tests")
FIRST, SECOND = "The first sentence is here.", "The second sentence follows it."


@asynccontextmanager
async def speaking(engine: FakeVoice) -> AsyncIterator[Callable[[Any], AsyncGenerator[Spoken]]]:
    """A voice for `spoken_answer`."""
    threads = Threads(2, "codecs")

    def run(pieces: Sequence[Piece]) -> list[Utterance]:
        return [engine.synthesize(piece) for piece in pieces]

    scheduler: Scheduler[Piece, Utterance] = Scheduler(run)
    options = SpeakOptions(engine.voices()[0], timed=True)
    try:
        yield functools.partial(speak, options=options, model=Loaded(MODEL, engine, scheduler), threads=threads)
    finally:
        await scheduler.close()
        threads.close()


class Writer:
    """An LLM that writes what it is given, and waits at gates."""

    def __init__(self, *steps: str | Delta | asyncio.Event | BaseException) -> None:
        self._steps = steps
        self.written = 0
        """Steps that were done."""
        self.closed = False

    async def deltas(self) -> AsyncGenerator[Delta]:
        try:
            for step in self._steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    yield step if isinstance(step, Delta) else Delta(step)
                self.written += 1
        finally:
            self.closed = True


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the others run until it is so; the test's own time limit ends it."""
    while not is_so():
        await settled()


def said(items: Sequence[Delta | Spoken]) -> list[str]:
    """What happened, in order: 'text ' for a delta, <text> for speech."""
    return [one.text if isinstance(one, Delta) else f"<{one.text}>" for one in items if one.text]


async def test_a_sentence_is_spoken_before_the_next_one_is_written() -> None:
    gate = asyncio.Event()
    llm, engine = (
        Writer(f"{FIRST} ", "The second", gate, " sentence follows it.", Delta(finish_reason="stop")),
        FakeVoice(),
    )
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        items = [await anext(answer) for _ in range(3)]
        assert sorted(said(items)) == sorted([f"{FIRST} ", "The second", f"<{FIRST}>"])
        assert not gate.is_set()
        gate.set()
        items += [one async for one in answer]
    assert said(items)[-1] == f"<{SECOND}>"
    assert "".join(one.text for one in items if isinstance(one, Delta)) == f"{FIRST} {SECOND}"
    assert llm.closed


async def test_the_text_does_not_wait_for_its_speech() -> None:
    llm, engine = Writer(f"{FIRST} ", f"{SECOND} ", "And more."), FakeVoice()
    engine.gate.close()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        assert [(await anext(answer)).text for _ in range(3)] == [f"{FIRST} ", f"{SECOND} ", "And more."]
        engine.gate.open()
        assert said([one async for one in answer]) == [f"<{FIRST}>", f"<{SECOND}>", "<And more.>"]


async def test_the_last_sentence_is_spoken_when_the_llm_has_finished_and_not_when_it_has_hung_up() -> None:
    gate = asyncio.Event()
    llm, engine = Writer("Good bye", Delta(finish_reason="stop"), gate, Delta(usage={"total_tokens": 9})), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        items = [await anext(answer) for _ in range(3)]
        assert isinstance(items[2], Spoken) and items[2].text == "Good bye"
        gate.set()
        rest = [one async for one in answer]
    assert [one.usage for one in rest if isinstance(one, Delta)] == [{"total_tokens": 9}]


async def test_calls_and_thoughts_pass_by_unspoken() -> None:
    call = Delta(tool_calls=(ToolCall(0, "call_1", "f", "{}"),), finish_reason="tool_calls")
    llm, engine = Writer(Delta(reasoning="Let me think about it."), call), FakeVoice()
    async with speaking(engine) as voice:
        items = [one async for one in spoken_answer(llm.deltas(), voice)]
    assert items == [Delta(reasoning="Let me think about it."), call]
    assert engine.pieces == []


async def test_an_answer_of_nothing_takes_no_place_in_the_engine() -> None:
    engine = FakeVoice()
    async with speaking(engine) as voice:
        assert [one async for one in spoken_answer(Writer().deltas(), voice)] == []
    assert engine.pieces == []


async def test_what_the_llm_trips_over_comes_after_what_it_has_written() -> None:
    llm, engine = Writer("Hello", BadGateway("broken off")), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        assert (await anext(answer)).text == "Hello"
        with pytest.raises(BadGateway, match="broken off"):
            await anext(answer)
    assert llm.closed


async def test_an_llm_whose_answer_is_cancelled_by_nobody_here_fails() -> None:
    llm, engine = Writer("Hello", asyncio.CancelledError()), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        assert (await anext(answer)).text == "Hello"
        with pytest.raises(RuntimeError, match="cancelled"):
            await anext(answer)
    assert llm.closed


async def test_sentences_that_were_whole_when_the_llm_died_are_spoken_before() -> None:
    llm, engine = Writer(f"{FIRST} ", SECOND, BadGateway("broken off")), FakeVoice()
    items = []
    async with speaking(engine) as voice:
        with pytest.raises(BadGateway, match="broken off"):
            async for one in spoken_answer(llm.deltas(), voice):
                items.append(one)
    assert [one.text for one in items if isinstance(one, Spoken) and one.text] == [FIRST, SECOND]


async def test_a_sentence_does_not_wait_for_the_next_one_where_the_llm_stalls() -> None:
    gate = asyncio.Event()
    llm, engine = Writer(FIRST, gate, f" {SECOND}", " It", gate), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        assert said([await anext(answer), await anext(answer)]) == [FIRST, f"<{FIRST}>"]
        gate.set()
        assert said([one async for one in answer])[-2:] == [f"<{SECOND}>", "<It>"]


async def test_an_llm_that_is_always_slow_does_not_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_speaking, "UNUSUAL", 100)  # seconds that a busy machine may be late

    async def slow() -> AsyncGenerator[Delta]:
        for word in ("The address ", "is ", "example.", "com."):
            yield Delta(word)
            await asyncio.sleep(STALL * 1.2)

    async with speaking(FakeVoice()) as voice:
        items = [one async for one in spoken_answer(slow(), voice)]
    assert [one.text for one in items if isinstance(one, Spoken) and one.text] == ["The address is example.com."]


async def test_what_the_voice_trips_over_stops_the_llm() -> None:
    llm, engine = Writer(f"{FIRST} ", "More", asyncio.Event()), FakeVoice()
    engine.error = RuntimeError("no voice")
    async with speaking(engine) as voice:
        with pytest.raises(RuntimeError, match="no voice"):
            async for _ in spoken_answer(llm.deltas(), voice):
                pass
    assert llm.closed


async def test_leaving_stops_the_llm_and_forgets_what_is_not_spoken() -> None:
    llm, engine = Writer(*[f"{FIRST} "] * 20, asyncio.Event()), FakeVoice()
    engine.gate.close()
    async with speaking(engine) as voice:
        answer = spoken_answer(llm.deltas(), voice)
        await anext(answer)
        await engine.gate.reached()
        await answer.aclose()
        assert llm.closed
        engine.gate.open()
    assert len(engine.pieces) == 1


async def test_leaving_at_once_is_no_trouble() -> None:
    llm, engine = Writer(FIRST), FakeVoice()
    async with speaking(engine) as voice:
        first = asyncio.ensure_future(anext(spoken_answer(llm.deltas(), voice)))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert engine.pieces == []


async def test_a_reader_that_is_busy_playing_finds_the_next_sentences_ready() -> None:
    llm, engine = Writer(*written(f"{FIRST} " * 20)), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        while isinstance(await anext(answer), Delta):
            pass
        await engine.gate.reached(1 + SPOKEN_AHEAD)
        await until(lambda: llm.closed)
        await settled()
        assert len(engine.pieces) <= 1 + SPOKEN_AHEAD + RUN_AHEAD + 1, "there is no need to speak it all"


async def test_a_reader_that_does_not_read_stops_the_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_speaking, "READ_AHEAD", 30)
    llm, engine = Writer(*written(f"{FIRST} " * 20)), FakeVoice()
    async with speaking(engine) as voice, aclosing(spoken_answer(llm.deltas(), voice)) as answer:
        await anext(answer)
        await until(lambda: llm.written >= 28)
        await settled()
        assert llm.written <= 33


async def test_an_answer_without_end_is_given_up() -> None:
    llm, engine = Writer(*["word "] * 1000), FakeVoice()
    async with speaking(engine) as voice:
        with pytest.raises(BadGateway, match="longer than 100 characters"):
            async for _ in spoken_answer(llm.deltas(), voice, longest=100):
                pass
    assert llm.closed and llm.written < 100
