from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from speaches.cli import explain
from speaches.settings import OLD_NAMES, Settings, warn_of_old_names


@pytest.fixture(autouse=True)
def _clean(clean_environment: pytest.MonkeyPatch) -> None: ...


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_an_empty_environment_gives_the_defaults() -> None:
    made = Settings()
    assert (made.uvicorn_host, made.uvicorn_port) == ("127.0.0.1", 8000)
    assert made.stt_model_ttl == 300.0
    assert made.vad_model_ttl == -1.0
    assert made.worker_mode == "queue"
    assert made.api_key is None


def test_the_environment_sets_every_kind_of_value(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(
        monkeypatch,
        UVICORN_PORT="1234",
        STT_MODEL_TTL="-1",
        AUTO_DOWNLOAD="false",
        WHISPER__INFERENCE_DEVICE="cpu",
        WHISPER__CPU_THREADS="4",
        API_KEY="secret",
        WORKER_MODE="http",
        LOG_LEVEL="DEBUG",
    )
    assert (made.uvicorn_port, made.stt_model_ttl, made.auto_download) == (1234, -1.0, False)
    assert (made.whisper__inference_device, made.whisper__cpu_threads) == ("cpu", 4)
    assert made.api_key and made.api_key.get_secret_value() == "secret"
    assert (made.worker_mode, made.log_level) == ("http", "debug")


def test_an_empty_string_means_unset_for_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings()
    assert settings(monkeypatch, **{name.upper(): "" for name in Settings.model_fields}) == before


def test_small_letters_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, stt_model_ttl="7").stt_model_ttl == 7


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().uvicorn_port = 1


def test_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = dict.fromkeys(("API_KEY", "HF_TOKEN", "BUCKET_SECRET_ACCESS_KEY"), "hunter2")
    assert "hunter2" not in repr(settings(monkeypatch, **keys))


# --- Lists ---


@pytest.mark.parametrize("value", ["a/b,c/d", "a/b, c/d ,", '["a/b", "c/d"]', ' ["a/b","c/d"]'])
def test_lists_are_json_or_separated_by_commas(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert settings(monkeypatch, PRELOAD_MODELS=value).preload_models == ["a/b", "c/d"]
    assert settings(monkeypatch, ALLOW_ORIGINS=value).allow_origins == ["a/b", "c/d"]


@pytest.mark.parametrize("value", ["[]", ",", " "])
def test_a_list_may_be_empty(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert settings(monkeypatch, PRELOAD_MODELS=value).preload_models == []


def test_folders_are_separated_as_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch, MODEL_DIRS=os.pathsep.join(["/a", "~/b", ""]))
    assert made.model_dirs == [Path("/a"), Path.home() / "b"]


# --- Aliases ---


def test_aliases_are_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, MODEL_ALIASES='{"whisper-1": "a/b"}').model_aliases == {"whisper-1": "a/b"}


def test_aliases_are_the_path_of_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "aliases.json"
    file.write_text(json.dumps({"whisper-1": "a/b"}))
    assert settings(monkeypatch, MODEL_ALIASES=str(file)).model_aliases == {"whisper-1": "a/b"}


def test_a_name_for_voices_leads_to_one_or_to_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = '{"nova": "af_bella", "narrator": ["af_heart(2)+bm_george", "en-gb"]}'
    wanted = {"nova": ["af_bella"], "narrator": ["af_heart(2)+bm_george", "en-gb"]}
    assert settings(monkeypatch, VOICE_ALIASES=written).voice_aliases == wanted
    file = tmp_path / "voices.json"
    file.write_text(written)
    assert settings(monkeypatch, VOICE_ALIASES=str(file)).voice_aliases == wanted


# --- Old names ---


@pytest.mark.parametrize(
    ("old", "value", "new", "wanted"),
    [
        ("WHISPER__TTL", "12", "stt_model_ttl", 12.0),
        ("WHISPER__MODEL", "a/b", "default_stt_model", "a/b"),
        ("SPEACHES_LOG_LEVEL", "warning", "log_level", "warning"),
    ],
)
def test_an_old_name_works_and_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, old: str, value: str, new: str, wanted: object
) -> None:
    assert getattr(settings(monkeypatch, **{old: value}), new) == wanted
    warn_of_old_names(os.environ)
    assert f"{old} is now called {new.upper()}" in caplog.text


def test_every_old_name_is_tested() -> None:
    assert set(OLD_NAMES) == {"WHISPER__TTL", "WHISPER__MODEL", "SPEACHES_LOG_LEVEL"}
    assert all(new.lower() in Settings.model_fields for new in OLD_NAMES.values())


def test_the_new_name_wins_over_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, WHISPER__TTL="1", STT_MODEL_TTL="2").stt_model_ttl == 2


def test_an_empty_new_name_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, WHISPER__TTL="1", STT_MODEL_TTL="").stt_model_ttl == 1


def test_without_old_names_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_old_names({"STT_MODEL_TTL": "1", "WHISPER__TTL": ""})
    assert caplog.text == ""


# --- Mistakes ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UVICORN_PORT", "eight thousand"),
        ("UVICORN_PORT", "70000"),
        ("STT_CONCURRENCY", "0"),
        ("STT_QUEUE_SIZE", "-1"),
        ("MAX_UPLOAD_BYTES", "1.5"),
        ("MAX_AUDIO_SECONDS", "-1"),
        ("STT_MODEL_TTL", "soon"),
        ("MAX_AUDIO_SECONDS", "nan"),
        ("AUTO_DOWNLOAD", "perhaps"),
        ("WHISPER__INFERENCE_DEVICE", "tpu"),
        ("WORKER_MODE", "both"),
        ("LOG_LEVEL", "loud"),
        ("PRELOAD_MODELS", '["a", '),
        ("MODEL_ALIASES", '{"a": '),
        ("MODEL_ALIASES", "/nowhere/aliases.json"),
        ("MODEL_ALIASES", '{"a": 1}'),
        ("VOICE_ALIASES", '{"a": 1}'),
        ("VOICE_ALIASES", '{"a": ["b", 1]}'),
        ("VOICE_ALIASES", '["a"]'),
        ("VOICE_ALIASES", "/nowhere/aliases.json"),
        ("WHISPER__TTL", "soon"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(monkeypatch, **{name: value})
    named = {str(error["loc"][0]).lower() for error in refused.value.errors()}
    assert named & {name.lower(), OLD_NAMES.get(name, name).lower()}


@pytest.mark.parametrize(
    "url", ["localhost:11434", "http://[bad", "http://host:port/v1", "ftp://host/v1", "http://", "/v1"]
)
def test_an_llms_address_that_is_none_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ValidationError, match="http://localhost:11434"):
        settings(monkeypatch, CHAT_COMPLETION_BASE_URL=url)


@pytest.mark.parametrize(
    "url", ["http://localhost:11434", "https://api.openai.com/v1", "http://[::1]:80/v1", "HTTP://host"]
)
def test_an_llms_address_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert settings(monkeypatch, CHAT_COMPLETION_BASE_URL=url).chat_completion_base_url == url
    assert settings(monkeypatch, CHAT_COMPLETION_BASE_URL="").chat_completion_base_url is None


def test_the_llms_key_and_address_lose_the_line_end_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch, CHAT_COMPLETION_API_KEY=" sk-llm\n", CHAT_COMPLETION_BASE_URL="http://host\n")
    assert made.chat_completion_api_key is not None
    assert made.chat_completion_api_key.get_secret_value() == "sk-llm"
    assert made.chat_completion_base_url == "http://host"


@pytest.mark.parametrize("key", ["sk-\nllm", "sk-süß", "sk-\x7fllm"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with pytest.raises(ValidationError, match="ASCII") as caught:
        settings(monkeypatch, CHAT_COMPLETION_API_KEY=key)
    assert explain(caught.value) == ["  CHAT_COMPLETION_API_KEY: should be letters, digits and signs of ASCII"]
