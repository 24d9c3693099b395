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
QUIET = 0.35
"""Below this chance nobody speaks: 0.15 under the threshold, as Silero's own rule for the end of speech."""
QUIET_FRAMES = (
    64  # 2 s: of 2, 4, 10 and 32 s the shortest found most speech after it; pauses within a sentence are shorter
)
WARM_FRAMES = 8
"""Without them a fresh state takes the first frames of faint noise for a little speech (0.1), each time."""


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
    """What the network remembers of one stream: its recurrent state and the end of the last frame.

    The state drifts where nobody speaks: after a minute of silence a quarter of a speaker's frames is no longer found. So after every
    `QUIET_FRAMES` without speech the network begins anew, as if it had heard only the last `WARM_FRAMES`. That depends on the frames alone,
    not on how many come at a time.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        import numpy as np

        self._session = session
        self._state = _fresh_state()
        self._context = np.zeros(CONTEXT_SIZE, np.float32)
        self._quiet = 0
        """Frames in a row without speech, since the state was last fresh."""
        self._recent: list[Samples] = []
        """What the network was given last, each of shape (n, 576), since the last speech."""

    def probabilities(self, samples: Samples) -> Samples:
        """The chance of speech in each frame. Takes shape (512 * n,), returns shape (n,)."""
        import numpy as np

        if not len(samples):
            return np.empty(0, np.float32)
        seen = self._with_context(samples.reshape(-1, FRAME_SIZE))
        found = []
        while len(seen):
            # No further than the state can stay as it is: nothing is computed in vain.
            part, seen = seen[: QUIET_FRAMES - self._quiet], seen[QUIET_FRAMES - self._quiet :]
            found.append(self._run(part))
            self._renew(part, found[-1])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _with_context(self, frames: Samples) -> Samples:
        """Each frame with the end of the one before, shape (n, 576)."""
        import numpy as np

        # Filled in place: for the one frame of a conversation, stacking would take a tenth of the time.
        seen = np.empty((len(frames), CONTEXT_SIZE + FRAME_SIZE), np.float32)
        seen[:, CONTEXT_SIZE:] = frames
        seen[0, :CONTEXT_SIZE] = self._context
        seen[1:, :CONTEXT_SIZE] = frames[:-1, -CONTEXT_SIZE:]
        self._context = seen[-1, -CONTEXT_SIZE:].copy()
        return seen

    def _run(self, seen: Samples) -> Samples:
        import numpy as np

        output, self._state["h"], self._state["c"] = self._session.run(None, {"input": seen, **self._state})
        return np.asarray(output, np.float32).reshape(-1)

    def _renew(self, seen: Samples, chances: Samples) -> None:
        """Begin anew where it has been quiet for long enough."""
        import numpy as np

        loud = np.flatnonzero(chances >= QUIET)
        if len(loud):
            self._recent.clear()
        self._quiet = len(chances) - 1 - int(loud[-1]) if len(loud) else self._quiet + len(chances)
        self._recent.append(seen[-WARM_FRAMES:].copy())  # a copy, or a whole recording would stay in memory
        if self._quiet >= QUIET_FRAMES:
            self._state = _fresh_state()
            self._run(np.concatenate(self._recent)[-WARM_FRAMES:])
            self._quiet = 0
            self._recent.clear()


def _fresh_state() -> dict[str, Samples]:
    import numpy as np

    return {name: np.zeros((1, 1, STATE_SIZE), np.float32) for name in ("h", "c")}
