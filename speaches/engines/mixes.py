"""Mixes of voices, such as `af_heart(2)+af_sky(1)`. Rules only."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from speaches.errors import InvalidRequest

LARGEST_WEIGHT = 100.0
MOST_VOICES = 100
LONGEST_QUOTE = 60  # characters of a wrong name that a message repeats
PLACES = 6  # decimal places of a weight

_PART = re.compile(r"(?P<voice>[^()]*)(?:\((?P<weight>[^()]*)\))?")
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,20})?|\.\d{1,20}", re.ASCII)
_ALLOWED = (
    f"A mix is voices with weights, such as 'af_heart(2)+af_sky(1)': up to {MOST_VOICES}, each once, each weight a number"
    f" above 0 up to {LARGEST_WEIGHT:g}; without one it is 1."
)


@dataclass(frozen=True)
class Ingredient:
    voice: str
    weight: float
    """Above 0 up to LARGEST_WEIGHT."""


def parse(name: str, known: Collection[str]) -> tuple[Ingredient, ...] | None:
    """The voices and weights of a mix, in order; None where the name is no mix of any known voice.

    Raises:
        InvalidRequest: If some of its voices are known, but not all, or it is not written as a mix is.
    """
    if "+" not in name and "(" not in name:
        return None
    parts = [_PART.fullmatch(part.strip()) for part in name.split("+", MOST_VOICES)]
    voices = [match["voice"].strip() if match else "" for match in parts]
    if not any(voice in known for voice in voices):
        return None  # nothing of this model: the list of its voices says more than how to mix them
    if len(parts) > MOST_VOICES:
        raise _refused(f"The voice is a mix of more than {MOST_VOICES} voices.")
    for match, voice in zip(parts, voices, strict=True):
        if match is None or not voice:
            raise _refused("A part of the voice has no name, or its brackets don't match.")
        if voice not in known:
            raise InvalidRequest(
                f"Unknown voice {voice[:LONGEST_QUOTE]!r} in a mix. This model has: {', '.join(known)}.",
                param="voice",
                code="invalid_value",
            )
    if len(set(voices)) < len(voices):
        twice = next(voice for voice in voices if voices.count(voice) > 1)
        raise _refused(f"Voice {twice!r} is in the mix more than once.")
    return tuple(
        Ingredient(voice, _weight(voice, match["weight"]))
        for match, voice in zip(parts, voices, strict=True)
        if match is not None
    )


def canonical(mix: Collection[Ingredient]) -> str:
    """One way to write a mix, which `parse` takes: `af_heart(2)+af_sky(1)`. A mix of one voice is that voice."""
    if len(mix) == 1:
        return next(iter(mix)).voice
    return "+".join(f"{one.voice}({_decimal(one.weight)})" for one in mix)


def shares(mix: Collection[Ingredient]) -> list[float]:
    """How much of each voice, in order: above 0, and 1 together."""
    whole = sum(one.weight for one in mix)
    return [one.weight / whole for one in mix]


def heaviest(mix: Collection[Ingredient]) -> str:
    """The voice that gives a mix its language: of several, the first."""
    return max(mix, key=lambda one: one.weight).voice


def _weight(voice: str, written: str | None) -> float:
    if written is None:
        return 1.0
    weight = round(float(written), PLACES) if _NUMBER.fullmatch(written.strip()) else 0.0
    if not 0 < weight <= LARGEST_WEIGHT:
        raise _refused(f"The weight of {voice!r} is {written[:20]!r}.")
    return weight


def _decimal(weight: float) -> str:
    return f"{weight:.{PLACES}f}".rstrip("0").rstrip(".")


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"{reason} {_ALLOWED}", param="voice", code="invalid_value")
