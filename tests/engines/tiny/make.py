"""Makes the models of this folder: what the real ones take and give, in a few operations that a test can foresee. Needs the package `onnx`.

python tests/engines/tiny/make.py
"""

# mypy: ignore-errors

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent


def smart_turn() -> onnx.ModelProto:
    """Finished (0.98) where the last 200 ms are quieter than the rest, else not (0.02)."""
    nodes = [
        helper.make_node("Slice", ["input_features", "starts", "ends", "axes"], ["last"]),
        helper.make_node("ReduceMean", ["last"], ["level_of_last"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["input_features"], ["level"], axes=[1, 2], keepdims=0),
        helper.make_node("Less", ["level_of_last", "level"], ["quieter"]),
        helper.make_node("Cast", ["quieter"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["as_float", "range"], ["scaled"]),
        helper.make_node("Add", ["scaled", "least"], ["likelihood"]),
        helper.make_node("Unsqueeze", ["likelihood", "column"], ["logits"]),
    ]
    constants = {
        "starts": np.array([-20]), "ends": np.array([800]), "axes": np.array([2]), "column": np.array([1]),
        "range": np.array([0.96], np.float32), "least": np.array([0.02], np.float32),
    }  # fmt: skip
    inputs = {"input_features": ["batch", 80, 800]}
    return model("smart-turn", nodes, constants, inputs, {"logits": ["batch", 1]})


def gtcrn() -> onnx.ModelProto:
    """Leaves out what is above 4 kHz. The first frame of a stream is silent, the next four get louder: as far as a cache has counted."""
    nodes = [
        helper.make_node("ReduceMax", ["inter_cache"], ["count"], keepdims=0),
        helper.make_node("Min", ["count", "whole"], ["gain"]),
        helper.make_node("Mul", ["mix", "low_pass"], ["low"]),
        helper.make_node("Mul", ["low", "gain"], ["enh"]),
        helper.make_node("Identity", ["conv_cache"], ["conv_cache_out"]),
        helper.make_node("Identity", ["tra_cache"], ["tra_cache_out"]),
        helper.make_node("Add", ["inter_cache", "step"], ["inter_cache_out"]),
    ]
    low_pass = (np.arange(257) <= 128).astype(np.float32).reshape(1, 257, 1, 1)
    constants = {"whole": np.array(1, np.float32), "step": np.array(0.25, np.float32), "low_pass": low_pass}
    caches = {"conv_cache": [2, 1, 16, 16, 33], "tra_cache": [2, 3, 1, 1, 16], "inter_cache": [2, 1, 33, 16]}
    spectrum = [1, 257, 1, 2]
    outputs = {"enh": spectrum, **{f"{name}_out": shape for name, shape in caches.items()}}
    return model("gtcrn", nodes, constants, {"mix": spectrum, **caches}, outputs)


def model(name: str, nodes: list[onnx.NodeProto], constants: dict, inputs: dict, outputs: dict) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    onnx.save(smart_turn(), HERE / "smart-turn" / "smart-turn-v3.2-cpu.onnx")
    onnx.save(gtcrn(), HERE / "gtcrn" / "gtcrn_simple.onnx")
