from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from speaches.engines.base import Piece, TextToSpeech, Voice
from speaches.errors import InvalidRequest
from speaches.speech.previews import ENGLISH, SENTENCES, preview_text
from speaches.speech.voices import OPENAI_VOICES, resolve, speaks
from tests.fakes import FakeVoice

ENGINES = ("espeak_ng", "tiny_kokoro", "tiny_piper", "piper_pair")


@dataclass
class Crowd(FakeVoice):
    """Has many speakers, like Piper's models, and a mix that goes wrong, like Kokoro's."""

    gender: Literal["female", "male"] | None = None
    size: int = 904

    def voices(self) -> list[Voice]:
        return [Voice(f"p{number}", f"P{number}", "en-US", self.gender) for number in range(self.size)]

    def voice(self, name: str) -> Voice | None:
        if "+" in name:
            raise InvalidRequest("A mix of unknown voices.", param="voice")
        return next((voice for voice in self.voices() if name in (voice.id, voice.id[1:])), None)


def test_a_voice_of_the_models_own_is_taken() -> None:
    assert resolve("max", FakeVoice(), default="nobody").id == "max"


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_it_is_the_default_or_the_first(name: str | None) -> None:
    assert resolve(name, FakeVoice(), default="max").id == "max"
    assert resolve(name, FakeVoice(), default="nobody").id == "ada"
    assert resolve(name, FakeVoice(), default="onyx").id == "max"
    assert resolve(name, FakeVoice(), default="mine", aliases={"mine": ["max"]}).id == "max"
    assert resolve(name, Crowd(), default="a+b").id == "p0"  # the default is for other models too


def test_an_unknown_voice_is_a_400_that_lists_the_voices() -> None:
    with pytest.raises(InvalidRequest, match="Unknown voice 'bob'") as refused:
        resolve("bob", FakeVoice(), default="ada")
    assert (refused.value.status, refused.value.param) == (400, "voice")
    assert all(name in refused.value.message for name in ("ada", "max", *OPENAI_VOICES))


def test_a_long_list_of_voices_is_cut_and_says_where_the_rest_is() -> None:
    with pytest.raises(InvalidRequest, match=r"p39 and 864 more \(GET /v1/audio/voices lists all\)") as refused:
        resolve("x" * 10_000, Crowd(), default="p1")
    assert "p40" not in refused.value.message
    assert len(refused.value.message) < 1000


def test_what_is_wrong_with_a_mix_is_said_by_the_engine() -> None:
    with pytest.raises(InvalidRequest, match="A mix of unknown voices"):
        resolve("a+b", Crowd(), default="p1")


# --- OpenAI's names ---


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
    for name, match in OPENAI_VOICES.items():
        assert resolve(name, tiny_kokoro, default="x").gender == match.gender


def test_espeak_has_thirteen_different_ones(espeak_ng: Any) -> None:
    found = {name: resolve(name.title(), espeak_ng, default="x").id for name in OPENAI_VOICES}
    assert found == {name: match.espeak for name, match in OPENAI_VOICES.items()}


def test_piper_has_the_gender_where_its_names_tell(piper_pair: Any) -> None:
    for name, match in OPENAI_VOICES.items():
        assert resolve(name, piper_pair, default="x").id == match.gender


@pytest.mark.parametrize("gender", [None, "female"])
def test_many_speakers_are_spread_over_the_names(gender: Literal["female"] | None) -> None:
    crowd = Crowd(gender=gender)
    found = {name: resolve(name, crowd, default="x").id for name in OPENAI_VOICES}
    again = {name: resolve(name, crowd, default="x").id for name in OPENAI_VOICES}
    assert found == again
    women = [voice for name, voice in found.items() if OPENAI_VOICES[name].gender == "female"]
    assert len(set(women)) == len(women) == 6
    assert gender or len(set(found.values())) == 13


def test_a_single_voice_has_all_the_names(tiny_piper: Any) -> None:
    assert {resolve(name, tiny_piper, default="x").id for name in OPENAI_VOICES} == {tiny_piper.voices()[0].id}


def test_espeaks_first_voice_is_english(espeak_ng: Any) -> None:
    voice: Voice = resolve(None, espeak_ng, default="af_heart")
    assert voice.id == "en-us"


def test_the_table_of_the_page_is_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "voices.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \| (\w+) \|$", page, re.MULTILINE)
    assert {name: (kokoro, espeak, gender) for name, kokoro, espeak, gender in rows} == {
        name: (match.kokoro, match.espeak, match.gender) for name, match in OPENAI_VOICES.items()
    }


# --- Aliases ---


def test_an_alias_leads_to_the_first_voice_that_the_model_has() -> None:
    aliases = {"narrator": ["af_heart(2)+bm_george", "max"]}
    assert resolve("narrator", FakeVoice(), default="ada", aliases=aliases).id == "max"
    assert resolve("Narrator", FakeVoice(), default="ada", aliases=aliases).id == "max"


def test_an_alias_wins_over_openais_name_where_the_model_has_its_voice() -> None:
    assert resolve("nova", FakeVoice(), default="x", aliases={"nova": ["max"]}).id == "max"
    assert resolve("NOVA", FakeVoice(), default="x", aliases={"nova": ["af_bella"]}).id == "ada"
    assert resolve("nova", Crowd(), default="x", aliases={"nova": ["a+b"]}).id.startswith("p")


def test_an_alias_may_lead_to_one_of_openais_names() -> None:
    assert resolve("boss", FakeVoice(), default="x", aliases={"boss": ["Onyx"]}).id == "max"


def test_the_models_own_name_wins_over_an_alias() -> None:
    assert resolve("ada", FakeVoice(), default="x", aliases={"ada": ["max"]}).id == "ada"


def test_an_alias_to_what_the_model_lacks_is_an_unknown_voice() -> None:
    for means in (["nobody"], ["boss"], []):
        with pytest.raises(InvalidRequest, match="Unknown voice 'boss'"):
            resolve("boss", FakeVoice(), default="x", aliases={"boss": means})


# --- Speakers ---


def test_a_speaker_is_a_name_or_a_number_and_wins_over_the_voice() -> None:
    assert resolve("p3", Crowd(), default="x", speaker="p7").id == "p7"
    assert resolve("nobody", Crowd(), default="x", speaker=7).id == "p7"
    assert resolve(None, Crowd(), default="x", speaker=0).id == "p0"


@pytest.mark.parametrize("speaker", ["nobody", 904, -1, "", "a+b", "nova"])
def test_an_unknown_speaker_is_a_400_that_lists_the_speakers(speaker: str | int) -> None:
    with pytest.raises(InvalidRequest, match="Unknown speaker") as refused:
        resolve(None, Crowd(), default="x", speaker=speaker)
    assert refused.value.param == "speaker"
    assert "p0, p1, p2" in refused.value.message


def test_pipers_speakers_go_by_name(piper_pair: Any) -> None:
    assert resolve("female", piper_pair, default="x", speaker="male").id == "male"


# --- Languages ---


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("de-DE", "de", True),
        ("de", "de-DE", True),
        ("en-US", "en-AU", True),
        ("EN-us", "en_US", True),
        ("de", "en", False),
        ("fil", "fi", False),
        ("", "de", False),
    ],
)
def test_forms_of_a_language_are_the_same_language(one: str, other: str, same: bool) -> None:
    assert speaks(one, other) == same


@pytest.mark.parametrize("language", ["en", "en-US", "EN-gb"])
def test_a_language_that_the_model_speaks_is_taken(language: str) -> None:
    assert resolve("max", FakeVoice(), default="x", language=language).id == "max"


@pytest.mark.parametrize("language", ["de", "xx", "-", "e" * 10_000])
def test_another_language_is_a_400_that_lists_those_it_speaks(language: str) -> None:
    with pytest.raises(InvalidRequest, match="It speaks: en-US") as refused:
        resolve("max", FakeVoice(), default="x", language=language)
    assert refused.value.param == "language"
    assert len(refused.value.message) < 200


def test_piper_speaks_the_language_that_it_was_made_for(tiny_piper: Any) -> None:
    resolve(None, tiny_piper, default="x", language="en-GB")
    with pytest.raises(InvalidRequest, match="does not speak 'de'"):
        resolve(None, tiny_piper, default="x", language="de")


def test_a_long_list_of_languages_is_cut(espeak_ng: Any) -> None:
    assert resolve("nova", espeak_ng, default="x", language="de-CH").id == "en-us+f3"
    with pytest.raises(InvalidRequest, match=r"and \d+ more") as refused:
        resolve("nova", espeak_ng, default="x", language="tlh")
    assert len(refused.value.message) < 400


# --- Previews ---


def test_a_voice_introduces_itself_in_its_language() -> None:
    assert preview_text("de-DE") == SENTENCES["de"]
    assert preview_text("pt-BR") == SENTENCES["pt"]
    for language in ("", "xx", "af"):
        assert preview_text(language) == ENGLISH


@pytest.mark.parametrize("language", SENTENCES)
def test_every_introduction_is_speech(espeak_ng: Any, language: str) -> None:
    voice = resolve(None, espeak_ng, default="x", language=language)
    spoken = espeak_ng.synthesize(Piece(SENTENCES[language], voice.id, language=language)).samples
    assert 1.5 < len(spoken) / espeak_ng.sample_rate < 8
