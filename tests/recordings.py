"""What tests hear: speech of espeak-ng, silence, tones, noise; and as bytes of a WAV file."""

from __future__ import annotations

import functools
import io
import re
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from speaches.audio.pcm import from_pcm16, to_pcm16
from speaches.audio.resample import resample
from speaches.engines import espeak
from speaches.engines.base import SAMPLE_RATE
from tests.speaker import spoken

if TYPE_CHECKING:
    from speaches.engines.base import Samples

TINY_MODELS = Path(__file__).parent / "models"
SENTENCES = TINY_MODELS / "SENTENCES.md"


class Say(Protocol):
    def __call__(self, text: str, voice: str = "en-us", rate: int = 160) -> Samples: ...


@functools.cache
def say(text: str, voice: str = "en-us", rate: int = 160) -> Samples:
    """espeak-ng's speech at 16 kHz, the same in every run; `rate` is in words a minute. Don't write to it: it is made once."""
    pcm = spoken(text.replace("Runpod", "Run pod"), voice, rate)
    samples = resample(from_pcm16(pcm), espeak.SAMPLE_RATE, SAMPLE_RATE)
    samples.setflags(write=False)
    return samples


def recording(*parts: Samples, pause: float = 0.8) -> Samples:
    """The parts one after the other, with a pause (seconds) before, between and after them."""
    quiet = silence(pause)
    return np.concatenate([quiet, *(piece for part in parts for piece in (part, quiet))])


def silence(seconds: float, rate: int = SAMPLE_RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.float32)


def tone(hertz: float, seconds: float, rate: int = SAMPLE_RATE, level: float = 0.5) -> Samples:
    turns = hertz * np.arange(round(seconds * rate)) / rate
    return np.asarray(level * np.sin(2 * np.pi * turns), np.float32)


def noise(seconds: float, rate: int = SAMPLE_RATE, level: float = 0.1, seed: int = 0) -> Samples:
    """White noise; `level` is its standard deviation."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * rate)) * level).astype(np.float32)


def wav(samples: Samples, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """A WAV file by Python's own writer. Of two channels and more, each has the same samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, rate, 0, "NONE", ""))
        writer.writeframes(np.repeat(np.frombuffer(to_pcm16(samples), "<i2"), channels).tobytes())
    return file.getvalue()


def pitch(samples: Samples, rate: int = SAMPLE_RATE) -> float:
    """The loudest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def level(samples: Samples) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0


def english_sentences() -> list[str]:
    """What whisper-synth hears exactly in English, from SENTENCES.md."""
    return re.findall(r"^- (.+)$", SENTENCES.read_text(), re.MULTILINE)


def foreign_sentences() -> list[tuple[str, str, str]]:
    """(language, what is said, what it means in English), from SENTENCES.md."""
    rows = re.findall(r"^\| (..) \| (.+?) \| (.+?) \|$", SENTENCES.read_text(), re.MULTILINE)
    return [row for row in rows if row[0] in ("es", "de", "fr")]
