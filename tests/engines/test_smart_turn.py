from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from speaches.engines import smart_turn
from speaches.engines.registry import KINDS
from speaches.engines.smart_turn import SmartTurn
from speaches.settings import Settings
from tests.recordings import noise, say, silence

TINY = Path(__file__).parent / "tiny" / "smart-turn"


@pytest.fixture(scope="module")
def judge() -> SmartTurn:
    return smart_turn.load(TINY, Settings())


def test_a_turn_with_a_pause_at_its_end_is_judged_by_its_end(judge: SmartTurn) -> None:
    speech = say("What is the weather in London today?")
    assert judge.likelihood_of_end(np.concatenate([speech, silence(0.3)])) == pytest.approx(0.98)
    assert judge.likelihood_of_end(speech[: len(speech) // 2]) == pytest.approx(0.02)


def test_only_the_last_8_seconds_count(judge: SmartTurn) -> None:
    end = noise(8, seed=1)
    assert np.array_equal(judge._prepared(np.concatenate([noise(20, level=0.9), end])), judge._prepared(end))


def test_features_are_those_the_model_was_trained_on(judge: SmartTurn) -> None:
    speech = say("Hello world.")
    features = judge._prepared(speech)
    assert features.shape == (1, 80, 800)
    assert features.dtype == np.float32
    begin = 800 - len(speech) // 160
    assert features[0, :, : begin - 3].max() < features[0, :, begin:].mean(), "the silence is before the speech"
    quiet = judge._prepared(speech * 0.1)
    assert quiet == pytest.approx(features, abs=0.01), "how loud it is does not count"


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), silence(1), silence(30), np.ones(16_000, np.float32)])
def test_nothing_to_hear_has_a_likelihood_all_the_same(judge: SmartTurn, samples: np.ndarray) -> None:
    assert 0 <= judge.likelihood_of_end(samples) <= 1


def test_the_files_tell_which_engine_a_model_is_for() -> None:
    assert [kind.NAME for kind in KINDS if kind.recognises(TINY)] == ["smart-turn"]


def test_of_several_versions_the_newest_for_the_cpu_is_taken(tmp_path: Path) -> None:
    for version in ("v3.0", "v3.1-cpu", "v3.2-cpu", "v3.2-gpu", "v9-gpu"):
        shutil.copy(TINY / "smart-turn-v3.2-cpu.onnx", tmp_path / f"smart-turn-{version}.onnx")
    assert smart_turn._weights(tmp_path) == tmp_path / "smart-turn-v3.2-cpu.onnx"


def test_a_repository_of_the_hub_is_recognised_by_names_before_it_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "smart-turn-v3.2-cpu.onnx").touch()
    assert [kind.NAME for kind in KINDS if kind.recognises(tmp_path)] == ["smart-turn"]
