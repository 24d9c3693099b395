from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from speaches.engines import devices
from speaches.engines.devices import cores, onnx_session, whisper_device

AVAILABLE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "wanted"),
    [
        ("max 100000", AVAILABLE),
        ("100000 100000", 1),
        ("150000 100000", min(2, AVAILABLE)),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("100000000 100000", AVAILABLE),
        ("", AVAILABLE),
        ("nonsense", AVAILABLE),
    ],
)
def test_cores_obey_the_containers_quota(tmp_path: Path, quota: str, wanted: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert cores(file) == wanted


def test_without_a_quota_cores_are_those_this_process_may_use(tmp_path: Path) -> None:
    assert cores(tmp_path / "missing") == AVAILABLE


def test_cuda_asked_for_without_a_device_is_a_warning_and_the_cpu(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with caplog.at_level(logging.WARNING):
        session = onnx_session(folder / "kokoro-synth" / "model.onnx", "cuda")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "has no CUDA" in caplog.text


def test_cuda_that_is_there_but_broken_is_a_warning_and_the_cpu(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenRuntime:
        @staticmethod
        def InferenceSession(*arguments: object, **options: object) -> None:
            raise RuntimeError("CUDA failure 35: driver version is insufficient")

    real = devices._cuda_session
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(devices, "_cuda_session", lambda runtime, *rest: real(BrokenRuntime, *rest))
    with caplog.at_level(logging.WARNING):
        session = onnx_session(folder / "kokoro-synth" / "model.onnx", "auto")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "driver version is insufficient" in caplog.text


def test_auto_without_a_device_is_the_cpu_and_says_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session = onnx_session(folder / "kokoro-synth" / "model.onnx", "cpu", threads=1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_session_options().intra_op_num_threads == 1
    assert caplog.text == ""


def test_the_compute_type_is_int8_on_the_cpu_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whisper_device("cpu", "default") == ("cpu", "int8")
    assert whisper_device("cpu", "float32") == ("cpu", "float32")
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device: {"float16", "float32"})
    assert whisper_device("auto", "default") == ("cuda", "float16")
    assert whisper_device("cpu", "default") == ("cpu", "auto")
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    assert whisper_device("auto", "default")[0] == "cpu"


def test_the_memory_of_a_long_text_is_given_back(folder: Path) -> None:
    session = onnx_session(folder / "kokoro-synth" / "model.onnx", "cpu")
    assert not session.get_session_options().enable_cpu_mem_arena
