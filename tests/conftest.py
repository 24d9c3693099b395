"""What all tests share. More is in `recordings.py` (what they hear) and `fakes.py` (engines that obey).

A test may be a coroutine: it gets an event loop of its own, and fails when it takes longer than LONGEST_TEST.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import hypothesis
import pytest

from speaches.engines import espeak, kokoro, piper, pocketsphinx, silero, whisper
from speaches.settings import OLD_NAMES, Settings
from tests import recordings

LONGEST_TEST = 240.0  # seconds until a coroutine that waits for what never comes is a failure, also on a slow machine
REAL = Path(__file__).parent / "real"
NO_HUB = "http://127.0.0.1:9"  # where nobody listens, should anything ask the Hugging Face hub

# The same examples in every run and on every worker, however slow it is: a failure here is a failure anywhere.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """tests/real needs weights from outside: it is collected only where somebody names it (`scripts/test-real`)."""
    named = any("real" in Path(argument.partition("::")[0]).parts for argument in config.invocation_params.args)
    return None if named or collection_path != REAL else True


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), LONGEST_TEST))
    return True


@pytest.fixture(scope="session")
def tiny_models() -> Path:
    """A folder for MODEL_DIRS, with `speaches-test/whisper-synth` and the others."""
    return recordings.TINY_MODELS


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, in which the hub cache is empty, the hub can't be reached and no voices are kept."""
    for name in [*Settings.model_fields, *OLD_NAMES]:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    # Not HF_HUB_OFFLINE: huggingface-hub keeps that for the whole process, and other tests have a hub on loopback.
    monkeypatch.setenv("HF_ENDPOINT", NO_HUB)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return monkeypatch


@pytest.fixture
def settings(clean_environment: pytest.MonkeyPatch, tiny_models: Path) -> Settings:
    """Settings as they are in an empty environment, with the tiny models. Change some by `settings.model_copy(update=...)`."""
    return Settings(model_dirs=[tiny_models])


@pytest.fixture(scope="session")
def say() -> recordings.Say:
    """`say("Hello world.")` is espeak-ng's speech at 16 kHz; see `recordings.say`."""
    return recordings.say


# --- The real engines, loaded once for each process when a test asks for one ---


@pytest.fixture(scope="session")
def folder(tiny_models: Path) -> Path:
    return tiny_models / "speaches-test"


@pytest.fixture(scope="session")
def tiny_whisper(folder: Path) -> whisper.Whisper:
    return whisper.load(folder / "whisper-synth", Settings(whisper__inference_device="cpu", whisper__num_workers=1))


@pytest.fixture(scope="session")
def tiny_kokoro(folder: Path) -> kokoro.Kokoro:
    return kokoro.load(folder / "kokoro-synth", Settings(tts_inference_device="cpu"))


@pytest.fixture(scope="session")
def tiny_piper(folder: Path) -> piper.Piper:
    return piper.load(folder / "piper-en_US-synth-medium", Settings(tts_inference_device="cpu"))


@pytest.fixture(scope="session")
def piper_pair(folder: Path) -> piper.Piper:
    return piper.load(folder / "piper-en_US-synth_pair-medium", Settings(tts_inference_device="cpu"))


@pytest.fixture(scope="session")
def espeak_ng() -> espeak.Espeak:
    return espeak.load(None, Settings())


@pytest.fixture(scope="session")
def sphinx() -> pocketsphinx.PocketSphinx:
    return pocketsphinx.load(None, Settings())


@pytest.fixture(scope="session")
def detector() -> silero.Silero:
    return silero.load(None, Settings())
