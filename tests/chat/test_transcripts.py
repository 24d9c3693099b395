"""A recording is heard once."""

from __future__ import annotations

import asyncio

import pytest

from speaches.chat.transcripts import Heard, Recording, Transcripts
from speaches.transcription.transcribe import TranscribeOptions


def recording(audio: bytes, model: str = "whisper", *, vad_filter: bool = True) -> Recording:
    return Recording.of(audio, model, TranscribeOptions(vad_filter=vad_filter))


class Ear:
    """Hears what it is told, when it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.stopped = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.says = "hello"
        self.error: Exception | None = None

    async def hear(self) -> Heard:
        self.asked += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.error:
            raise self.error
        return Heard(self.says, 1.0)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_was_heard_is_not_heard_again() -> None:
    transcripts, ear = Transcripts(), Ear()
    for _ in range(3):
        assert await transcripts.get(recording(b"a"), ear.hear) == Heard("hello", 1.0)
    assert ear.asked == 1


async def test_other_audio_another_model_and_other_options_are_heard_anew() -> None:
    transcripts, ear = Transcripts(), Ear()
    for one in (recording(b"a"), recording(b"b"), recording(b"a", "other"), recording(b"a", vad_filter=False)):
        await transcripts.get(one, ear.hear)
    assert (ear.asked, len(transcripts)) == (4, 4)


async def test_the_same_audio_at_once_is_heard_once() -> None:
    transcripts, ear = Transcripts(), Ear()
    ear.gate.clear()
    waiting = [asyncio.create_task(transcripts.get(recording(b"a"), ear.hear)) for _ in range(5)]
    await settled()
    ear.gate.set()
    assert await asyncio.gather(*waiting) == [Heard("hello", 1.0)] * 5
    assert ear.asked == 1


async def test_one_who_leaves_does_not_take_it_from_the_others() -> None:
    transcripts, ear = Transcripts(), Ear()
    ear.gate.clear()
    first, second = (asyncio.create_task(transcripts.get(recording(b"a"), ear.hear)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled() and not second.done()
    ear.gate.set()
    assert (await second).text == "hello"
    assert (ear.asked, ear.stopped) == (1, 0)


async def test_hearing_stops_when_the_last_has_left_and_can_start_again() -> None:
    transcripts, ear = Transcripts(), Ear()
    ear.gate.clear()
    waiting = [asyncio.create_task(transcripts.get(recording(b"a"), ear.hear)) for _ in range(2)]
    await settled()
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (ear.stopped, len(transcripts)) == (1, 0)
    ear.gate.set()
    assert (await transcripts.get(recording(b"a"), ear.hear)).text == "hello"


async def test_a_failure_is_everybodys_and_is_not_remembered() -> None:
    transcripts, ear = Transcripts(), Ear()
    ear.gate.clear()
    ear.error = ValueError("broken")
    waiting = [asyncio.create_task(transcripts.get(recording(b"a"), ear.hear)) for _ in range(2)]
    await settled()
    ear.gate.set()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [ValueError] * 2
    ear.error = None
    assert (await transcripts.get(recording(b"a"), ear.hear)).text == "hello"


@pytest.mark.parametrize("bounds", [{"most": 2}, {"most_chars": 10}])
async def test_what_was_not_asked_for_the_longest_goes_first(bounds: dict[str, int]) -> None:
    transcripts, ear = Transcripts(**bounds), Ear()
    for audio in (b"a", b"b", b"a", b"c"):
        await transcripts.get(recording(audio), ear.hear)
    assert (ear.asked, len(transcripts)) == (3, 2)
    await transcripts.get(recording(b"a"), ear.hear)
    assert ear.asked == 3
    await transcripts.get(recording(b"b"), ear.hear)
    assert ear.asked == 4


async def test_a_text_that_is_larger_than_all_is_given_and_forgotten() -> None:
    transcripts, ear = Transcripts(most_chars=3), Ear()
    assert (await transcripts.get(recording(b"a"), ear.hear)).text == "hello"
    assert len(transcripts) == 0
