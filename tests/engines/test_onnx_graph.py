"""One more answer of an ONNX model."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from speaches.engines.onnx_graph import with_output_of


def session(model: bytes) -> object:
    import onnxruntime

    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def model(folder: Path) -> bytes:
    return (folder / "piper-en_US-synth-medium" / "model.onnx").read_bytes()


def test_the_model_answers_one_more_value_after_its_own(model: bytes) -> None:
    changed = with_output_of(model, "Ceil")
    assert changed is not None
    inputs = {
        "input": np.array([[1, 0, 20, 0, 2]], np.int64),
        "input_lengths": np.array([5], np.int64),
        "scales": np.array([0.667, 1.0, 0.8], np.float32),
    }
    (before,), (after, frames) = (one.run(None, inputs) for one in (session(model), session(changed)))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(before, after)
    assert frames.size == 5
    assert frames.sum() * 256 == after.size


def test_what_it_answers_already_is_not_added_again(model: bytes) -> None:
    changed = with_output_of(model, "Ceil")
    assert changed is not None
    assert with_output_of(changed, "Ceil") is None


@pytest.mark.parametrize("operator", ["Conv9", "", "Gather"])
def test_no_node_of_an_operator_or_several_is_none(model: bytes, operator: str) -> None:
    assert with_output_of(model, operator) is None


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff" * 100, b"not a model", b"\x3a\xff\xff\xff\xff\x0f", b"\x80" * 50]
)
def test_what_is_no_model_is_none(content: bytes) -> None:
    assert with_output_of(content, "Ceil") is None


def test_half_a_model_is_none(model: bytes) -> None:
    assert [with_output_of(model[:length], "Ceil") for length in range(1, len(model), len(model) // 50)] == [None] * 51


def test_a_broken_model_never_fails_otherwise(model: bytes) -> None:
    chance = random.Random(1)
    for _ in range(50):
        broken = bytearray(model)
        for _ in range(20):
            broken[chance.randrange(2000)] = chance.randrange(256)
        found = with_output_of(bytes(broken), "Ceil")
        assert found is None or found.startswith(bytes(broken))
