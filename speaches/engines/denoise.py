"""GTCRN: takes noise out of a stream of speech, 16 ms at a time, so that the detector of speech hears it better.

The model is `gtcrn_simple.onnx` of https://github.com/Xiaobin-Rong/gtcrn (folder `stream/onnx_models`; sherpa-onnx offers it too): 48 k
weights, 16 kHz. Each run takes one frame of a short-time Fourier transform and what the model remembers, and gives both back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speaches.engines.base import Task
from speaches.engines.description import Description
from speaches.engines.onnx_file import signature

if TYPE_CHECKING:
    import onnxruntime

    from speaches.engines.base import Samples
    from speaches.settings import Settings

NAME = "gtcrn"
TASK = Task.DENOISING
BUILTIN: tuple[str, ...] = ()
PATTERNS = ("gtcrn*.onnx", "README.md")

HOP = 256  # samples, 16 ms
WINDOW = 2 * HOP
SPECTRUM = (1, WINDOW // 2 + 1, 1, 2)  # batch, frequency, time, real and imaginary part
CACHES = ("conv_cache", "tra_cache", "inter_cache")


def recognises(folder: Path) -> bool:
    return _weights(folder) is not None


def describe(folder: Path | None) -> Description:
    return Description()


def load(folder: Path | None, settings: Settings) -> Gtcrn:
    weights = None if folder is None else _weights(folder)
    assert weights is not None, "checked by recognises"
    return Gtcrn(weights)


def _weights(folder: Path) -> Path | None:
    return next((file for file in sorted(folder.glob("*.onnx")) if _is_gtcrn(file)), None)


def _is_gtcrn(file: Path) -> bool:
    if not file.stat().st_size:  # a file of the hub, not fetched yet: its name has to do
        return file.name.startswith("gtcrn")
    inputs = signature(file).inputs
    return inputs.get("mix") == SPECTRUM and all(name in inputs for name in CACHES)


class Gtcrn:
    """One network for any number of streams."""

    def __init__(self, weights: Path) -> None:
        from speaches.engines.devices import onnx_session

        self._session = onnx_session(weights, "cpu", threads=1)

    def stream(self) -> GtcrnStream:
        return GtcrnStream(self._session)

    def close(self) -> None:
        del self._session


class GtcrnStream:
    """What the network remembers of one stream, and the halves of a window that the next samples complete."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        import numpy as np

        self._session = session
        shapes = {given.name: given.shape for given in session.get_inputs()}
        self._caches = {name: np.zeros(shapes[name], np.float32) for name in CACHES}
        # The square root of a Hann window, there and back: two halves that overlap add up to 1.
        self._window = np.sin(np.pi * np.arange(WINDOW) / WINDOW).astype(np.float32)
        self._heard = np.zeros(HOP, np.float32)
        self._begun = np.zeros(HOP, np.float32)

    def denoise(self, samples: Samples) -> Samples:
        """The same stream without its noise, 256 samples (16 ms) late. Takes and returns shape (256 * n,)."""
        import numpy as np

        clean = np.empty(len(samples), np.float32)
        for start in range(0, len(samples), HOP):
            hop = samples[start : start + HOP]
            frame = self._filtered(np.concatenate((self._heard, hop)))
            clean[start : start + HOP] = self._begun + frame[:HOP]
            self._heard, self._begun = hop.copy(), frame[HOP:]
        return clean

    def _filtered(self, frame: Samples) -> Samples:
        """One window of 512 samples through the network."""
        import numpy as np

        spectrum = np.fft.rfft(frame * self._window)
        mix = np.stack((spectrum.real, spectrum.imag), axis=-1).astype(np.float32).reshape(SPECTRUM)
        names = ["enh", *(f"{name}_out" for name in CACHES)]
        enhanced, *caches = self._session.run(names, {"mix": mix, **self._caches})
        self._caches = dict(zip(CACHES, caches, strict=True))
        real, imaginary = np.asarray(enhanced).reshape(-1, 2).T
        return np.asarray(np.fft.irfft(real + 1j * imaginary) * self._window, np.float32)
