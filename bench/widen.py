"""Write the tests' tiny Whisper in the shape of a real one: the same words for the real model's work.

    python -m bench.widen OUT --like tiny      # 4 + 4 layers of width 384
    python -m bench.widen OUT --like small     # 12 + 12 layers of width 768

Every activation is copied K times, with weights divided by K where copies meet; added layers pass their input through. So the text stays
the same while the arithmetic is that of whisper-tiny or whisper-small.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from ctranslate2.specs import whisper_spec

TINY = Path(__file__).parent.parent / "tests" / "models" / "speaches-test" / "whisper-synth"
SHAPES = {"tiny": (2, 4), "small": (4, 12)}
"""Copies of each activation, layers of encoder and decoder."""
REAL_LAYERS = 3
HEAD = 64  # width of an attention head
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

Weights = dict[str, np.ndarray[Any, Any]]


def read_weights(file: BinaryIO) -> Weights:
    """The variables of a CTranslate2 model (ctranslate2/specs/model_spec.py), int8 ones as floats."""

    def number(kind: str) -> int:
        (value,) = struct.unpack(kind, file.read(struct.calcsize(kind)))
        return int(value)

    def string() -> str:
        return file.read(number("H"))[:-1].decode()

    number("I"), string(), number("I")  # version, name, revision
    found: Weights = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        dtype = DTYPES[number("B")]
        found[name] = np.frombuffer(file.read(number("I")), dtype).reshape(shape)
    return {name: _as_float(found, name) for name in found if not name.endswith("_scale")}


def _as_float(found: Weights, name: str) -> np.ndarray[Any, Any]:
    scale = found.get(name + "_scale")
    if scale is None:
        return found[name]
    return (found[name] / scale.reshape(-1, *[1] * (found[name].ndim - 1))).astype(np.float32)


class Widener:
    """Fills the specification of a wide model from the weights of a narrow one."""

    def __init__(self, weights: Weights, copies: int) -> None:
        self._weights = weights
        self._copies = copies

    def vector(self, name: str) -> np.ndarray[Any, Any]:
        return np.concatenate([self._weights[name]] * self._copies, -1)

    def matrix(self, name: str, parts: int = 1, *, first: bool = False) -> np.ndarray[Any, Any]:
        """A weight with its rows copied, and its columns too unless it is the `first` layer; `parts` matrices lie stacked in it."""
        stacked = np.split(self._weights[name], parts)
        if not first:
            stacked = [np.concatenate([part] * self._copies, 1) / self._copies for part in stacked]
        return np.concatenate([part for whole in stacked for part in [whole] * self._copies], 0)

    def bias(self, name: str, parts: int = 1) -> np.ndarray[Any, Any]:
        return np.concatenate(
            [part for whole in np.split(self._weights[name], parts) for part in [whole] * self._copies]
        )

    def linear(self, to: Any, name: str, parts: int = 1, *, silent: bool = False) -> None:
        to.weight, to.bias = self.matrix(f"{name}/weight", parts), self.bias(f"{name}/bias", parts)
        if silent:  # adds nothing to its input
            to.weight, to.bias = to.weight * 0, to.bias * 0

    def norm(self, to: Any, name: str, scale: float = 1.0) -> None:
        to.gamma, to.beta = self.vector(f"{name}/gamma") * np.float32(scale), self.vector(f"{name}/beta")

    def layer(self, to: Any, name: str, *, silent: bool) -> None:
        self._attention(to.self_attention, f"{name}/self_attention", (3, 1), silent)
        if hasattr(to, "attention"):
            self._attention(to.attention, f"{name}/attention", (1, 2, 1), silent)
        self.norm(to.ffn.layer_norm, f"{name}/ffn/layer_norm")
        self.linear(to.ffn.linear_0, f"{name}/ffn/linear_0")
        self.linear(to.ffn.linear_1, f"{name}/ffn/linear_1", silent=silent)

    def _attention(self, to: Any, name: str, parts: tuple[int, ...], silent: bool) -> None:
        self.norm(to.layer_norm, f"{name}/layer_norm")
        for number, stacked in enumerate(parts):
            self.linear(
                to.linear[number], f"{name}/linear_{number}", stacked, silent=silent and number == len(parts) - 1
            )


def build(like: str) -> whisper_spec.WhisperSpec:
    copies, layers = SHAPES[like]
    with (TINY / "model.bin").open("rb") as file:
        weights = read_weights(file)
    heads = weights["encoder/conv1/bias"].shape[0] // HEAD * copies
    spec = whisper_spec.WhisperSpec(layers, heads, layers, heads)
    widener = Widener(weights, copies)
    spec.encoder.conv1.weight = widener.matrix("encoder/conv1/weight", first=True)
    spec.encoder.conv2.weight = widener.matrix("encoder/conv2/weight")
    for conv in ("conv1", "conv2"):
        getattr(spec.encoder, conv).bias = widener.vector(f"encoder/{conv}/bias")
    for side, part in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        part.position_encodings.encodings = widener.vector(f"{side}/position_encodings/encodings")
        for number in range(layers):
            name = f"{side}/layer_{min(number, REAL_LAYERS - 1)}"
            widener.layer(part.layer[number], name, silent=number >= REAL_LAYERS)
    widener.norm(spec.encoder.layer_norm, "encoder/layer_norm")
    widener.norm(spec.decoder.layer_norm, "decoder/layer_norm", 1 / copies)
    spec.decoder.embeddings.weight = widener.vector("decoder/embeddings/weight")
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.decoder.scale_embeddings = False
    _configure(spec, copies)
    return spec


def _configure(spec: whisper_spec.WhisperSpec, copies: int) -> None:
    config = json.loads((TINY / "config.json").read_text())
    narrow_heads = len({head for _, head in config["alignment_heads"]})
    heads = [[layer, head + copy * narrow_heads] for layer, head in config["alignment_heads"] for copy in range(copies)]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = config["suppress_ids"], config["suppress_ids_begin"]
    spec.config.lang_ids, spec.config.alignment_heads = config["lang_ids"], heads
    spec.register_vocabulary(json.loads((TINY / "vocabulary.json").read_text()))


def write(out: Path, like: str) -> Path:
    """Write the model into the folder `out`, int8."""
    spec = build(like)
    spec.validate()
    spec.optimize(quantization="int8")
    out.mkdir(parents=True, exist_ok=True)
    spec.save(str(out))
    for name in ("tokenizer.json", "preprocessor_config.json"):
        shutil.copy(TINY / name, out)
    return out


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--like", choices=list(SHAPES), default="tiny")
    given = arguments.parse_args()
    print(write(given.out, given.like))
