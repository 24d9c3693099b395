"""Engines that do what a test tells them, remember what they got, and know nothing of speech.

engines = FakeEngines()
app = create_app(engines.settings(settings), kinds=engines.kinds)

engines.recogniser.says = "hello world"
engines.voice.gate.close()            # calls wait now ...
await engines.voice.gate.reached()    # ... until one has come,
engines.voice.gate.open()             # and go on
engines.recogniser.error = RuntimeError("broken")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from speaches.engines.base import (
    SAMPLE_RATE,
    DecodeOptions,
    Hypothesis,
    Piece,
    Segment,
    SpokenPhoneme,
    SpokenWord,
    Task,
    Utterance,
    Voice,
    Window,
    Word,
)
from speaches.engines.description import Description
from speaches.settings import Settings
from tests.recordings import tone

if TYPE_CHECKING:
    from speaches.engines.base import Engine, Samples
    from speaches.engines.registry import EngineKind

PATIENCE = 60.0  # seconds after which a test that waits in vain fails, also on a machine that is slow and busy
FRAME_SIZE = 512  # samples in a frame of voice activity
RECOGNISER_ID = "fake/recogniser"
VOICE_ID = "fake/voice"
ACTIVITY_ID = "silero_vad_v6"  # the one name of the detector that the server knows


class Gate:
    """A door for threads: open until a test closes it, and then it tells who stands before it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._arrivals = threading.Semaphore(0)
        self.inside = 0
        """Calls that stand before the door or have gone through it and have not left."""
        self.most_inside = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __enter__(self) -> None:
        """What a fake does while it works."""
        with self._lock:
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
        self._arrivals.release()
        if not self._open.wait(PATIENCE):
            raise TimeoutError("the test closed a gate and never opened it")

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self.inside -= 1

    async def reached(self, times: int = 1) -> None:
        """Wait until so many more calls have come to the door; each call counts once."""
        for _ in range(times):
            if not await asyncio.to_thread(self._arrivals.acquire, timeout=PATIENCE):
                raise TimeoutError("nobody came to the gate")

    def forget(self) -> None:
        """Let `reached` wait for calls that come from now on."""
        while self._arrivals.acquire(blocking=False):
            pass


@dataclass
class FakeRecogniser:
    """Hears the same in every window, or what a function makes of it, as one segment as long as the window."""

    says: str | Callable[[Window], str] = "hello"
    language: str = "en"
    """What it detects where no language is asked for."""
    error: Exception | None = None
    """Raised by every call while it is set."""
    languages: Sequence[str] = ("en", "es", "de", "fr")
    translates: bool = True
    workers: int = 1
    batch_size: int = 1
    calls: list[list[Window]] = field(default_factory=list)
    """The windows of each call."""
    gate: Gate = field(default_factory=Gate)
    closed: bool = False

    @property
    def heard(self) -> list[Window]:
        return [window for call in self.calls for window in call]

    @property
    def asked(self) -> list[DecodeOptions]:
        return [window.options for window in self.heard]

    def prepare(self, samples: Samples, options: DecodeOptions) -> None:
        """It takes samples."""

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        assert not self.closed, "used after it was closed"
        self.calls.append(list(windows))
        with self.gate:
            if self.error is not None:
                raise self.error
            return [self._hypothesis(window) for window in windows]

    def batch_key(self, window: Window) -> object:
        return window.options

    def close(self) -> None:
        self.closed = True

    def _hypothesis(self, window: Window) -> Hypothesis:
        text = self.says(window) if callable(self.says) else self.says
        language = window.options.language or self.language
        if not text:
            return Hypothesis((), language)
        seconds = len(window.samples) / SAMPLE_RATE
        words = tuple(_spread(text.split(), seconds)) if window.options.words else ()
        return Hypothesis((Segment(f" {text}", 0.0, seconds, tokens=(1, 2, 3), words=words),), language)


def _spread(words: Sequence[str], seconds: float) -> list[Word]:
    step = seconds / len(words)
    return [Word(f" {word}", number * step, (number + 1) * step, 0.9) for number, word in enumerate(words)]


@dataclass
class FakeVoice:
    """Speaks a tone of 440 Hz, a tenth of a second for each word."""

    error: Exception | None = None
    """Raised by every call while it is set."""
    sample_rate: int = 24_000
    speeds: tuple[float, float] = (0.25, 4.0)
    workers: int = 1
    pause: float = 0.0
    names: tuple[str, ...] = ("ada", "max")
    languages: Sequence[str] = ("en-US",)
    guesses: bool = False
    """Whether it says that the times of its words are guessed."""
    pieces: list[Piece] = field(default_factory=list)
    """What it was asked to speak."""
    gate: Gate = field(default_factory=Gate)
    closed: bool = False

    def voices(self) -> Sequence[Voice]:
        genders: tuple[Literal["female", "male"], ...] = ("female", "male")
        return [Voice(name, name.title(), "en-US", genders[n % 2]) for n, name in enumerate(self.names)]

    def voice(self, name: str) -> Voice | None:
        return next((voice for voice in self.voices() if voice.id == name), None)

    def synthesize(self, piece: Piece) -> Utterance:
        assert not self.closed, "used after it was closed"
        self.pieces.append(piece)
        with self.gate:
            if self.error is not None:
                raise self.error
            samples = tone(440, len(piece.text.split()) * 0.1 / piece.speed, self.sample_rate)
            return Utterance(samples, tuple(_said(piece)) if piece.timed else (), self.guesses)

    def close(self) -> None:
        self.closed = True


def _said(piece: Piece) -> Iterator[SpokenWord]:
    """The words, each with a single phoneme, its first letter."""
    step = 0.1 / piece.speed
    for number, word in enumerate(piece.text.split()):
        start, end = number * step, (number + 1) * step
        yield SpokenWord(word, start, end, (SpokenPhoneme(word[0].lower(), start, end),))


@dataclass
class FakeActivity:
    """Takes everything that is not very quiet for speech."""

    streams: int = 0
    """How many were asked for."""
    closed: bool = False

    def stream(self) -> FakeFrames:
        assert not self.closed, "used after it was closed"
        self.streams += 1
        return FakeFrames()

    def close(self) -> None:
        self.closed = True


class FakeFrames:
    def probabilities(self, samples: Samples) -> Samples:
        loudest = np.abs(samples.reshape(-1, FRAME_SIZE)).max(axis=1, initial=0.0)
        return np.asarray(loudest > 0.01, np.float32)


@dataclass
class FakeKind:
    """Has one model, which is built in, and loads always the same engine."""

    NAME: str
    TASK: Task
    BUILTIN: tuple[str, ...]
    engine: Any
    description: Description = field(default_factory=Description)
    PATTERNS: tuple[str, ...] = ()
    error: Exception | None = None
    """Raised by every load while it is set."""
    loads: int = 0
    """Loads that were tried."""
    gate: Gate = field(default_factory=Gate)

    def recognises(self, folder: Path) -> bool:
        return False

    def describe(self, folder: Path | None) -> Description:
        return self.description

    def load(self, folder: Path | None, settings: Settings) -> Engine:
        self.loads += 1
        with self.gate:
            if self.error is not None:
                raise self.error
            self.engine.closed = False
            engine: Engine = self.engine
            return engine


class FakeEngines:
    """A recogniser, a voice model and a detector, as kinds for `create_app`."""

    def __init__(self, *, recogniser: FakeRecogniser | None = None, voice: FakeVoice | None = None) -> None:
        self.recogniser = recogniser or FakeRecogniser()
        self.voice = voice or FakeVoice()
        self.activity = FakeActivity()
        hears = Description(tuple(self.recogniser.languages))
        speaks = Description(("en-US",), tuple(self.voice.voices()), self.voice.sample_rate)
        self.recogniser_kind = FakeKind("fake-recogniser", Task.STT, (RECOGNISER_ID,), self.recogniser, hears)
        self.voice_kind = FakeKind("fake-voice", Task.TTS, (VOICE_ID,), self.voice, speaks)
        self.activity_kind = FakeKind("fake-activity", Task.VAD, (ACTIVITY_ID,), self.activity)

    @property
    def kinds(self) -> Sequence[EngineKind]:
        return (self.recogniser_kind, self.voice_kind, self.activity_kind)

    def settings(self, settings: Settings, **changes: Any) -> Settings:
        """The settings with these engines as the defaults, and with other changes."""
        mine = {"default_stt_model": RECOGNISER_ID, "default_tts_model": VOICE_ID, "model_dirs": []}
        return settings.model_copy(update=mine | changes)
