"""Where models run: the cores this process may use, and the CUDA device if it can really be used."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

    from speaches.settings import Device

logger = logging.getLogger(__name__)

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = CGROUP_QUOTA) -> int:
    """How many cores this process may keep busy: affinity and the container's quota, not what the host has.

    More threads than that make decoding 10 to 40 times slower, because they wait for each other by spinning.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        limit, period = quota.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if limit == "max" else max(1, min(allowed, math.ceil(int(limit) / int(period))))


def onnx_session(
    path: Path, device: Device, *, threads: int | None = None, content: bytes | None = None
) -> onnxruntime.InferenceSession:
    """Load an ONNX model with explicit providers: the file, or its content where that was changed.

    `auto` takes CUDA where the build has it and it works, else the CPU, and says so: onnxruntime-gpu lists CUDA even when cuDNN is
    missing, and then runs on the CPU without a word. Left to itself it would also try TensorRT first.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Spinning threads take the cores that other engines need between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else a text of many phonemes would keep its memory for ever: half a gigabyte. Runs take no longer without (0 to 5 % were measured);
    # letting the arena shrink after each of them takes a fifth of the time.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not cuda:
        logger.warning(
            "TTS_INFERENCE_DEVICE is cuda, but this onnxruntime has no CUDA (see the extra `gpu`): using the CPU."
        )
    if device != "cpu" and cuda:
        session = _cuda_session(onnxruntime, path, options, content)
        if session is not None:
            return session
    return onnxruntime.InferenceSession(content or str(path), options, providers=["CPUExecutionProvider"])


def _cuda_session(runtime: Any, path: Path, options: Any, content: bytes | None) -> Any:
    """A session that really is on CUDA, or None."""
    # EXHAUSTIVE, the default, searches anew for each length of text: on an H200 148 ms
    # instead of 17 ms a sentence (measured by sglang-omni, its pull request 2176).
    cuda = (
        "CUDAExecutionProvider",
        {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
    )
    try:
        if hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()
        session = runtime.InferenceSession(content or str(path), options, providers=[cuda, "CPUExecutionProvider"])
    except Exception as error:
        logger.warning("CUDA is there but unusable for %s (%s): using the CPU.", path.name, error)
        return None
    if "CUDAExecutionProvider" not in session.get_providers():
        logger.warning(
            "CUDA is there but onnxruntime could not use it for %s (is cuDNN 9 for CUDA 12 installed?): using the CPU.",
            path.name,
        )
    return session


def whisper_device(wanted: Device, compute_type: str) -> tuple[str, str]:
    """The device and compute type to load Whisper with."""
    if wanted != "cpu":
        _load_cublas()
    import ctranslate2

    device = "cuda" if wanted != "cpu" and ctranslate2.get_cuda_device_count() > 0 else "cpu"
    if wanted == "cuda" and device == "cpu":
        logger.warning("WHISPER__INFERENCE_DEVICE is cuda, but CTranslate2 sees no CUDA device: using the CPU.")
    if compute_type != "default":
        return device, compute_type
    best = "float16" if device == "cuda" else "int8"
    return device, best if best in ctranslate2.get_supported_compute_types(device) else "auto"


def _load_cublas() -> None:
    """Load the cuBLAS that came as a wheel (extra `gpu`): CTranslate2 asks for it by name, and it is on no search path."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for library in sorted(Path(folder).glob("cublas/lib/libcublas*.so.12")):
            with contextlib.suppress(OSError):  # it needs a driver; where there is none, the CPU it is
                ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
