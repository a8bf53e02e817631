"""The constant tensors of an ONNX file, by name, read from its bytes: a protocol buffer of few kinds of fields.

Field numbers are those of onnx.proto (github.com/onnx/onnx): ModelProto.graph 7; GraphProto.initializer 5;
TensorProto.dims 1, data_type 2, float_data 4, name 8, raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, FLOATS, NAME, RAW = 1, 2, 4, 8, 9
TYPES = {1: "<f4", 7: "<i8", 11: "<f8"}
"""How NumPy names the types of numbers of a tensor."""


def tensors(path: Path) -> dict[str, np.ndarray]:
    """All initializers of the graph."""
    (graph,) = (value for number, value in fields(path.read_bytes()) if number == GRAPH)
    return dict(_tensor(value) for number, value in fields(_bytes(graph)) if number == INITIALIZER)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and the value of each field of a message; numbers of fixed width as their bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        else:
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}[kind]
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return value, at


def _tensor(message: int | bytes) -> tuple[str, np.ndarray]:
    """Name and numbers of a TensorProto. Sizes may be one field each or packed into one."""
    shape: list[int] = []
    name, kind, raw, floats = "", 1, b"", b""
    for number, value in fields(_bytes(message)):
        if number == DIMS:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == DATA_TYPE:
            assert isinstance(value, int)
            kind = value
        elif number == NAME:
            name = _bytes(value).decode()
        elif number == RAW:
            raw = _bytes(value)
        elif number == FLOATS:
            floats += _bytes(value)
    return name, np.frombuffer(raw, TYPES[kind]).reshape(shape) if raw else np.frombuffer(floats, "<f4").reshape(shape)


def _packed(message: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(message):
        number, at = _varint(message, at)
        numbers.append(number)
    return numbers


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value
