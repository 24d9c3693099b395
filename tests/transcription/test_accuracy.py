"""How good words and their times are, against what espeak-ng said and against faster-whisper's own transcription of the same audio."""

from __future__ import annotations

import asyncio
import difflib
import random
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Window
from speaches.engines.silero import Silero
from speaches.engines.whisper import Whisper
from tests.recordings import recording, say, silence
from tests.speaker import word_starts
from tests.transcription.hearing import ears, text_of

# --- Times of words ---

MEDIAN, MOST = 0.040, 0.120  # seconds: of half of the words, of nine tenths
Timed = list[tuple[str, float]]


def spoken_with_pause(text: str) -> tuple[Any, Timed]:
    """A sentence with a pause after it, and each word with its time by espeak-ng."""
    truth = [(text[at:].split()[0], start) for at, start in word_starts(text, "en-us", 160)]
    return np.concatenate([say(text), silence(0.4)]), truth


def whole(words: Iterable[Any]) -> Timed:
    """Words with their starts, parts of words put together."""
    found = Timed()
    for word in words:
        if found and not word.word[:1].isspace():
            found[-1] = (found[-1][0] + word.word, found[-1][1])
        else:
            found.append((word.word.strip(), word.start))
    return found


def errors(heard: Timed, truth: Timed) -> list[float]:
    """How far the words that were heard as they were said are from where they were said."""
    matching = difflib.SequenceMatcher(None, [word for word, _ in heard], [word for word, _ in truth], autojunk=False)
    return [
        abs(heard[block.a + n][1] - truth[block.b + n][1])
        for block in matching.get_matching_blocks()
        for n in range(block.size)
    ]


# --- Words ---

NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "twenty",
]
ADJECTIVES = [
    "quick",
    "lazy",
    "brown",
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "small",
    "big",
    "old",
    "new",
    "happy",
    "quiet",
    "loud",
    "cold",
    "warm",
]
ANIMALS = [
    "dog",
    "cat",
    "fox",
    "horse",
    "bird",
    "fish",
    "cow",
    "sheep",
    "lion",
    "tiger",
    "bear",
    "wolf",
    "mouse",
    "rabbit",
]
VERBS = ["jumps over", "runs past", "looks at", "sleeps near", "walks behind", "follows", "likes", "sees"]
NAMES = [
    "Anna",
    "Peter",
    "Maria",
    "John",
    "Sarah",
    "David",
    "Laura",
    "Thomas",
    "Emma",
    "Daniel",
    "Julia",
    "Robert",
    "Alice",
    "Henry",
]
CITIES = [
    "London",
    "Paris",
    "Berlin",
    "Madrid",
    "Rome",
    "Vienna",
    "Boston",
    "Chicago",
    "Dublin",
    "Tokyo",
    "Sydney",
    "Oslo",
]
ROOMS = ["kitchen", "bedroom", "bathroom", "garden", "garage", "office"]
DEVICES = ["light", "lamp", "heater", "fan", "radio", "television", "door"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
FOODS = ["bread", "milk", "cheese", "apples", "coffee", "tea", "water", "rice", "soup", "cake", "butter", "sugar"]


def sentence(rng: random.Random) -> str:
    """One of the kinds that whisper-synth was trained on (its `make/data.py`)."""
    one = rng.choice
    kinds = [
        f"The {one(ADJECTIVES)} {one(ADJECTIVES)} {one(ANIMALS)} {one(VERBS)} the {one(ADJECTIVES)} {one(ANIMALS)}.",
        f"Please turn {one(['on', 'off'])} the {one(ROOMS)} {one(DEVICES)}.",
        f"What is the weather in {one(CITIES)} {one(['today', 'tomorrow', 'on Monday', 'on Friday', 'on Sunday'])}?",
        f"My name is {one(NAMES)} and I live in {one(CITIES)}.",
        f"Send a message to {one(NAMES)}, I will be there on {one(DAYS)}.",
        f"{one(NUMBERS).capitalize()} plus {one(NUMBERS)} equals {one(NUMBERS)}.",
        f"{', '.join(one(NUMBERS[:10]) for _ in range(rng.randint(3, 8))).capitalize()}.",
        f"We need {one(FOODS)}, {one(FOODS)} and {one(FOODS)} for {one(NAMES)}.",
    ]
    return one(kinds)


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def wrong(heard: str, said: str) -> int:
    """Words that were added, left out or heard as others: the distance of Levenshtein."""
    row = list(range(len(words(said)) + 1))
    for i, one in enumerate(words(heard), 1):
        before, row[0] = row[0], i
        for j, other in enumerate(words(said), 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def test_the_count_of_wrong_words() -> None:
    assert wrong("The cat sat.", "the cat sat") == 0
    assert wrong("the hat sat down", "the cat sat") == 2
    assert wrong("", "the cat sat") == 3
    assert wrong("a b c d", "b c d e") == 2


async def test_a_hundred_sentences_are_heard_with_no_more_wrong_words_than_by_the_bare_library(
    tiny_whisper: Whisper, detector: Silero
) -> None:
    rng = random.Random(4)
    said = [[sentence(rng) for _ in range(5)] for _ in range(20)]
    recordings = [recording(*(say(text) for text in texts), pause=0.5) for texts in said]
    async with ears(tiny_whisper, detector) as listener:
        answers = await asyncio.gather(*(listener.hear(samples) for samples in recordings))
    ours = [text_of(segments) for segments, _ in answers]
    theirs = [
        "".join(segment.text for segment in tiny_whisper._model.transcribe(samples, vad_filter=True)[0])
        for samples in recordings
    ]
    total = sum(len(words(text)) for texts in said for text in texts)
    rates = [
        sum(wrong(text, " ".join(texts)) for text, texts in zip(heard, said, strict=True)) / total
        for heard in (ours, theirs)
    ]
    assert rates[0] <= rates[1]
    assert rates[0] < 0.05


def test_words_have_times_as_good_as_those_of_the_bare_library(tiny_whisper: Whisper) -> None:
    """Of the sentences in SENTENCES.md both put 85 % of the words within 120 ms; of the model's other sentences, nine tenths."""
    rng = random.Random(2)
    ours: list[float] = []
    theirs: list[float] = []
    total = 0
    for _ in range(20):
        first, truth = spoken_with_pause(sentence(rng))
        second, more = spoken_with_pause(sentence(rng))
        samples = np.concatenate([first, second])
        truth += [(word, len(first) / SAMPLE_RATE + start) for word, start in more]
        total += len(truth)
        (heard,) = tiny_whisper.decode([Window(samples, DecodeOptions(language="en", words=True))])
        ours += errors(whole(word for segment in heard.segments for word in segment.words), truth)
        segments, _ = tiny_whisper._model.transcribe(samples, language="en", word_timestamps=True)
        theirs += errors(whole(word for segment in segments for word in segment.words), truth)
    median, bare = float(np.median(ours)), float(np.median(theirs))
    assert len(ours) > 0.95 * total
    assert median < MEDIAN
    assert np.mean(np.array(ours) < MOST) >= 0.9
    assert median <= bare + 0.010
