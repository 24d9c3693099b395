"""Smart Turn: has the user finished, by how the voice sounds?

The model is Pipecat's smart-turn v3 (https://huggingface.co/pipecat-ai/smart-turn-v3): Whisper tiny's encoder with one output. It takes, as
in pipecat-ai 1.14's `local_smart_turn_v3.py`, the turn with silence before it up to 8 s, brought to mean 0 and variance 1, as Whisper's
log-mel features. Its output is called `logits`, but is a probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speaches.engines.base import SAMPLE_RATE, Task
from speaches.engines.description import Description
from speaches.engines.onnx_file import signature

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

NAME = "smart-turn"
TASK = Task.END_OF_TURN
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("smart-turn*.onnx", "README.md")

HEARD_SECONDS = 8
MELS, FRAMES = 80, 800


def recognises(folder: Path) -> bool:
    return _weights(folder) is not None


def describe(folder: Path | None) -> Description:
    return Description()


def load(folder: Path | None, settings: Settings) -> SmartTurn:
    weights = None if folder is None else _weights(folder)
    assert weights is not None, "checked by recognises"
    return SmartTurn(weights)


def _weights(folder: Path) -> Path | None:
    """The newest of its versions, the one for the CPU where there are two."""
    files = [file for file in folder.glob("*.onnx") if _is_smart_turn(file)]
    return max(files, key=lambda file: ("gpu" not in file.name, file.name), default=None)


def _is_smart_turn(file: Path) -> bool:
    if not file.stat().st_size:  # a file of the hub, not fetched yet: its name has to do
        return file.name.startswith("smart-turn")
    return signature(file).inputs.get("input_features", ())[1:] == (MELS, FRAMES)


class SmartTurn:
    def __init__(self, weights: Path) -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        from speaches.engines.devices import onnx_session

        self._session = onnx_session(weights, "cpu", threads=1)
        self._features = FeatureExtractor(feature_size=MELS, chunk_length=HEARD_SECONDS)

    def likelihood_of_end(self, samples: Samples) -> float:
        """How likely a turn that sounds like this so far is finished, 0 to 1.

        Takes shape (n,), 16 kHz, best with 200 ms of silence at its end; what is before the last 8 s does not count.
        """
        [[likelihood]] = self._session.run(None, {"input_features": self._prepared(samples)})[0]
        return min(max(float(likelihood), 0.0), 1.0)

    def close(self) -> None:
        del self._session

    def _prepared(self, samples: Samples) -> Samples:
        """Features of shape (1, 80, 800)."""
        import numpy as np

        heard = samples[-HEARD_SECONDS * SAMPLE_RATE :]
        padded = np.pad(heard, (HEARD_SECONDS * SAMPLE_RATE - len(heard), 0))
        level = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
        features = self._features(level, padding=0)
        return np.asarray(features[None, :, :FRAMES], np.float32)
