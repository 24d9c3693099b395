from __future__ import annotations

import contextlib
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.engines.onnx_file import signature
from tests.recordings import TINY_MODELS

MODELS = sorted([*TINY_MODELS.rglob("*.onnx"), *Path(__file__).parent.glob("tiny/*/*.onnx")])
GTCRN = next(file for file in MODELS if file.name == "gtcrn_simple.onnx")


@pytest.mark.parametrize("model", MODELS, ids=lambda file: file.parent.name)
def test_a_models_signature_is_what_the_library_says(model: Path) -> None:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    found = signature(model)
    for said, values in ((found.inputs, session.get_inputs()), (found.outputs, session.get_outputs())):
        assert list(said) == [value.name for value in values]
        for value in values:
            assert list(said[value.name]) == [size if isinstance(size, int) else None for size in value.shape]


def test_an_empty_file_has_no_signature(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    assert signature(tmp_path / "model.onnx").inputs == {}


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 40, b"\x3a\x7f"]
)
def test_another_file_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="no ONNX file"):
        signature(file)


@given(cut=st.integers(0, GTCRN.stat().st_size), put=st.binary(max_size=8))
def test_a_broken_file_is_told_or_read(cut: int, put: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = GTCRN.read_bytes()
    file = tmp_path_factory.getbasetemp() / "broken.onnx"
    file.write_bytes(whole[:cut] + put + whole[cut + len(put) :])
    with contextlib.suppress(ValueError):
        signature(file)
