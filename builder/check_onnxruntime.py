"""Check that the ONNX Runtime in this environment is one build, the right one, and can load what it needs.

An `onnxruntime-gpu` names CUDA among its providers even where the libraries behind it are missing, and runs on the CPU then. So they are
loaded here. That needs no GPU, and the build of an image has none.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import onnxruntime


def version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def check(variant: str) -> str:
    """What was found, in one line. Raises SystemExit where it isn't what the variant needs."""
    name, other = ("onnxruntime-gpu", "onnxruntime") if variant == "gpu" else ("onnxruntime", "onnxruntime-gpu")
    if version(other) is not None:
        sys.exit(f"{other} is installed beside {name}: they overwrite each other's files.")
    if onnxruntime.__version__ != version(name):
        sys.exit(f"The files are of onnxruntime {onnxruntime.__version__}, the package is {name} {version(name)}.")
    providers = onnxruntime.get_available_providers()
    if ("CUDAExecutionProvider" in providers) != (variant == "gpu"):
        sys.exit(f"{name} offers {', '.join(providers)}.")
    if variant == "gpu":
        onnxruntime.preload_dlls()  # from the nvidia packages
        folder = Path(onnxruntime.__file__).parent / "capi"
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        try:
            ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
        except OSError as error:
            sys.exit(f"{name} would run on the CPU: {error}")
    return f"{name} {version(name)}: {', '.join(providers)}"


if __name__ == "__main__":
    print(check(sys.argv[1]))
