"""Turns of real speech, with the real detector: the table in docs/realtime.md was measured like this."""

from __future__ import annotations

import random

import numpy as np
import pytest

from speaches.engines import silero
from speaches.engines.base import SAMPLE_RATE
from speaches.realtime.turns import FRAME_MS, ServerVad, SpeechStopped, Turns
from speaches.settings import Settings
from speaches.transcription.activity import FRAME_SIZE
from tests.real.recordings import ENGLISH, JFK, OTHERS, Made, Recording, joined, silence

MARGIN = 0.3  # s, by which recordings begin and end with silence of their own
AT_THE_EDGE = 0.1  # s from the end of a phrase: a stop there cuts nothing


def chances_of(made: Made) -> list[float]:
    """The chance of speech in each frame, until the last turn is surely over."""
    samples = np.concatenate([made.samples, silence(3.0)])
    whole = samples[: len(samples) // FRAME_SIZE * FRAME_SIZE]
    return [float(chance) for chance in silero.load(None, Settings()).stream().probabilities(whole)]


def stops(chances: list[float], detection: ServerVad) -> list[SpeechStopped]:
    return [event for event in Turns(detection).hear(chances) if isinstance(event, SpeechStopped)]


def spoken_in_turn(seed: int) -> tuple[list[Recording], Made]:
    """All recordings in random order, with pauses of 0.3 to 3 s: speakers who take turns."""
    chance = random.Random(seed)
    order = [*ENGLISH, *OTHERS]
    chance.shuffle(order)
    pauses = [chance.uniform(0.3, 3.0) for _ in order]
    return order, joined(f"turns, seed {seed}", [(one.samples, one.text) for one in order], pauses)


def is_cut(chances: list[float], start: float, end: float, found: list[SpeechStopped]) -> bool:
    """Whether a turn stops within a phrase, which is from its first to its last loud frame."""
    first, last = round(start * 1000 / FRAME_MS), round(end * 1000 / FRAME_MS)
    loud = [place * FRAME_MS / 1000 for place in range(first, min(last, len(chances))) if chances[place] > 0.5]
    if not loud:
        return False
    within = (loud[0] + AT_THE_EDGE, loud[-1] - AT_THE_EDGE)
    return any(within[0] < stop.speech_end_ms / 1000 < within[1] for stop in found)


@pytest.mark.usefixtures("real_models")
def test_speakers_who_take_turns_are_kept_apart_and_few_phrases_are_cut() -> None:
    order, made = spoken_in_turn(seed=4)
    chances = chances_of(made)
    found = stops(chances, ServerVad())
    for (_, end), (start, _) in zip(made.speech, made.speech[1:], strict=False):
        over = [
            one
            for one in found
            if one.audio_start_ms / 1000 < end - MARGIN and one.speech_end_ms / 1000 > start + MARGIN
        ]
        assert over == [], f"two recordings in one turn at {end:.1f} s"
    for recording, (start, end) in zip(order, made.speech, strict=True):
        heard = [one for one in found if one.audio_start_ms / 1000 < end and one.speech_end_ms / 1000 > start]
        assert heard, f"{recording.name} was not noticed"
    phrases = [
        (start + phrase.start, min(end, start + phrase.end))
        for recording, (start, end) in zip(order, made.speech, strict=True)
        for phrase in recording.sentences
    ]
    cut = [phrase for phrase in phrases if is_cut(chances, *phrase, found)]
    assert len(cut) <= len(phrases) // 8, f"cut: {cut}"


@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize("silence_ms", [200, 500, 1000])
def test_a_turn_stops_when_it_has_been_quiet_for_as_long_as_it_was_told(silence_ms: int) -> None:
    chances = chances_of(spoken_in_turn(seed=5)[1])
    waits = [one.audio_end_ms - one.speech_end_ms for one in stops(chances, ServerVad(silence_duration_ms=silence_ms))]
    # The detector's chances fall a frame after the speech: it is quiet for longer than they say.
    assert waits and all(silence_ms - 2 * FRAME_MS <= wait <= silence_ms for wait in waits)


@pytest.mark.usefixtures("real_models")
def test_a_longer_silence_keeps_a_speech_with_long_pauses_together() -> None:
    made = Made("jfk", JFK.samples, JFK.text, ((0.0, len(JFK.samples) / SAMPLE_RATE),))
    chances = chances_of(made)
    assert len(stops(chances, ServerVad())) > 1
    assert len(stops(chances, ServerVad(silence_duration_ms=1200))) == 1
