"""Transcription with engines that obey: what is heard when, what is held, and what happens when somebody leaves."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
import pytest

from speaches.audio import decode
from speaches.engines.base import SAMPLE_RATE, WINDOW_SAMPLES, DecodeOptions, Segment, Window
from speaches.errors import InvalidRequest, SpeachesError, TooLarge, UnsupportedAudio
from speaches.models.pool import Loaded
from speaches.transcription.activity import ActivityOptions
from speaches.transcription.hearing import RUN_AHEAD
from speaches.transcription.transcribe import Outcome, check
from tests.fakes import PATIENCE, FakeActivity, FakeRecogniser, Gate
from tests.recordings import noise, recording, silence, tone, wav
from tests.transcription.hearing import MODEL, Ears, ears, text_of


def talk(seconds: float) -> Any:
    """What FakeActivity takes for speech."""
    return tone(440, seconds)


def numbering() -> Callable[[Window], str]:
    numbers = iter(range(1000))
    return lambda window: f"w{next(numbers)}"


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Counted(io.BytesIO):
    """A file that knows how far it has been read."""

    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.furthest = max(self.furthest, self.tell())
        return data


# --- Segments ---


async def test_segments_come_in_order_whichever_worker_is_first() -> None:
    third = threading.Event()

    def says(window: Window) -> str:
        level = f"{np.abs(window.samples).max():.1f}"
        if level == "0.3":
            third.set()
        if level == "0.1":
            assert third.wait(PATIENCE)  # the first window is ready last
        return level

    parts = [tone(440, 13.8, level=0.1 * n) for n in range(1, 9)]
    async with ears(FakeRecogniser(says=says, workers=3), FakeActivity()) as listener:
        segments, outcome = await listener.hear(recording(*parts, pause=1.0), language="en")
    assert text_of(segments).split() == [f"0.{n}" for n in range(1, 9)]
    assert [segment.start for segment in segments] == sorted(segment.start for segment in segments)
    assert outcome.duration == pytest.approx(8 * 14.8 + 1, abs=0.01)


async def test_times_are_those_of_the_recording() -> None:
    async with ears(FakeRecogniser(), FakeActivity()) as listener:
        segments, _ = await listener.hear(
            np.concatenate([silence(10), talk(2), silence(20)]),
            activity=ActivityOptions(speech_pad_ms=0),
            language="en",
        )
    (segment,) = segments
    assert segment.start == pytest.approx(10.0, abs=0.04)
    assert segment.end == pytest.approx(12.0, abs=0.04)


@pytest.mark.parametrize("seconds", [0.1, 1, 29.9, 30.0, 30.1, 61.3, 100])
@pytest.mark.parametrize("vad_filter", [True, False])
async def test_every_sample_of_speech_is_heard_exactly_once(vad_filter: bool, seconds: float) -> None:
    sound = (noise(seconds) + 0.1 * np.sign(noise(seconds, seed=1))).clip(-0.99, 0.99).astype(np.float32)
    engine = FakeRecogniser()
    async with ears(engine, FakeActivity()) as listener:
        _, outcome = await listener.hear(sound, vad_filter=vad_filter, language="en")
    heard = np.concatenate([window.samples for window in engine.heard])
    assert len(heard) == len(sound)
    assert np.abs(heard - sound).max() < 0.001
    assert all(0 < len(window.samples) <= WINDOW_SAMPLES for window in engine.heard)
    assert outcome.duration == outcome.speech_seconds == pytest.approx(seconds, abs=0.001)


async def test_pauses_are_left_out_unless_the_filter_is_off() -> None:
    sound = recording(talk(5), talk(5), pause=10)
    for vad_filter, seconds in ((True, 10 + 4 * 0.4), (False, 40)):
        engine = FakeRecogniser()
        async with ears(engine, FakeActivity()) as listener:
            _, outcome = await listener.hear(sound, vad_filter=vad_filter, language="en")
        assert sum(len(window.samples) for window in engine.heard) / SAMPLE_RATE == pytest.approx(seconds, abs=0.2)
        assert outcome.speech_seconds == pytest.approx(seconds, abs=0.2)
        assert outcome.duration == pytest.approx(40, abs=0.001)


async def test_a_recording_without_speech_is_not_heard_at_all() -> None:
    engine = FakeRecogniser()
    async with ears(engine, FakeActivity()) as listener:
        segments, outcome = await listener.hear(silence(100))
    assert segments == []
    assert engine.calls == []
    assert (outcome.duration, outcome.speech_seconds) == (100.0, 0.0)


# --- Language ---


async def test_the_first_window_tells_the_language_of_the_rest() -> None:
    engine = FakeRecogniser(language="de")
    async with ears(engine, FakeActivity()) as listener:
        _, outcome = await listener.hear(talk(100))
    first, *others = [(options.language, options.likely) for options in engine.asked]
    assert (first, set(others)) == ((None, None), {(None, "de")})
    assert outcome.language == "de"


async def test_a_language_that_is_asked_for_holds_for_all() -> None:
    engine = FakeRecogniser(language="de")
    async with ears(engine, FakeActivity()) as listener:
        _, outcome = await listener.hear(talk(65), language="fr")
    assert {options.language for options in engine.asked} == {"fr"}
    assert outcome.language == "fr"


def test_what_a_model_can_not_do_is_a_400() -> None:
    english = Loaded(MODEL, FakeRecogniser(languages=("en",), translates=False), None)
    check(DecodeOptions(language="en"), english)
    for options, param in ((DecodeOptions(language="de"), "language"), (DecodeOptions(task="translate"), "model")):
        with pytest.raises(InvalidRequest) as refused:
            check(options, english)
        assert (refused.value.status, refused.value.param) == (400, param)


# --- Streaming ---


async def test_a_slow_reader_holds_a_place_and_not_the_engine() -> None:
    engine = FakeRecogniser(says=numbering())
    file = Counted(wav(talk(30 * 30)))
    async with ears(engine, FakeActivity()) as listener:
        segments = listener.segments(file, Outcome(), language="en")
        await anext(segments)
        await settled()
        most = engine.workers * engine.batch_size + RUN_AHEAD + 1
        assert len(engine.calls) <= most
        assert file.furthest < (most + 3) * 30 * 2 * SAMPLE_RATE
        rest = [segment async for segment in segments]
    assert len(rest) >= 29


async def test_the_first_segment_comes_before_the_rest_is_read() -> None:
    engine = FakeRecogniser(workers=8)
    file = Counted(wav(talk(30 * 30)))
    async with ears(engine, FakeActivity()) as listener:
        segments = listener.segments(file, Outcome())
        await anext(segments)
        assert file.furthest < 5 * 30 * 2 * SAMPLE_RATE
        await segments.aclose()


# --- Leaving ---


async def open_segments(listener: Ears, engine: FakeRecogniser, file: io.BytesIO) -> AsyncGenerator[Segment, None]:
    segments = listener.segments(file, Outcome(), language="en")
    await anext(segments)
    return segments


async def test_leaving_early_cancels_the_windows_that_wait() -> None:
    engine = FakeRecogniser()
    async with ears(engine, FakeActivity()) as listener:
        segments = await open_segments(listener, engine, io.BytesIO(wav(talk(30 * 20))))
        await segments.aclose()
        assert listener.recogniser.scheduler is not None
        heard = len(engine.calls)
        async with listener.recogniser.scheduler.admit() as request:
            await request.submit(Window(silence(1)))
        assert len(engine.calls) <= heard + 2  # one may have been running, one is the last line's


async def test_a_cancelled_reader_in_mid_file_frees_its_place_and_lets_the_call_end() -> None:
    engine = FakeRecogniser()
    engine.gate.close()
    async with ears(engine, FakeActivity()) as listener:
        reader = asyncio.create_task(listener.hear(talk(300), language="en"))
        await engine.gate.reached()
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        engine.gate.open()
        segments, _ = await listener.hear(talk(1), language="en")
        assert len(segments) == 1
    assert len(engine.calls) == 2


async def test_a_reader_that_is_cancelled_while_the_file_is_opened_leaves_nothing() -> None:
    engine = FakeRecogniser()
    async with ears(engine, FakeActivity()) as listener:
        for steps in range(12):
            reader = asyncio.create_task(listener.hear(talk(65), language="en"))
            for _ in range(steps):
                await asyncio.sleep(0)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        segments, _ = await listener.hear(talk(1), language="en")
        assert len(segments) == 1


async def test_a_file_that_is_open_only_after_its_reader_has_left_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, closed = Gate(), list[decode.AudioFile]()

    class Slow(decode.AudioFile):
        def __init__(self, *arguments: Any) -> None:
            with gate:
                super().__init__(*arguments)

        def close(self) -> None:
            super().close()
            closed.append(self)

    monkeypatch.setattr(decode, "AudioFile", Slow)
    gate.close()
    async with ears(FakeRecogniser(), FakeActivity()) as listener:
        reader = asyncio.create_task(listener.hear(talk(1)))
        await gate.reached()
        reader.cancel()
        await settled()
        gate.open()
        await asyncio.wait([reader])
        assert reader.cancelled() and len(closed) == 1


# --- Failures ---


async def test_an_engine_that_fails_fails_the_request_and_the_next_one_works() -> None:
    engine = FakeRecogniser(error=RuntimeError("out of memory"))
    async with ears(engine, FakeActivity()) as listener:
        with pytest.raises(RuntimeError, match="out of memory"):
            await listener.hear(talk(100), language="en")
        engine.error = None
        segments, _ = await listener.hear(talk(1))
        assert text_of(segments) == "hello"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidRequest),
        (b"nonsense" * 100, UnsupportedAudio),
        (wav(silence(0.05)), InvalidRequest),
        (wav(talk(21)), TooLarge),
        (wav(talk(1), channels=9), TooLarge),
    ],
    ids=["empty", "nonsense", "too short", "too long", "too many channels"],
)
@pytest.mark.parametrize("vad_filter", [True, False])
async def test_a_bad_file_is_an_error_and_nothing_stays_behind(
    data: bytes, error: type[SpeachesError], vad_filter: bool
) -> None:
    engine = FakeRecogniser()
    async with ears(engine, FakeActivity(), seconds=20.0) as listener:
        with pytest.raises(error):
            await listener.hear(data, vad_filter=vad_filter)
        segments, _ = await listener.hear(talk(1))
        assert len(segments) == 1
