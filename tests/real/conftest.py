"""A real server with real weights. They are fetched when a test first asks; where they can't be had, the tests fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import openai
import pytest

from speaches.app import create_app
from speaches.settings import OLD_NAMES, Settings
from tests import recordings
from tests.api.serving import threaded
from tests.conftest import LONGEST_TEST, NO_HUB
from tests.real import weights

if TYPE_CHECKING:
    from speaches.engines.base import Samples


class Transcribe(Protocol):
    def __call__(self, audio: Samples | bytes, model: str = ..., **form: Any) -> Any: ...


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A folder for MODEL_DIRS."""
    return weights.fetch(weights.folder()) / "models"


@pytest.fixture(scope="session")
def server_url(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        for name in [*Settings.model_fields, *OLD_NAMES]:
            environment.delenv(name.upper(), raising=False)
        environment.setenv("HF_ENDPOINT", NO_HUB)
        environment.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        environment.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        app = create_app(
            Settings(
                model_dirs=[real_models],
                model_aliases={"whisper-1": weights.BASE, "tts-1": weights.KOKORO},
                default_stt_model=weights.BASE,
                default_tts_model=weights.KOKORO,
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


@pytest.fixture(scope="session")
def transcribe(http: httpx.Client) -> Transcribe:
    """`transcribe(samples, response_format="srt")`: the answer, as an object where it is JSON. English unless `language` says otherwise."""

    def ask(audio: Samples | bytes, model: str = weights.BASE, **form: Any) -> Any:
        file = audio if isinstance(audio, bytes) else recordings.wav(audio)
        fields = {"model": model, "language": "en", **form}
        answer = http.post(
            "/v1/audio/transcriptions",
            files={"file": ("recording.wav", file)},
            data={name: value for name, value in fields.items() if value is not None},
        )
        assert answer.status_code == 200, answer.text
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    return ask
