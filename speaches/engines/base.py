"""What an engine is: small blocking objects behind protocols, and the nouns they speak in.

Audio is mono float32 in [-1, 1] with its rate beside it. Methods block; `scheduling.py` chooses the thread. An engine knows nothing of
requests, files, HTTP or other windows: order, context and fairness are its callers' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:  # numpy costs a tenth of a second at start and is not needed until there is audio
    import numpy as np
    import numpy.typing as npt

    Samples: TypeAlias = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # Hz, what Whisper, PocketSphinx and Silero take
WINDOW_SECONDS = 30  # what Whisper's encoder sees at once
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE
SHORT_WINDOW_LANGUAGES = frozenset({"en"})
"""Where Whisper was measured to hear the same words with a short window. In others it writes numbers otherwise (docs/quality.md)."""


class Task(StrEnum):
    """What a model is for, in the words of the Hugging Face hub."""

    STT = "automatic-speech-recognition"
    TTS = "text-to-speech"
    VAD = "voice-activity-detection"
    EMBEDDING = "speaker-embedding"
    END_OF_TURN = "end-of-turn-detection"
    DENOISING = "audio-to-audio"


# --- Recognition ---


@dataclass(frozen=True)
class DecodeOptions:
    """How one window is to be heard. Equal options may share a batch."""

    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    """ISO 639-1; None lets the engine detect it from the window."""
    likely: str | None = None
    """The language of the recording so far: detection leaves it only when it is sure of another."""
    candidates: tuple[str, ...] = ()
    """What detection may choose from; empty for all."""
    prompt: str | None = None
    """Text that came before, or that shows style and spelling."""
    hotwords: str | None = None
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in turn until the text is neither repetitive nor improbable."""
    beam_size: int = 5
    timestamps: bool = True
    """Whether segments get times of their own; False makes one segment of a window, a little faster."""
    words: bool = False
    """Whether segments carry words with times."""
    logprobs: bool = False
    """Whether segments carry the log probability of each token."""
    short_window: bool = False
    """Whether the encoder may see less than 30 s of a short window, where that changes no words: two to three times faster."""


@dataclass(frozen=True)
class Window:
    """A stretch of audio that an engine hears at once."""

    samples: Samples
    """shape (n,), float32, 16 kHz, at most 30 s."""
    options: DecodeOptions = field(default_factory=DecodeOptions)
    features: Any = None
    """What `prepare` made of the samples; None lets `decode` do it."""


@dataclass(frozen=True)
class Word:
    word: str
    """As in the text, with its leading space."""
    start: float
    """Seconds from the start of the window; after `transcription`, of the audio."""
    end: float
    """Seconds, likewise."""
    probability: float


@dataclass(frozen=True)
class TokenLogprob:
    token: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True)
class Segment:
    text: str
    """As the model wrote it, with its leading space."""
    start: float
    """Seconds from the start of the window; after `transcription`, of the audio."""
    end: float
    """Seconds, likewise."""
    tokens: tuple[int, ...] = ()
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0
    words: tuple[Word, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    language: str | None = None
    """ISO 639-1, what is spoken in it; None where an engine leaves that to `Hypothesis`."""

    def moved(self, seconds: float) -> Segment:
        """The same, so much later."""
        words = tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in self.words)
        return replace(self, start=self.start + seconds, end=self.end + seconds, words=words)


@dataclass(frozen=True)
class Hypothesis:
    """What an engine heard in one window."""

    segments: tuple[Segment, ...]
    language: str
    """ISO 639-1."""
    language_probability: float = 1.0


class SpeechToText(Protocol):
    """A recogniser.

    `workers` calls may run at the same time; each takes up to `batch_size` windows whose `batch_key` is equal.
    """

    languages: Sequence[str]
    """ISO 639-1 codes it understands."""
    translates: bool
    """Whether `task="translate"` is possible."""
    workers: int
    batch_size: int

    def prepare(self, samples: Samples, options: DecodeOptions) -> Any:
        """What can be computed of a window's samples ahead of `decode`, on any thread: its features."""
        ...

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """Hear the windows, in order. An answer for each, empty where nothing was said."""
        ...

    def batch_key(self, window: Window) -> object:
        """Windows with equal keys may be decoded together."""
        ...

    def close(self) -> None:
        """Give the memory back. No call is running, none follows."""
        ...


# --- Speech ---


@dataclass(frozen=True)
class Voice:
    id: str
    """What a request names, e.g. `af_heart`."""
    name: str
    language: str
    """BCP 47, e.g. `en-US`."""
    gender: Literal["female", "male"] | None = None


@dataclass(frozen=True)
class Piece:
    """A piece of text to speak in one go: a clause, a sentence or a few."""

    text: str
    voice: str
    """An id of `voices()`."""
    speed: float = 1.0
    """1.0 is the voice's own; within the engine's `speeds`."""
    language: str | None = None
    """BCP 47, where it differs from the voice's."""
    timed: bool = False
    """Whether the words are to carry their times."""


@dataclass(frozen=True)
class SpokenPhoneme:
    phoneme: str
    start: float
    """Seconds from the start of the piece's speech; after `speech`, of the answer."""
    end: float
    """Seconds, likewise."""


@dataclass(frozen=True)
class SpokenWord:
    word: str
    """As in the text, with the punctuation that clings to it."""
    start: float
    """Seconds from the start of the piece's speech; after `speech`, of the answer."""
    end: float
    """Seconds, likewise."""
    phonemes: tuple[SpokenPhoneme, ...] = ()
    """Where the engine tells them."""


@dataclass(frozen=True)
class Utterance:
    """What an engine said."""

    samples: Samples
    """shape (n,), float32, at the engine's `sample_rate`; empty where there was nothing to say."""
    words: tuple[SpokenWord, ...] = ()
    """In order, where the piece asked for times."""
    estimated: bool = False
    """Whether the times are a guess from the length of the words, for want of better."""


class TextToSpeech(Protocol):
    """A voice model."""

    sample_rate: int
    """Hz of what `synthesize` returns."""
    speeds: tuple[float, float]
    """Slowest and fastest that it can do itself."""
    workers: int
    pause: float
    """Seconds of silence to put after a sentence; 0 where the engine makes its own."""
    languages: Sequence[str]
    """BCP 47, what a piece's `language` may be."""

    def voices(self) -> Sequence[Voice]: ...

    def voice(self, name: str) -> Voice | None:
        """The voice of exactly this name. May know more than `voices` lists."""
        ...

    def synthesize(self, piece: Piece) -> Utterance:
        """Speak one piece."""
        ...

    def close(self) -> None: ...


# --- Voice activity ---


class SpeechFrames(Protocol):
    """One stream of audio under a voice activity detector, which remembers what it heard."""

    def probabilities(self, samples: Samples) -> Samples:
        """The chance of speech in each frame of 512 samples (32 ms) at 16 kHz.

        Takes shape (512 * n,) and returns shape (n,).
        """
        ...


class VoiceActivity(Protocol):
    """A voice activity detector. Streams are independent and may run at the same time."""

    def stream(self) -> SpeechFrames: ...

    def close(self) -> None: ...


# --- Turns of a conversation ---


class EndOfTurn(Protocol):
    """A judge of whether somebody who pauses has finished. Calls may run at the same time."""

    def likelihood_of_end(self, samples: Samples) -> float:
        """How likely a turn that sounds like this so far is finished, 0 to 1.

        Takes shape (n,), 16 kHz: the turn, or its last 8 s, with the pause at its end.
        """
        ...

    def close(self) -> None: ...


class NoisyStream(Protocol):
    """One stream of audio under a denoiser, which remembers what it heard."""

    def denoise(self, samples: Samples) -> Samples:
        """The same stream without its noise, 256 samples late. Takes and returns shape (256 * n,), 16 kHz."""
        ...


class Denoiser(Protocol):
    """A denoiser. Streams are independent and may run at the same time."""

    def stream(self) -> NoisyStream: ...

    def close(self) -> None: ...


Engine: TypeAlias = SpeechToText | TextToSpeech | VoiceActivity | EndOfTurn | Denoiser
