"""Which voice a request means. Rules only."""

from __future__ import annotations

from speaches.engines.base import TextToSpeech, Voice
from speaches.errors import InvalidRequest

OPENAI_VOICES = {
    "alloy": ("af_alloy", "female"),
    "ash": ("am_michael", "male"),
    "ballad": ("bm_george", "male"),
    "cedar": ("am_adam", "male"),
    "coral": ("af_bella", "female"),
    "echo": ("am_echo", "male"),
    "fable": ("bm_fable", "male"),
    "marin": ("af_heart", "female"),
    "nova": ("af_nova", "female"),
    "onyx": ("am_onyx", "male"),
    "sage": ("af_sarah", "female"),
    "shimmer": ("af_sky", "female"),
    "verse": ("am_puck", "male"),
}
"""OpenAI's name -> Kokoro's voice closest to it, and the gender to look for in models that lack it."""


def resolve(name: str | None, engine: TextToSpeech, *, default: str) -> Voice:
    """The voice that a request names.

    A name of the model's own is taken as it is. OpenAI's thirteen names always work. Without a name it is the default voice, where the
    model has it, else the model's first.

    Raises:
        InvalidRequest: If the model has no such voice; the message lists those it has.
    """
    if name is None or name == "":
        return engine.voice(default) or _first(engine)
    if voice := engine.voice(name):
        return voice
    if known := OPENAI_VOICES.get(name.lower()):
        wanted, gender = known
        return engine.voice(wanted) or next(
            (voice for voice in engine.voices() if voice.gender == gender), _first(engine)
        )
    raise InvalidRequest(
        f"Unknown voice {name!r}. This model has: {', '.join(voice.id for voice in engine.voices())}."
        f" OpenAI's names work too: {', '.join(OPENAI_VOICES)}.",
        param="voice",
        code="invalid_value",
    )


def _first(engine: TextToSpeech) -> Voice:
    # espeak-ng lists its languages by name, and Afrikaans is not what most people expect.
    return engine.voice("en-us") or engine.voices()[0]
