from __future__ import annotations

import asyncio
import contextlib
import io
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from speaches.audio.formats import FORMATS
from speaches.concurrency import Threads
from speaches.engines.base import Piece, Task, TextToSpeech, Utterance, Voice
from speaches.errors import TooLarge
from speaches.models.catalogue import Model
from speaches.models.pool import Loaded
from speaches.scheduling import Scheduler
from speaches.speech.speak import (
    RUN_AHEAD,
    SILENCE_SHARE,
    SpeakOptions,
    Spoken,
    encoded,
    encoded_whole,
    is_short,
    parts_of,
    speak,
)
from speaches.text.markup import MOST_PAUSED, Part
from speaches.text.sentences import BLOCK, pieces, steps
from tests.audio.files import LAWS, decode
from tests.fakes import FakeVoice
from tests.recordings import level, pitch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from speaches.engines.base import Samples

MODEL = Model("tests/voice", Task.TTS, "fake", None, created=0, owned_by="tests")
TEXT = "The quick brown fox jumps over the lazy dog. What time is it? Testing, one two three."
MANY = "Number one is here. " * 50


class Mouth:
    """A voice model, ready to speak."""

    def __init__(self, engine: TextToSpeech, threads: Threads) -> None:
        self.engine = engine
        self.threads = threads
        self.scheduler: Scheduler[Piece, Utterance] = Scheduler(self._speak, workers=engine.workers)
        self.model = Loaded(MODEL, engine, self.scheduler)

    def _speak(self, pieces: Sequence[Piece]) -> list[Utterance]:
        return [self.engine.synthesize(piece) for piece in pieces]

    def options(self, **changes: Any) -> SpeakOptions:
        voice: Voice = self.engine.voice("en-us") or self.engine.voices()[0]
        return SpeakOptions(**{"voice": voice, **changes})

    def blocks(self, text: str, **changes: Any) -> AsyncGenerator[Spoken]:
        return speak(pieces(text), self.options(**changes), self.model, self.threads)

    async def samples(self, text: str, **changes: Any) -> Samples:
        return np.concatenate([spoken.samples async for spoken in self.blocks(text, **changes)])

    def parts(self, text: str, **changes: Any) -> AsyncGenerator[bytes, None]:
        return encoded(self.blocks(text, **changes), self.options(**changes), self.threads)


@asynccontextmanager
async def mouth(engine: TextToSpeech) -> AsyncIterator[Mouth]:
    threads = Threads(4, "codecs")
    made = Mouth(engine, threads)
    try:
        yield made
    finally:
        await made.scheduler.close()
        threads.close()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# --- Pieces ---


async def test_every_piece_is_spoken_in_order() -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker:
        samples = await speaker.samples("One two. Three four five! And six?")
    assert [piece.text for piece in engine.pieces] == ["One two.", "Three four five!", "And six?"]
    assert len(samples) == round(0.7 * 24_000)
    assert pitch(samples, 24_000) == pytest.approx(440, abs=3)


async def test_pauses_are_put_between_pieces_and_not_around_them() -> None:
    engine = FakeVoice(pause=0.25)
    async with mouth(engine) as speaker:
        samples = await speaker.samples("One. Two. Three.")
    assert len(samples) / 24_000 == pytest.approx(3 * 0.1 + 2 * 0.25, abs=0.001)
    assert np.abs(samples[:100]).max() > 0.1
    assert np.abs(samples[-100:]).max() > 0.1
    assert not samples[2_500:8_300].any()


@pytest.mark.parametrize(("asked", "seconds"), [(2.0, 0.1 + 2.0), (0.0, 0.0), (None, 0.1 + 0.1)])
async def test_the_pause_between_sentences_tears_none_apart(asked: float | None, seconds: float) -> None:
    engine = FakeVoice(pause=0.1)
    async with mouth(engine) as speaker:
        samples = await speaker.samples("Once upon a time there lived, they say, a king. He sang.", pause=asked)
    assert engine.pieces[0].text == "Once upon a time there lived,"
    assert len(samples) / 24_000 == pytest.approx(12 * 0.1 + seconds, abs=0.001)


@pytest.mark.parametrize("speed", [0.5, 2.0])
async def test_pauses_are_as_fast_as_the_speech(speed: float) -> None:
    async with mouth(FakeVoice(pause=0.25)) as speaker:
        samples = await speaker.samples("One. Two. Three.", speed=speed)
    assert len(samples) / 24_000 * speed == pytest.approx(3 * 0.1 + 2 * 0.25, abs=0.002)


async def test_a_piece_of_nothing_makes_no_pause() -> None:
    engine = FakeVoice(pause=0.25)
    engine_says = engine.synthesize
    engine.synthesize = lambda piece: Utterance(engine_says(piece).samples[: 0 if piece.text == "..." else None])  # type: ignore[method-assign]
    async with mouth(engine) as speaker:
        samples = await speaker.samples("...\nOne.\n...\nTwo.\n...")
    assert len(samples) / 24_000 == pytest.approx(2 * 0.1 + 0.25, abs=0.001)
    assert np.abs(samples[:100]).max() > 0.1


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
async def test_speech_has_the_rate_that_is_asked_for_and_the_same_length(rate: int) -> None:
    async with mouth(FakeVoice(sample_rate=22_050)) as speaker:
        samples = await speaker.samples(MANY, sample_rate=rate)
    assert len(samples) / rate == pytest.approx(50 * 0.4, abs=0.002)
    assert pitch(samples[: rate * 2], rate) == pytest.approx(440, abs=3)


# --- Speed ---


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.0, 1.7, 2.0, 4.0])
async def test_what_the_engine_can_not_do_is_stretched(speed: float) -> None:
    engine = FakeVoice(speeds=(0.8, 1.5))
    async with mouth(engine) as speaker:
        samples = await speaker.samples(MANY, speed=speed)
    assert {piece.speed for piece in engine.pieces} == {min(max(speed, 0.8), 1.5)}
    assert len(samples) / 24_000 * speed == pytest.approx(50 * 0.4, rel=0.01)
    assert pitch(samples[:24_000], 24_000) == pytest.approx(440, rel=0.03)


@pytest.mark.parametrize("engine_name", ["espeak_ng", "tiny_kokoro", "tiny_piper"])
async def test_real_voices_speak_at_every_speed(engine_name: str, request: pytest.FixtureRequest) -> None:
    engine: TextToSpeech = request.getfixturevalue(engine_name)
    async with mouth(engine) as speaker:
        normal = len(await speaker.samples(TEXT))
        assert 4 < normal / 24_000 < 12
        for speed in (0.25, 0.5, 1.5, 4.0):
            samples = await speaker.samples(TEXT, speed=speed)
            # The tiny models' sounds have few lengths, so this is rough.
            assert len(samples) * speed == pytest.approx(normal, rel=0.4)
            assert level(samples) > 0.01


# --- Streaming ---


async def test_run_ahead_is_bounded_with_a_slow_reader() -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker, aclosing(speaker.blocks(MANY)) as blocks:
        for read in range(1, 6):
            await anext(blocks)
            await settled()
            assert len(engine.pieces) <= read + RUN_AHEAD


async def test_the_next_piece_is_spoken_while_the_reader_has_the_one_before() -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker, aclosing(speaker.blocks(MANY)) as blocks:
        await anext(blocks)
        await engine.gate.reached(2)
        assert len(engine.pieces) >= 2


async def test_leaving_early_cancels_what_the_engine_has_not_begun() -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker:
        async with aclosing(speaker.blocks(MANY)) as blocks:
            await anext(blocks)
        spoken = len(engine.pieces)
        await speaker.samples("Next.")
        assert len(engine.pieces) <= spoken + 2
        assert engine.pieces[-1].text == "Next."


async def test_a_cancelled_reader_lets_the_running_piece_end_and_frees_the_engine() -> None:
    engine = FakeVoice()
    engine.gate.close()
    async with mouth(engine) as speaker:
        reader = asyncio.create_task(speaker.samples(MANY))
        await engine.gate.reached()
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        engine.gate.open()
        await speaker.samples("Next.")
    assert [piece.text for piece in engine.pieces] == ["Number one is here.", "Next."]


async def test_a_voice_that_fails_fails_the_request_and_the_next_one_works() -> None:
    engine = FakeVoice(error=RuntimeError("broken"))
    async with mouth(engine) as speaker:
        with pytest.raises(RuntimeError, match="broken"):
            await speaker.samples(MANY)
        engine.error = None
        assert len(await speaker.samples("One."))


async def test_a_text_that_is_cancelled_by_nobody_here_fails_the_request() -> None:
    async def leaking() -> AsyncIterator[Part]:
        yield "One."
        raise asyncio.CancelledError  # of a future that somebody else has cancelled

    async with mouth(FakeVoice()) as speaker:
        spoken = speak(leaking(), speaker.options(), speaker.model, speaker.threads)
        assert (await anext(spoken)).text == "One."
        with pytest.raises(RuntimeError, match="cancelled"):
            await anext(spoken)
        assert len(await speaker.samples("One."))


# --- Bytes ---


def seconds_of(name: str, data: bytes) -> float:
    if name == "pcm":
        return len(data) / 2 / 24_000
    return len(data) / 8_000 if name in LAWS else len(decode(data)) / 16_000


@pytest.mark.parametrize("name", FORMATS)
async def test_streamed_speech_is_the_whole_speech(name: str) -> None:
    asked = {"response_format": name, "sample_rate": FORMATS[name].rate}
    async with mouth(FakeVoice()) as speaker:
        parts = [part async for part in speaker.parts(MANY, **asked)]
        options = speaker.options(**asked)
        whole = await encoded_whole(speaker.blocks(MANY, **asked), options, speaker.threads)
    assert all(parts)
    assert len(parts) > 10
    for data in (b"".join(parts), whole):
        assert seconds_of(name, data) == pytest.approx(20.0, abs=0.15)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus", "aac", "pcm"])
async def test_a_text_of_nothing_is_a_short_silence_and_not_an_empty_file(name: str) -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker:
        engine.synthesize = lambda piece: Utterance(np.empty(0, np.float32))  # type: ignore[method-assign]
        options = speaker.options(response_format=name)
        streamed = b"".join([part async for part in speaker.parts("...", response_format=name)])
        whole = await encoded_whole(speaker.blocks("..."), options, speaker.threads)
    for data in (streamed, whole):
        heard = decode(data) if name != "pcm" else np.frombuffer(data, "<i2").astype(np.float32)
        assert 0.09 < len(heard) / 16_000 < 0.3
        assert not np.abs(heard[:1_000]).max() > 0.01


async def test_a_whole_wav_has_its_true_length() -> None:
    async with mouth(FakeVoice()) as speaker:
        options = speaker.options(response_format="wav")
        data = await encoded_whole(speaker.blocks("One two three."), options, speaker.threads)
    assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(0.3, abs=0.001)


async def test_the_first_bytes_come_with_the_first_piece() -> None:
    engine = FakeVoice()
    for name in FORMATS:
        engine.pieces.clear()
        async with mouth(engine) as speaker, aclosing(speaker.parts(MANY, response_format=name)) as parts:
            await anext(parts)
            assert len(engine.pieces) <= 2 + RUN_AHEAD


async def test_leaving_a_stream_of_bytes_early_leaves_the_speech_too() -> None:
    engine = FakeVoice()
    async with mouth(engine) as speaker:
        async with aclosing(speaker.parts(MANY, response_format="wav")) as parts:
            await anext(parts)
        spoken = len(engine.pieces)
        assert len(await speaker.samples("Next.")) > 0
        assert len(engine.pieces) <= spoken + 2


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
async def test_a_long_first_clause_is_not_encoded_to_its_end_before_it_is_heard(name: str) -> None:
    async with mouth(FakeVoice()) as speaker:
        whole = [part async for part in speaker.parts("word " * 50, response_format=name)]
    assert len(b"".join(whole)) > 8 * len(whole[0]) > 0


async def test_a_whole_answer_is_encoded_as_it_is_spoken() -> None:
    """What is held is its bytes, not its samples: those of this one would be 115 MB."""
    engine = FakeVoice()
    minute = Utterance(np.zeros(24_000 * 60, np.float32))
    engine.synthesize = lambda piece: minute  # type: ignore[method-assign]
    async with mouth(engine) as speaker:
        options = speaker.options(response_format="flac")
        await encoded_whole(speaker.blocks("One."), options, speaker.threads)  # what is imported counts once
        tracemalloc.start()
        whole = await encoded_whole(speaker.blocks("One. " * 20), options, speaker.threads)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert soundfile.info(io.BytesIO(whole)).duration == 20 * 60
    assert most < 40_000_000


# --- Words ---


async def words_of(speaker: Mouth, text: str, **changes: Any) -> list[tuple[str, float, float]]:
    """Each word, and when it begins and ends."""
    blocks = speak(pieces(text), speaker.options(timed=True, **changes), speaker.model, speaker.threads)
    return [(word.word, word.start, word.end) async for spoken in blocks for word in spoken.words]


async def test_words_have_their_times_from_the_start_of_the_answer() -> None:
    async with mouth(FakeVoice(pause=0.25)) as speaker:
        words = await words_of(speaker, "One two. Three. [pause:1s] Four.")
    # A pause that the text asks for comes on top of the one between sentences.
    assert [word for word, _, _ in words] == ["One", "two.", "Three.", "Four."]
    assert [start for _, start, _ in words] == pytest.approx([0.0, 0.1, 0.45, 1.8], abs=1e-6)
    assert [end - start for _, start, end in words] == pytest.approx([0.1] * 4, abs=1e-6)


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
async def test_words_are_as_fast_as_the_speech(speed: float) -> None:
    async with mouth(FakeVoice(pause=0.25, speeds=(0.8, 1.5))) as speaker:
        words = await words_of(speaker, "One two. Three.", speed=speed)
    assert [start * speed for _, start, _ in words] == pytest.approx([0.0, 0.1, 0.45], abs=0.001)


async def test_words_come_with_the_piece_that_speaks_them_and_only_when_asked_for() -> None:
    async with mouth(FakeVoice()) as speaker:
        plain = [spoken async for spoken in speaker.blocks("One two. Three.")]
        timed = [spoken async for spoken in speaker.blocks("One two. Three.", timed=True)]
    assert all(spoken.words == () for spoken in plain)
    assert [" ".join(word.word for word in spoken.words) for spoken in timed] == [spoken.text for spoken in timed]


def test_a_text_of_one_piece_is_short() -> None:
    assert is_short("Hello world.")
    assert is_short("...")
    assert not is_short("Hello world. And more.")
    assert not is_short("x" * 1_000_000)


def test_what_is_short_depends_on_how_it_is_read() -> None:
    assert is_short("Hello there.\n***")
    assert not is_short("Hello there.\n***", normalise=False)


async def test_a_text_in_which_there_is_nothing_to_say_is_looked_through_in_steps() -> None:
    text = "> " * 5 * BLOCK
    assert [*steps(text)].count(None) == 10
    async with mouth(FakeVoice()) as speaker, aclosing(parts_of(text, speaker.threads)) as parts:
        assert [part async for part in parts] == [*pieces(text)]


@pytest.mark.parametrize("name", ["wav", "mp3", "flac"])
async def test_a_whole_answer_that_is_too_large_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speaches.audio.encode.LARGEST_WHOLE", 20_000)
    async with mouth(FakeVoice()) as speaker:
        short = speaker.options(response_format=name)
        assert await encoded_whole(speaker.blocks("One."), short, speaker.threads)
        with pytest.raises(TooLarge, match="streamed"):
            await encoded_whole(speaker.blocks("[pause:30s]" * 100), short, speaker.threads)


@pytest.mark.parametrize("text", ["[pause:30s]" * 30 + "One.", "[pause:3<b></b>0s] " * 30 + "One."])
async def test_pauses_of_a_text_that_can_not_be_refused_come_to_an_end(text: str) -> None:
    """An LLM's, or one whose pauses are only seen once it is turned into what is spoken."""
    async with mouth(FakeVoice()) as speaker:
        samples = await speaker.samples(text, sample_rate=8_000)
    assert len(samples) / 8_000 == pytest.approx(MOST_PAUSED + 0.1, abs=0.01)
    assert np.abs(samples[-200:]).max() > 0.1


@pytest.mark.parametrize("speed", [0.25, 1.0])
async def test_pauses_between_sentences_are_in_proportion_to_the_speech(speed: float) -> None:
    async with mouth(FakeVoice()) as speaker:
        whole = len(await speaker.samples("a\n" * 100, pause=10.0, speed=speed, sample_rate=8_000)) / 8_000
        story = len(await speaker.samples("word " * 40 + ".\n" + "word " * 40, pause=10.0, sample_rate=8_000)) / 8_000
    speech = 100 * 0.1 / speed
    assert whole == pytest.approx(speech + MOST_PAUSED + SILENCE_SHARE * speech, rel=0.02)
    assert story == pytest.approx(8.0 + 10.0, abs=0.2)
