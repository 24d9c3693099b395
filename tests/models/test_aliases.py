from __future__ import annotations

import pytest

from speaches.models.aliases import BUILT_IN, Aliases

LARGE = "Systran/faster-whisper-large-v3"
KOKORO = "speaches-ai/Kokoro-82M-v1.0-ONNX"


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("whisper-1", LARGE),
        ("gpt-transcribe", LARGE),
        ("gpt-live-transcribe", LARGE),
        ("gpt-4o-transcribe", LARGE),
        ("gpt-4o-transcribe-diarize", LARGE),
        ("gpt-4o-mini-transcribe", LARGE),
        ("gpt-4o-mini-transcribe-2025-12-15", LARGE),
        ("gpt-realtime-whisper", LARGE),
        ("tts-1", KOKORO),
        ("tts-1-hd", KOKORO),
        ("tts-1-hd-1106", KOKORO),
        ("gpt-4o-mini-tts", KOKORO),
        ("gpt-4o-mini-tts-2025-12-15", KOKORO),
        ("coqui-tts", KOKORO),
        ("turbo", "deepdml/faster-whisper-large-v3-turbo-ct2"),
        ("large-v3", LARGE),
        ("whisper-large-v3", LARGE),
        ("tiny.en", "Systran/faster-whisper-tiny.en"),
        ("distil-large-v3", "Systran/faster-distil-whisper-large-v3"),
        ("openai/whisper-base", "Systran/faster-whisper-base"),
        ("distil-whisper/distil-small.en", "Systran/faster-distil-whisper-small.en"),
        ("hexgrad/Kokoro-82M", KOKORO),
        ("silero_vad_v5", "silero_vad_v6"),
    ],
)
def test_the_names_that_clients_send_lead_to_models(name: str, model_id: str) -> None:
    assert Aliases().resolve(name) == model_id


@pytest.mark.parametrize(
    "name", ["my/own-model", "gpt-realtime", "gpt-4o", "whisper-2", "", "tinyest", "tts-2", "my/tts-1-hd"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert Aliases().resolve(name) == name


def test_every_size_that_faster_whisper_knows_is_an_alias() -> None:
    from faster_whisper import available_models

    assert [size for size in available_models() if size not in BUILT_IN] == []


def test_own_aliases_win() -> None:
    assert Aliases({"whisper-1": "my/model"}).resolve("whisper-1") == "my/model"


def test_what_whisper_1_and_tts_1_are_holds_for_all_of_openais_names() -> None:
    aliases = Aliases({"whisper-1": "my/ears", "tts-1": "my/voice"})
    assert aliases.resolve("gpt-4o-transcribe-2025-12-15") == "my/ears"
    assert aliases.resolve("gpt-4o-mini-tts") == "my/voice"


def test_a_dated_name_follows_an_own_alias_of_its_family() -> None:
    assert Aliases({"gpt-4o-mini-tts": "my/voice"}).resolve("gpt-4o-mini-tts-2026-02-03") == "my/voice"


def test_an_alias_may_lead_to_another() -> None:
    assert Aliases({"ears": "fast", "fast": "tiny"}).resolve("ears") == "Systran/faster-whisper-tiny"


def test_a_model_may_be_replaced_by_another() -> None:
    assert Aliases({LARGE: "my/model"}).resolve("whisper-1") == "my/model"


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_circle_ends(name: str) -> None:
    assert Aliases({"a": "b", "b": "c", "c": "a", "d": "d"}).resolve(name) in {"a", "b", "c"}
    assert Aliases({"d": "d"}).resolve("d") == "d"


def test_all_names_are_listed_with_what_they_lead_to() -> None:
    names = Aliases({"mine": "whisper-1"}).names()
    assert names["mine"] == names["gpt-4o-transcribe"] == LARGE
    assert names["tts-1-hd"] == KOKORO
