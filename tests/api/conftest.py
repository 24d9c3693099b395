"""One real server for each worker, with the tiny models, and servers of their own for tests that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from speaches.app import create_app
from speaches.settings import OLD_NAMES, Settings
from tests.api.serving import threaded
from tests.conftest import LONGEST_TEST, NO_HUB
from tests.fakes import FakeEngines

KOKORO, PIPER = "speaches-test/kokoro-synth", "speaches-test/piper-en_US-synth-medium"
WHISPER = "speaches-test/whisper-synth"
ALIASES = {"whisper-1": WHISPER, "tts-1": KOKORO, "turbo": WHISPER}


@pytest.fixture(scope="session")
def server_url(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with the tiny models behind OpenAI's names. Tests leave it as they found it."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [*Settings.model_fields, *OLD_NAMES]:
            environment.delenv(name.upper(), raising=False)
        environment.setenv("HF_ENDPOINT", NO_HUB)
        environment.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        environment.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        app = create_app(
            Settings(
                model_dirs=[tiny_models],
                model_aliases=ALIASES,
                default_stt_model=WHISPER,
                default_tts_model=KOKORO,
                stt_model_ttl=-1,
                tts_model_ttl=-1,
            )
        )
    with threaded(app) as url:
        yield url


@pytest.fixture(scope="session")
def http(server_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server_url, timeout=LONGEST_TEST) as client:
        yield client


@pytest.fixture(scope="session")
def client(server_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0, timeout=LONGEST_TEST) as client:
        yield client


@pytest.fixture
def engines() -> FakeEngines:
    return FakeEngines()


MakeApp = Callable[..., FastAPI]


@pytest.fixture
def make_app(settings: Settings, engines: FakeEngines) -> MakeApp:
    """`make_app(stt_concurrency=1)` is the server with the fake engines and some other settings."""

    def make(**changes: Any) -> FastAPI:
        if "api_key" in changes:
            changes["api_key"] = SecretStr(changes["api_key"])
        return create_app(engines.settings(settings, **changes), kinds=engines.kinds)

    return make
