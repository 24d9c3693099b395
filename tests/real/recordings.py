"""The recordings at hand, what is said in them, and longer ones made of them.

The texts were written by us. Of two_cities.wav, beckett.wav and jfk.wav they are the books' and the speech's own words. Nobody published
the text of endgame_nagg_nell.wav: it is what the bare library hears with two models and two beams, which agree but for one word.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from speaches.audio.resample import resample
from speaches.engines.base import SAMPLE_RATE
from tests.real import weights

if TYPE_CHECKING:
    from speaches.engines.base import Samples

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sentence:
    """A stretch of a recording between two pauses."""

    text: str
    start: float
    """Seconds, in the pause before."""
    end: float
    """Seconds, in the pause after."""


@dataclass(frozen=True)
class Recording:
    name: str
    sentences: tuple[Sentence, ...]
    language: str = "en"

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def path(self) -> Path:
        here = HERE / "audio" / f"{self.name}.wav"
        return here if here.exists() else weights.folder() / "audio" / f"{self.name}.wav"

    @property
    def samples(self) -> Samples:
        """shape (n,), float32, 16 kHz, mono. Don't write to it: it is read once."""
        return _read(self.path)


@functools.cache
def _read(path: Path) -> Samples:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = resample(np.ascontiguousarray(audio.mean(axis=1)), rate, SAMPLE_RATE)
    samples.setflags(write=False)
    return samples


def _recording(name: str, *sentences: tuple[str, float, float], language: str = "en") -> Recording:
    return Recording(name, tuple(Sentence(*one) for one in sentences), language)


def _clip(name: str, text: str) -> Recording:
    return _recording(name, (text, 0.0, float("inf")), language=name.partition("/")[0])


TWO_CITIES = _recording(
    "two_cities",
    ("It was the best of times, it was the worst of times.", 0.0, 4.78),
    ("It was the age of wisdom, it was the age of foolishness.", 4.78, 8.5),
    ("It was the epoch of belief, it was the epoch of incredulity.", 8.5, 13.1),
    ("It was the season of light, it was the season of darkness.", 13.1, 17.1),
    ("It was the spring of hope, it was the winter of despair.", 17.1, 20.85),
    ("We had everything before us, we had nothing before us.", 20.85, 24.3),
    ("We were all going direct to heaven,", 24.3, 26.27),
    ("we were all going direct the other way.", 26.27, 28.67),
    (
        "In short, the period was so far like the present period that some of its noisiest authorities insisted on its being received for"
        " good or for evil in the superlative degree of comparison only.",
        28.67,
        44.37,
    ),
)
BECKETT = _recording(
    "beckett",
    ("Ever tried, ever failed,", 0.0, 3.35),
    ("no matter, try again,", 3.35, 6.0),
    ("fail again, fail better.", 6.0, 9.96),
)
ENDGAME = _recording(
    "endgame_nagg_nell",
    ("Do you hear me?", 0.0, 1.2),
    ("Yes.", 1.2, 2.15),
    ("Do you hear me?", 2.15, 3.62),
    ("Yes.", 3.62, 4.5),
    ("We laugh less heartily, so we have still that resource.", 4.5, 8.35),
    ("Laugh less heartily, so we have still that resource.", 8.35, 11.7),
    ("No, not heartily, just less heartily.", 11.7, 14.3),
    ("Ah, that's a good story. Ah, that's a good story.", 14.3, 17.3),
    ("What are you talking about?", 17.3, 19.1),
    ("Laugh it.", 19.1, 20.1),
    ("You thought you were in pain.", 20.1, 22.2),
    ("Not now.", 22.2, 23.4),
    ("Do you remember the day I went and fetched you from that ditch?", 23.4, 27.5),
    ("No.", 27.5, 28.28),
)
JFK = _recording(
    "jfk",
    (
        "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
        0.0,
        11.0,
    ),
)
LJ6 = _recording(
    "LJ001-0006",
    ("And it is worth mention in passing that, as an example of fine typography,", 0.0, 5.68),
)
LJ8 = _recording("LJ001-0008", ("has never been surpassed.", 0.0, 1.78))
COUNTING = _clip("en/counting", "One two three four five six seven eight nine ten.")
HELLO = _clip("en/hello_world", "Hello world.")
FOX = _clip("en/quick_brown_fox", "The quick brown fox jumps over the lazy dog.")
STEREO = _recording(
    "two_speakers_stereo",
    (
        "He began a confused complaint against the wizard who had vanished behind the curtain on the left.",
        0.0,
        5.0,
    ),
    ("The horizon seems extremely distant.", 0.0, 5.0),
)
"""A speaker in each channel, at the same time: left, right."""

ENGLISH = (TWO_CITIES, BECKETT, ENDGAME, JFK, LJ6, LJ8, COUNTING, HELLO, FOX)
OTHERS = (
    _clip("es/conteo", "Uno dos tres cuatro cinco seis siete ocho nueve diez."),
    _clip("es/hola_mundo", "Hola mundo."),
    _clip("es/pangrama", "El veloz murciélago hindú comía feliz cardillo y kiwi."),
    _clip("fr/bonjour_monde", "Bonjour le monde."),
    _clip("fr/comptage", "Un deux trois quatre cinq six sept huit neuf dix."),
    _clip("fr/pangrama", "Portez ce vieux whisky au juge blond qui fume."),
    _clip("hi/ginti", "एक दो तीन चार पांच छह सात आठ नौ दस."),
    _clip("hi/namaste_duniya", "नमस्ते दुनिया."),
    _clip("hi/pangrama", "ऊँट के मुँह में जीरा कहावत बहुत पुरानी और मशहूर है।"),
    _clip("it/ciao_mondo", "Ciao mondo."),
    _clip("it/conteggio", "Uno due tre quattro cinque sei sette otto nove dieci."),
    _clip("it/pangrama", "Quel vituperabile fez sbagliato ci provoca danni."),
    _clip("ja/kazoeru", "一二三四五六七八九十。"),
    _clip("ja/konnichiwa_sekai", "こんにちは世界。"),
    _clip("ja/pangrama", "いろはにほへと散りぬるを我が世誰ぞ常ならん。"),
    _clip("pl/liczenie", "Jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć."),
    _clip("pl/pangrama", "Pchnąć w tę łódź jeża lub ośm skrzyń fig."),
    _clip("pl/witaj_swiecie", "Witaj świecie."),
    _clip("pt/contagem", "Um dois três quatro cinco seis sete oito nove dez."),
    _clip("pt/ola_mundo", "Olá mundo."),
    _clip("pt/pangrama", "A rápida raposa marrom salta sobre o cachorro preguiçoso."),
    _clip("zh/jishu", "一二三四五六七八九十。"),
    _clip("zh/nihao_shijie", "你好世界。"),
    _clip("zh/pangrama", "天地玄黄宇宙洪荒日月盈昃辰宿列张。"),
)
"""Short clips in other languages, with the texts that came with them."""


@dataclass(frozen=True)
class Made:
    """A recording put together from others."""

    name: str
    samples: Samples
    text: str
    speech: tuple[tuple[float, float], ...] = ()
    """Seconds: where each part is."""


def silence(seconds: float, *, noise: float = 0.0, seed: int = 0) -> Samples:
    """Zeros, or white noise of this standard deviation."""
    count = round(seconds * SAMPLE_RATE)
    hiss = np.random.default_rng(seed).standard_normal(count) if noise else np.zeros(count)
    return (hiss * noise).astype(np.float32)


def joined(name: str, parts: Sequence[tuple[Samples, str]], pauses: Sequence[float]) -> Made:
    """The parts, each after its pause (seconds)."""
    pieces: list[Samples] = []
    places: list[tuple[float, float]] = []
    end = 0
    for (samples, _), pause in zip(parts, pauses, strict=True):
        pieces += [silence(pause), samples]
        start = end + len(pieces[-2])
        end = start + len(samples)
        places.append((start / SAMPLE_RATE, end / SAMPLE_RATE))
    return Made(name, np.concatenate(pieces), " ".join(text for _, text in parts), tuple(places))


def repeated(recording: Recording, times: int) -> Made:
    return joined(f"{recording.name} x {times}", [(recording.samples, recording.text)] * times, [0.0] * times)


def mix_of_recordings(seed: int, times: int = 3) -> Made:
    """Whole recordings of five speakers in random order, with pauses of 0.3 to 3 s: each `times` times."""
    chance = random.Random(seed)
    order = [*ENGLISH[:6]] * times
    chance.shuffle(order)
    pauses = [chance.uniform(0.3, 3.0) for _ in order]
    return joined(f"recordings, seed {seed}", [(one.samples, one.text) for one in order], pauses)


def mix_of_clips(seed: int, words: int = 1000) -> Made:
    """Stretches of one to four sentences in random order, with pauses of 0.1 to 1.5 s, until there are so many words."""
    chance = random.Random(seed)
    parts: list[tuple[Samples, str]] = []
    while sum(len(text.split()) for _, text in parts) < words:
        parts.append(_stretch(chance))
    pauses = [chance.uniform(0.1, 1.5) for _ in parts]
    return joined(f"clips, seed {seed}", parts, pauses)


def _stretch(chance: random.Random) -> tuple[Samples, str]:
    recording = chance.choice(ENGLISH)
    first = chance.randrange(len(recording.sentences))
    chosen = recording.sentences[first : first + chance.randint(1, 4)]
    end = min(len(recording.samples), round(min(chosen[-1].end, 1e6) * SAMPLE_RATE))
    return recording.samples[round(chosen[0].start * SAMPLE_RATE) : end], " ".join(one.text for one in chosen)


def long_mix(seed: int, minutes: float) -> Made:
    """Stretches as in `mix_of_clips`, of this length in all."""
    chance = random.Random(seed)
    parts: list[tuple[Samples, str]] = []
    pauses: list[float] = []
    length = 0.0
    while length < minutes * 60:
        parts.append(_stretch(chance))
        pauses.append(chance.choice((0.2, 0.5, 1.0, 4.0)))
        length += len(parts[-1][0]) / SAMPLE_RATE + pauses[-1]
    return joined(f"{minutes:g} min, seed {seed}", parts, pauses)


def with_pause(before: Recording, seconds: float, after: Recording, *, noise: float = 0.0) -> Made:
    """Two recordings with a long pause between them."""
    samples = np.concatenate([before.samples, silence(seconds, noise=noise), after.samples])
    resumes = len(before.samples) / SAMPLE_RATE + seconds
    speech = ((0.0, len(before.samples) / SAMPLE_RATE), (resumes, len(samples) / SAMPLE_RATE))
    return Made(f"{before.name}, {seconds:g} s, {after.name}", samples, f"{before.text} {after.text}", speech)


def all_recordings() -> Iterator[Recording]:
    yield from (*ENGLISH, *OTHERS)
