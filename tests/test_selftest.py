from __future__ import annotations

import pytest

from speaches.concurrency import Threads
from speaches.engines.base import Task
from speaches.engines.registry import KINDS
from speaches.models.models import Models
from speaches.selftest import SelfTest
from speaches.settings import Settings
from tests.fakes import RECOGNISER_ID, FakeEngines


@pytest.fixture
def threads() -> Threads:
    return Threads(2, "selftest")


async def test_the_built_in_engines_speak_find_and_hear(settings: Settings, threads: Threads) -> None:
    models = Models(settings, KINDS, threads)
    test = SelfTest(models, threads)
    await test.run()
    await models.close()
    threads.close()
    assert [(step.name, step.ok) for step in test.steps] == [
        ("speak", True),
        ("find the speech", True),
        ("hear the words", True),
    ], test.steps
    assert test.ok
    assert all(step.milliseconds > 0 for step in test.steps)


async def test_a_step_that_fails_ends_the_test_and_says_why(settings: Settings, threads: Threads) -> None:
    engines = FakeEngines()
    engines.voice_kind.BUILTIN = ("speaches/espeak-ng",)
    engines.voice.error = RuntimeError("no voice today")
    models = Models(engines.settings(settings), engines.kinds, threads)
    test = SelfTest(models, threads)
    await test.run()
    assert not test.ok
    assert [(step.name, step.ok, step.detail) for step in test.steps] == [
        ("speak", False, "RuntimeError: no voice today"),
    ]
    assert (await models.get(RECOGNISER_ID, Task.STT)).id == RECOGNISER_ID
    await models.close()
    threads.close()
