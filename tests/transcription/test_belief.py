"""What is believed of what a recogniser wrote, what the next window is told of it, and what is left when something goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from speaches.audio.decode import AudioFile
from speaches.engines.base import SAMPLE_RATE, Hypothesis, Segment, Window
from speaches.transcription.hearing import CONTEXT_CHARS, RUN_AHEAD, TOO_WARM
from speaches.transcription.phantoms import MOST_REPEATS
from speaches.transcription.transcribe import Outcome
from tests.fakes import PATIENCE, FakeActivity, FakeRecogniser
from tests.recordings import tone, wav
from tests.transcription.hearing import Ears, ears, text_of
from tests.transcription.test_languages_of_a_recording import part_of, parts


@dataclass
class Scripted(FakeRecogniser):
    """Writes for each part of a recording what a test made up."""

    writes: Callable[[int], Segment] = lambda part: said(f"w{part}")
    probability: float = 1.0
    """How sure it is of the language."""
    fails_at: int = 0

    def _hypothesis(self, window: Window) -> Hypothesis:
        part = part_of(window)
        if part == self.fails_at:
            raise RuntimeError("out of memory")
        return Hypothesis((self.writes(part),), window.options.language or "en", self.probability)


def said(text: str, **marks: float) -> Segment:
    return Segment(f" {text}" if text else "", 0.0, 13.0, **marks)  # type: ignore[arg-type]


async def prompts(engine: Scripted, count: int = 4, **options: Any) -> list[str | None]:
    """What each window was told of the one before."""
    async with ears(engine, FakeActivity()) as listener:
        await listener.hear(parts(count), **{"condition_on_previous_text": True, **options})
    return [options.prompt for options in engine.asked]


# --- What was said before ---


@pytest.mark.parametrize("language", ["en", None])
async def test_each_window_is_told_what_was_said_before(language: str | None) -> None:
    assert await prompts(Scripted(), language=language) == [None, "w1", "w2", "w3"]
    assert await prompts(Scripted(), language=language, prompt="Names.") == [
        "Names.", "Names. w1", "Names. w2", "Names. w3",
    ]  # fmt: skip


async def test_a_window_that_settles_the_language_late_is_told_to_the_next_one() -> None:
    assert (await prompts(Scripted(probability=0.1), count=6))[4:] == ["w4", "w5"]


async def test_no_window_is_told_anything_unless_it_is_asked_for() -> None:
    assert await prompts(Scripted(), condition_on_previous_text=False, language="en") == [None] * 4


@pytest.mark.parametrize("language", ["en", None])
async def test_each_window_waits_for_the_one_before(language: str | None) -> None:
    engine = Scripted(workers=4, batch_size=4)
    assert await prompts(engine, language=language) == [None, "w1", "w2", "w3"]
    assert (engine.gate.most_inside, [len(call) for call in engine.calls]) == (1, [1, 1, 1, 1])


@pytest.mark.parametrize(
    ("what", "segment"),
    [
        ("warm", said("w2", temperature=TOO_WARM + 0.1)),
        ("empty", said("")),
        ("the same again", said("w1")),
        ("made up", said("Thanks for watching!", no_speech_prob=0.7)),
    ],
)
async def test_what_can_not_be_trusted_is_told_to_nobody(what: str, segment: Segment) -> None:
    engine = Scripted(writes=lambda part: segment if part == 2 else said(f"w{part}"))
    assert await prompts(engine, language="en") == [None, "w1", None, "w3"], what


async def test_a_loop_is_not_fed() -> None:
    engine = Scripted(writes=lambda part: said("and so on"))
    assert (await prompts(engine, count=6, language="en"))[2:] == [None] * 4


async def test_what_is_told_is_bounded() -> None:
    engine = Scripted(writes=lambda part: said(f"{part} " + "word " * 2000))
    told = await prompts(engine, language="en", prompt="name " * 500)
    assert all(len(text or "") <= CONTEXT_CHARS for text in told[1:])
    assert all((text or "").endswith("word") for text in told[1:])


# --- What is made up ---


async def test_a_phantom_is_dropped_and_counted_where_there_is_little_sign_of_speech() -> None:
    marks = {1: 0.7, 2: 0.01, 3: 0.7}
    engine = Scripted(writes=lambda part: said("Thank you.", no_speech_prob=marks[part]))
    async with ears(engine, FakeActivity()) as listener:
        segments, outcome = await listener.hear(parts(3), language="en")
    assert [segment.no_speech_prob for segment in segments] == [0.01]
    assert outcome.phantoms == 2


async def test_a_recording_of_phantoms_is_empty() -> None:
    engine = Scripted(writes=lambda part: said("Thanks for watching!", no_speech_prob=0.5))
    async with ears(engine, FakeActivity()) as listener:
        segments, outcome = await listener.hear(parts(3))
    assert (segments, outcome.phantoms, outcome.language) == ([], 3, "en")


async def test_a_loop_is_cut_and_what_comes_after_it_is_heard() -> None:
    engine = Scripted(writes=lambda part: said("and so on" if part < 8 else "the end of it"))
    async with ears(engine, FakeActivity()) as listener:
        segments, outcome = await listener.hear(parts(8), language="en")
    assert text_of(segments) == " ".join(["and so on"] * (MOST_REPEATS + 1) + ["the end of it"])
    assert outcome.phantoms == 7 - (MOST_REPEATS + 1)


# --- Failures in mid-file ---

WAYS: list[dict[str, Any]] = [
    {"language": "en"},
    {},
    {"condition_on_previous_text": True},
    {"condition_on_previous_text": True, "language": "en"},
    {"vad_filter": False, "language": "en"},
]


async def until_it_fails(listener: Ears, file: Any, **options: Any) -> tuple[list[str], str]:
    """The texts that came, and the error."""
    texts = []
    with pytest.raises((RuntimeError, OSError)) as failed:
        async for segment in listener.segments(file, Outcome(), **options):
            texts.append(segment.text.strip())
    return texts, str(failed.value)


@pytest.mark.parametrize("probability", [1.0, 0.1])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("way", WAYS[:4])
async def test_what_was_heard_before_an_engine_failed_comes_first(
    way: dict[str, Any], workers: int, probability: float
) -> None:
    engine = Scripted(fails_at=3, workers=workers, probability=probability)
    async with ears(engine, FakeActivity()) as listener:
        assert await until_it_fails(listener, parts(5), **way) == (["w1", "w2"], "out of memory")
        assert tasks() == set()


class Broken(io.BytesIO):
    """A file whose end can't be read."""

    def __init__(self, data: bytes, readable: int) -> None:
        super().__init__(data)
        self._readable = readable

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > self._readable:
            raise OSError("the disk is gone")
        return super().read(size)


@pytest.mark.parametrize("probability", [1.0, 0.1])
@pytest.mark.parametrize("way", WAYS[:4])
async def test_what_was_heard_before_a_file_broke_comes_first(way: dict[str, Any], probability: float) -> None:
    file = Broken(wav(parts(5)), readable=50 * 2 * SAMPLE_RATE)
    async with ears(Scripted(probability=probability), FakeActivity()) as listener:
        texts, error = await until_it_fails(listener, file, **way)
        assert tasks() == set()
    assert (texts[:2], error) == (["w1", "w2"], "the disk is gone")


# --- Leaving ---


def tasks() -> set[Any]:
    """Those beside the test's own, which `conftest.py` waits for in a task of its own."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in others if getattr(task.get_coro(), "__name__", "") != "wait_for"}


def pending() -> set[asyncio.Future[Any]]:
    """Futures that nobody has answered."""
    gc.collect()
    return {one for one in gc.get_objects() if isinstance(one, asyncio.Future) and not one.done()}


@pytest.fixture
def open_files(monkeypatch: pytest.MonkeyPatch) -> list[AudioFile]:
    """The recordings that are open."""
    files: list[AudioFile] = []

    class Watched(AudioFile):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            files.append(self)

        def close(self) -> None:
            super().close()
            files.remove(self)

    monkeypatch.setattr("speaches.audio.decode.AudioFile", Watched)
    return files


class Stalled(io.BytesIO):
    """A file whose reader comes to a stop after its first half, until a test lets it go on."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(self.getbuffer()) // 2:
            self.reached.set()
            assert self.go_on.wait(PATIENCE)
        return super().read(size)


@pytest.mark.parametrize("windows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("way", WAYS)
async def test_leaving_while_any_window_is_heard_leaves_nothing(
    way: dict[str, Any], windows: int, open_files: list[AudioFile]
) -> None:
    engine = Scripted(probability=0.1, writes=lambda part: said(f"w{part}"))
    async with ears(engine, FakeActivity()) as listener:
        await listener.hear(tone(440, 1, level=0.9))  # so that there are threads
        nothing = pending()
        engine.calls.clear()
        while not engine.gate._arrivals.acquire(blocking=False):
            pass
        reader = asyncio.create_task(listener.hear(parts(8), **way))
        for _ in range(windows):
            engine.gate.close()
            await engine.gate.reached()
            if len(engine.calls) < windows:
                engine.gate.open()
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        assert (tasks(), open_files) == (set(), [])
        engine.gate.open()
        await until_idle(listener)
        calls = len(engine.calls)
        del reader
        assert pending() <= nothing
        segments, _ = await listener.hear(tone(440, 1, level=0.9))
        assert (len(segments), len(engine.calls)) == (1, calls + 1)
    await joined()


async def until_idle(listener: Ears) -> None:
    assert listener.recogniser.scheduler is not None
    if listener.recogniser.scheduler.busy:
        await asyncio.wait(listener.recogniser.scheduler._running)


async def joined() -> None:
    """The threads were told to end."""
    for thread in threading.enumerate():
        if thread.name.startswith(("hearing", "files")):
            await asyncio.to_thread(thread.join, PATIENCE)
    assert sum(thread.name.startswith(("hearing", "files")) for thread in threading.enumerate()) == 0


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_after_a_segment_leaves_nothing(way: dict[str, Any], open_files: list[AudioFile]) -> None:
    """The feeding then waits for its queue to be read."""
    engine = Scripted(workers=2)
    async with ears(engine, FakeActivity()) as listener:
        for count in (1, 2, 3):
            segments = listener.segments(parts(9), Outcome(), **way)
            for _ in range(count):
                await anext(segments)
            await segments.aclose()
            assert (tasks(), open_files) == (set(), [])
            await until_idle(listener)
        assert len(engine.calls) < 3 * (engine.workers + RUN_AHEAD + 6)


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_while_the_file_is_read_leaves_nothing(way: dict[str, Any], open_files: list[AudioFile]) -> None:
    file = Stalled(wav(parts(4)))
    async with ears(Scripted(), FakeActivity()) as listener:
        reader = asyncio.create_task(listener.hear(file, **way))
        assert await asyncio.to_thread(file.reached.wait, PATIENCE)
        reader.cancel()
        await asyncio.sleep(0)
        assert not reader.done()  # the thread still reads
        file.go_on.set()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        assert (tasks(), open_files, file.closed) == (set(), [], False)
        segments, _ = await listener.hear(tone(440, 1, level=0.9))
        assert len(segments) == 1
