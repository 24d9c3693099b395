"""Models that nobody names: what uses them asks whether there is one, and does without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speaches.concurrency import Threads
from speaches.engines.base import Task
from speaches.engines.registry import KINDS
from speaches.models.models import Models
from speaches.settings import Settings

MODEL_DIRS = Path(__file__).parents[1] / "engines"  # tiny/smart-turn, tiny/gtcrn


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()


async def test_a_judge_of_the_end_of_turns_is_found_on_disk(threads: Threads) -> None:
    models = Models(Settings(model_dirs=[MODEL_DIRS]), KINDS, threads)
    model = await models.first(Task.END_OF_TURN)
    assert model is not None and model.id == "tiny/smart-turn"
    async with models.pool.use(model) as loaded:
        assert 0 <= loaded.engine.likelihood_of_end(np.zeros(16_000, np.float32)) <= 1
    await models.close()


async def test_a_denoiser_is_found_on_disk(threads: Threads) -> None:
    models = Models(Settings(model_dirs=[MODEL_DIRS]), KINDS, threads)
    model = await models.first(Task.DENOISING)
    assert model is not None and model.id == "tiny/gtcrn"
    async with models.pool.use(model) as loaded:
        assert loaded.engine.stream().denoise(np.zeros(512, np.float32)).shape == (512,)
    await models.close()


async def test_without_one_on_disk_there_is_none(threads: Threads, tmp_path: Path) -> None:
    models = Models(Settings(model_dirs=[tmp_path]), KINDS, threads)
    assert await models.first(Task.END_OF_TURN) is None
    await models.close()
