"""Make an ONNX model answer one of its inner values too, without the library `onnx` (30 MB).

Two messages of Protocol Buffers put one after the other are one message, whose lists go on: so an output is added to a model by adding
some bytes to its end. What has to be read is only which value it is.
https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

from __future__ import annotations

from collections.abc import Iterator

# Numbers of fields in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_OUTPUT, _NODE_OPERATOR = 2, 4
_VALUE_NAME = 1

# Kinds of fields: how they are written.
_VARINT, _EIGHT_BYTES, _LENGTH_FIRST, _FOUR_BYTES = 0, 1, 2, 5


def with_output_of(model: bytes, operator: str) -> bytes | None:
    """The model with what its one node of this operator gives as its last output.

    None where it has no such node or several, where it answers that already, and where the bytes are no ONNX model.
    """
    try:
        graph = [span for number, span in _fields(model, slice(0, len(model))) if number == _MODEL_GRAPH]
        parts = [part for span in graph for part in _fields(model, span)]
        nodes = [dict(_fields(model, span)) for number, span in parts if number == _GRAPH_NODE]
        outputs = [dict(_fields(model, span)) for number, span in parts if number == _GRAPH_OUTPUT]
        names = [
            model[node[_NODE_OUTPUT]]
            for node in nodes
            if model[node.get(_NODE_OPERATOR, slice(0))] == operator.encode()
        ]
        known = [model[output[_VALUE_NAME]] for output in outputs]
    except (IndexError, KeyError, ValueError):
        return None
    if len(names) != 1 or names[0] in known:
        return None
    value = _message(_VALUE_NAME, names[0])
    return model + _message(_MODEL_GRAPH, _message(_GRAPH_OUTPUT, value))


def _fields(data: bytes, span: slice) -> Iterator[tuple[int, slice]]:
    """The fields of a message that are messages, texts or bytes: number and place."""
    at: int = span.start
    while at < span.stop:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _LENGTH_FIRST:
            length, at = _varint(data, at)
            if at + length > span.stop:
                raise ValueError("a field ends after its message")
            yield key >> 3, slice(at, at + length)
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no message has fields of kind {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number of more than ten bytes")


def _message(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _LENGTH_FIRST) + _as_varint(len(content)) + content


def _as_varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
