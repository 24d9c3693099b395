"""What an ONNX model takes and gives, read from its file without a library: nothing is loaded to see what a folder holds.

The file is a protobuf message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Only the few fields that tell are read; weights are
stepped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

Shape: TypeAlias = tuple[int | None, ...]
"""None where a size may vary."""

GRAPH = 7  # in ModelProto
INPUT, OUTPUT = 11, 12  # in GraphProto
NAME, TYPE = 1, 2  # in ValueInfoProto
TENSOR, SHAPE, DIMENSION, SIZE = 1, 2, 1, 1  # in TypeProto, TypeProto.Tensor, TensorShapeProto, Dimension


@dataclass(frozen=True)
class Signature:
    inputs: dict[str, Shape] = field(default_factory=dict)
    outputs: dict[str, Shape] = field(default_factory=dict)


def signature(path: Path) -> Signature:
    """The inputs and outputs of a model, empty for an empty file. Raises ValueError if it is no ONNX file."""
    found = Signature()
    end = path.stat().st_size
    with path.open("rb") as file:
        for model_field, graph_end in _fields(file, end):
            if model_field != GRAPH:
                continue
            for graph_field, value_end in _fields(file, graph_end):
                if graph_field in (INPUT, OUTPUT):
                    name, shape = _value(file, value_end)
                    (found.inputs if graph_field == INPUT else found.outputs)[name] = shape
    return found


def _value(file: BinaryIO, end: int) -> tuple[str, Shape]:
    name, shape = "", []
    for number, stop in _fields(file, end):
        if number == NAME:
            name = file.read(stop - file.tell()).decode()
        elif number == TYPE:
            for dimension_end in _within(file, stop, TENSOR, SHAPE, DIMENSION):
                shape.append(next((size for part, size in _fields(file, dimension_end) if part == SIZE), None))
    return name, tuple(shape)


def _within(file: BinaryIO, end: int, number: int, *numbers: int) -> Iterator[int]:
    """Where each message ends that lies at this path of fields. The file stands at its start."""
    for found, stop in _fields(file, end):
        if found == number and numbers:
            yield from _within(file, stop, *numbers)
        elif found == number:
            yield stop


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The fields of the message that goes on to `end`: their numbers, and where they end, or of a number what it is.

    While one is looked at, the file stands at its start.
    """
    while file.tell() < end:
        key = _varint(file)
        match key & 7:
            case 0:
                yield key >> 3, _varint(file)
                continue
            case 1:
                stop = file.tell() + 8
            case 2:
                size = _varint(file)
                stop = file.tell() + size
                if stop > end:
                    raise ValueError("a field is longer than the message it is in: this is no ONNX file")
                yield key >> 3, stop
            case 5:
                stop = file.tell() + 4
            case kind:
                raise ValueError(f"a field is of kind {kind}: this is no ONNX file")
        file.seek(stop)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends within a number: this is no ONNX file")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is longer than 64 bits: this is no ONNX file")
