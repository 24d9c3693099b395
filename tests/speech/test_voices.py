from __future__ import annotations

from typing import Any

import pytest

from speaches.engines.base import Piece, TextToSpeech, Voice
from speaches.errors import InvalidRequest
from speaches.speech.voices import OPENAI_VOICES, resolve
from tests.fakes import FakeVoice

ENGINES = ("espeak_ng", "tiny_kokoro", "tiny_piper", "piper_pair")


def test_a_voice_of_the_models_own_is_taken() -> None:
    assert resolve("max", FakeVoice(), default="nobody").id == "max"


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_it_is_the_default_or_the_first(name: str | None) -> None:
    assert resolve(name, FakeVoice(), default="max").id == "max"
    assert resolve(name, FakeVoice(), default="nobody").id == "ada"


def test_an_unknown_voice_is_a_400_that_lists_the_voices() -> None:
    with pytest.raises(InvalidRequest, match="Unknown voice 'bob'") as refused:
        resolve("bob", FakeVoice(), default="ada")
    assert (refused.value.status, refused.value.param) == (400, "voice")
    assert all(name in refused.value.message for name in ("ada", "max", *OPENAI_VOICES))


def test_openais_names_take_a_voice_of_the_same_gender() -> None:
    assert resolve("nova", FakeVoice(), default="x").id == "ada"
    assert resolve("onyx", FakeVoice(), default="x").id == "max"
    assert resolve("NOVA", FakeVoice(), default="x").id == "ada"


def test_a_model_with_a_voice_of_that_name_has_its_own() -> None:
    assert resolve("onyx", FakeVoice(names=("ada", "max", "onyx")), default="x").id == "onyx"


@pytest.mark.parametrize("engine_name", ENGINES)
def test_all_thirteen_names_speak_on_every_engine(engine_name: str, request: pytest.FixtureRequest) -> None:
    engine: TextToSpeech = request.getfixturevalue(engine_name)
    assert len(OPENAI_VOICES) == 13
    for name in OPENAI_VOICES:
        voice = resolve(name, engine, default="af_heart")
        assert len(engine.synthesize(Piece("Hello world", voice.id)).samples) > 0


def test_kokoro_has_its_closest_voice_or_one_of_the_gender(tiny_kokoro: Any) -> None:
    assert resolve("marin", tiny_kokoro, default="x").id == "af_heart"
    assert resolve("ballad", tiny_kokoro, default="x").id == "bm_george"
    for name, (_, gender) in OPENAI_VOICES.items():
        assert resolve(name, tiny_kokoro, default="x").gender == gender


def test_espeaks_first_voice_is_english(espeak_ng: Any) -> None:
    voice: Voice = resolve(None, espeak_ng, default="af_heart")
    assert voice.id == "en-us"
