"""Silero VAD: is somebody speaking in these 32 ms?

The weights are those in the faster-whisper wheel; the `silero-vad` package would bring torch.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from speaches.engines.base import Task
from speaches.engines.description import Description

if TYPE_CHECKING:
    import onnxruntime

    from speaches.engines.base import Samples
    from speaches.settings import Settings

NAME = "silero"
TASK = Task.VAD
BUILTIN = ("silero_vad_v6",)
PATTERNS: tuple[str, ...] = ()

FRAME_SIZE = 512  # samples at 16 kHz
CONTEXT_SIZE = 64  # samples of the frame before that the network sees too
STATE_SIZE = 128


def recognises(folder: Path) -> bool:
    return False


def describe(folder: Path | None) -> Description:
    return Description()


def load(folder: Path | None, settings: Settings) -> Silero:
    return Silero(_weights())


def _weights() -> Path:
    spec = importlib.util.find_spec("faster_whisper")  # finds the folder without the second that an import takes
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("faster-whisper, whose wheel carries silero_vad_v6.onnx, is not installed")
    return Path(spec.submodule_search_locations[0]) / "assets" / "silero_vad_v6.onnx"


class Silero:
    """One network for any number of streams."""

    def __init__(self, weights: Path) -> None:
        from speaches.engines.devices import onnx_session

        self._session = onnx_session(weights, "cpu", threads=1)  # 75 us a frame: more threads only add waiting

    def stream(self) -> SileroStream:
        return SileroStream(self._session)

    def close(self) -> None:
        del self._session


class SileroStream:
    """What the network remembers of one stream: its recurrent state and the end of the last frame."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        import numpy as np

        self._session = session
        self._state = {name: np.zeros((1, 1, STATE_SIZE), np.float32) for name in ("h", "c")}
        self._context = np.zeros(CONTEXT_SIZE, np.float32)

    def probabilities(self, samples: Samples) -> Samples:
        """The chance of speech in each frame. Takes shape (512 * n,), returns shape (n,)."""
        import numpy as np

        if not len(samples):
            return np.empty(0, np.float32)
        frames = samples.reshape(-1, FRAME_SIZE)
        # Filled in place: for the one frame of a conversation, stacking would take a tenth of the time.
        seen = np.empty((len(frames), CONTEXT_SIZE + FRAME_SIZE), np.float32)
        seen[:, CONTEXT_SIZE:] = frames
        seen[0, :CONTEXT_SIZE] = self._context
        seen[1:, :CONTEXT_SIZE] = frames[:-1, -CONTEXT_SIZE:]
        output, self._state["h"], self._state["c"] = self._session.run(None, {"input": seen, **self._state})
        self._context = seen[-1, -CONTEXT_SIZE:].copy()
        return np.asarray(output, np.float32).reshape(-1)
