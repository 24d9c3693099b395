"""Which voice a request means. Rules only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from speaches.engines.base import TextToSpeech, Voice
from speaches.errors import InvalidRequest

MOST_LISTED = 40  # voices that a message lists: espeak-ng has hundreds
MOST_LANGUAGES = 20
LONGEST_QUOTE = 60  # characters of a wrong name that a message repeats


@dataclass(frozen=True)
class Match:
    """What one of OpenAI's voices becomes."""

    kokoro: str
    espeak: str
    gender: Literal["female", "male"]
    """What to look for in models that have neither."""


OPENAI_VOICES = {
    "alloy": Match("af_alloy", "en-us+f1", "female"),
    "ash": Match("am_michael", "en-us+m6", "male"),
    "ballad": Match("bm_george", "en-us+m5", "male"),
    "cedar": Match("am_adam", "en-us+m2", "male"),
    "coral": Match("af_bella", "en-us+f5", "female"),
    "echo": Match("am_echo", "en-us+m1", "male"),
    "fable": Match("bm_fable", "en-us+m4", "male"),
    "marin": Match("af_heart", "en-us+f2", "female"),
    "nova": Match("af_nova", "en-us+f3", "female"),
    "onyx": Match("am_onyx", "en-us+m8", "male"),
    "sage": Match("af_sarah", "en-us+steph", "female"),
    "shimmer": Match("af_sky", "en-us+f4", "female"),
    "verse": Match("am_puck", "en-us+m7", "male"),
}
"""OpenAI's thirteen names."""


def resolve(
    name: str | None,
    engine: TextToSpeech,
    *,
    default: str,
    aliases: Mapping[str, Sequence[str]] | None = None,
    language: str | None = None,
    speaker: str | int | None = None,
) -> Voice:
    """The voice that a request names.

    A name of the model's own is taken as it is, then come the aliases, then OpenAI's thirteen names, which always work. Without a name it
    is the default voice, where the model has it, else the model's first. A speaker, by name or number, wins over all that.

    Args:
        aliases: VOICE_ALIASES: a name -> the voices that it means, the first that the model has.
        language: BCP 47, what the text is to be pronounced in. Only checked: the engine does it.

    Raises:
        InvalidRequest: If the model has no such voice, speaker or language; the message lists those it has.
    """
    if language is not None:
        _check_language(language, engine)
    if speaker is not None:
        return _speaker(speaker, engine)
    if not name:
        return _known(default, engine, aliases or {}) or _first(engine)
    if found := _known(name, engine, aliases or {}):
        return found
    engine.voice(name)  # says better what is wrong with a mix
    raise InvalidRequest(
        f"Unknown voice {name[:LONGEST_QUOTE]!r}. This model has: {_listed(voice.id for voice in engine.voices())}."
        f" OpenAI's names work too: {', '.join(OPENAI_VOICES)}.",
        param="voice",
        code="invalid_value",
    )


def speaks(language: str, wanted: str) -> bool:
    """Whether a language is the one that is wanted, or another form of it: `de` and `de-DE`, `en-US` and `en-AU`."""
    return _primary(language) == _primary(wanted)


def _primary(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].lower()


def _known(name: str, engine: TextToSpeech, aliases: Mapping[str, Sequence[str]]) -> Voice | None:
    """The voice behind a name of any kind; None where there is none."""
    small = name.lower()
    means = aliases.get(name) or next((voices for alias, voices in aliases.items() if alias.lower() == small), ())
    for one in (name, *means):
        # An alias may lead to one of OpenAI's names.
        if found := _own(one, engine) or (_openai(one.lower(), engine) if one != name else None):
            return found
    return _openai(small, engine)


def _own(name: str, engine: TextToSpeech) -> Voice | None:
    try:
        return engine.voice(name)
    except InvalidRequest:  # a mix of another model's voices
        return None


def _openai(name: str, engine: TextToSpeech) -> Voice | None:
    """The voice for one of OpenAI's names in small letters: the engine's closest, else one of the gender, a different one for each name
    as far as there are."""
    match = OPENAI_VOICES.get(name)
    if match is None:
        return None
    if found := _own(match.kokoro, engine) or _own(match.espeak, engine):
        return found
    same = [voice for voice in engine.voices() if voice.gender == match.gender]
    names = [other for other, one in OPENAI_VOICES.items() if not same or one.gender == match.gender]
    voices = same or engine.voices()
    return voices[names.index(name) % len(voices)]


def _first(engine: TextToSpeech) -> Voice:
    # espeak-ng lists its languages by name, and Afrikaans is not what most people expect.
    return _own("en-us", engine) or engine.voices()[0]


def _speaker(speaker: str | int, engine: TextToSpeech) -> Voice:
    if found := _own(str(speaker), engine):
        return found
    raise InvalidRequest(
        f"Unknown speaker {str(speaker)[:LONGEST_QUOTE]!r}. This model has: {_listed(voice.id for voice in engine.voices())}.",
        param="speaker",
        code="invalid_value",
    )


def _check_language(language: str, engine: TextToSpeech) -> None:
    if any(speaks(one, language) for one in engine.languages):
        return
    raise InvalidRequest(
        f"This model does not speak {language[:LONGEST_QUOTE]!r}. It speaks: {_listed(engine.languages, MOST_LANGUAGES)}.",
        param="language",
        code="invalid_value",
    )


def _listed(names: Iterable[str], most: int = MOST_LISTED) -> str:
    every = list(names)
    more = f" and {len(every) - most} more (GET /v1/audio/voices lists all)" if len(every) > most else ""
    return ", ".join(every[:most]) + more
