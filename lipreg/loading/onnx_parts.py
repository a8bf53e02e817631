"""ONNX's parts of activations, along any axis but the batch axis, casts, and choices by comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.loading.onnx_node import NotRead, OnnxConstant, OnnxNode

Index = tuple[Any, ...]
"""An index as brackets take it."""


class Indexed(nn.Module):
    """x[index].

    Args:
        index: keeps the whole batch axis.
    """

    def __init__(self, index: Index) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        return x[self.index]


class Placed(nn.Module):
    """A function of activations and of constants, each at its place among the arguments.

    Args:
        function: takes tensors; it can be pickled.
        constants: by their places among its arguments.
        count: how many arguments it has.
    """

    def __init__(self, function: Callable[..., Tensor], constants: dict[int, Tensor], count: int) -> None:
        super().__init__()
        self.function, self.places, self.count = function, tuple(constants), count
        for place, constant in constants.items():
            self.register_buffer(f"constant_{place}", constant)

    def forward(self, *parts: Tensor) -> Tensor:
        activations = iter(parts)
        arguments = [
            getattr(self, f"constant_{i}") if i in self.places else next(activations) for i in range(self.count)
        ]
        return self.function(*arguments)


class Cast(nn.Module):
    """Numbers in another dtype of floats, and truth values as 0 and 1.

    Args:
        dtype: float32 or float64.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def cast(node: OnnxNode) -> nn.Module:
    """A cast to floats of 32 or 64 bits, from these and from truth values.

    Raises:
        NotRead: a cast to another type.
    """
    node.activation()
    kinds = {1: torch.float32, 11: torch.float64}
    if node.flag("to") not in kinds:
        raise NotRead(f"to type {node.flag('to')}")
    return Cast(kinds[node.flag("to")])


def _along(axis: int, part: Any) -> nn.Module:
    """One index, a list of them or a slice, along an axis behind the batch axis."""
    return Indexed((slice(None),) * axis + (part,))


def _axis(node: OnnxNode, axis: int) -> int:
    """An axis, counted from the first one.

    Raises:
        NotRead: it is the batch axis.
    """
    axis %= node.activation().dim()
    if axis == 0:
        raise NotRead("of points")
    return axis


def slices(node: OnnxNode) -> nn.Module:
    """Every ``steps``-th entry between two ends, along some axes.

    Raises:
        NotRead: ends that are computed, negative steps, or a part of the batch axis.
    """
    x = node.activation()
    starts, ends = node.numbers("starts", 1), node.numbers("ends", 2)
    if starts is None or ends is None:
        raise NotRead("without starts and ends")
    axes, steps = node.numbers("axes", 3), node.numbers("steps", 4)
    index = [slice(None)] * x.dim()
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        if step < 1:
            raise NotRead("backwards")
        axis %= x.dim()
        size = x.shape[axis]
        first, last, _ = slice(start, end, step).indices(size if axis else 2**62)
        if axis == 0 and (first, step) == (0, 1) and last >= 2**31 - 1:
            continue
        index[axis] = slice(first, last, step)
        _axis(node, axis)
    return Indexed(tuple(index))


def gather(node: OnnxNode) -> nn.Module:
    """The entries at constant places along an axis, in the order of the places.

    Raises:
        NotRead: places that are computed or a matrix, or the batch axis.
    """
    axis = _axis(node, node.flag("axis"))
    size = node.activation().shape[axis]
    places = node.weight(1)
    if places.dim() > 1:
        raise NotRead(f"at places of shape {tuple(places.shape)}")
    index = (places % size).tolist()
    return _along(axis, index)


def split(node: OnnxNode, count: int) -> list[nn.Module]:
    """Parts along an axis: of given sizes, or equal ones, of which the last may be smaller.

    Raises:
        NotRead: sizes that do not fit, or the batch axis.
    """
    axis = _axis(node, node.flag("axis"))
    size, sizes = node.activation().shape[axis], node.numbers("split", 1)
    if sizes is None:
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise NotRead(f"of {size} entries into {sizes}")
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [_along(axis, slice(low, high)) for low, high in pairwise(ends)]


def placed(function: Callable[..., Tensor]) -> Callable[[OnnxNode], nn.Module]:
    """The reader of a function of several operands, entry by entry; constants among them are the same for all points."""

    def reader(node: OnnxNode) -> nn.Module:
        constants = {i: operand.value for i, operand in enumerate(node.operands) if isinstance(operand, OnnxConstant)}
        _same_for_all(node, list(constants.values()))
        return Placed(function, constants, len(node.operands))

    return reader


def _same_for_all(node: OnnxNode, constants: Sequence[Tensor]) -> None:
    dims = max(operand.dim() for operand in node.operands if isinstance(operand, Tensor))
    if any(one.dim() > dims or (one.dim() == dims and one.shape[0] != 1) for one in constants):
        raise NotRead("with a constant for each point")


PARTS: dict[str, Callable[[OnnxNode], nn.Module]] = {
    "Cast": cast,
    "Gather": gather,
    "Greater": placed(torch.gt),
    "GreaterOrEqual": placed(torch.ge),
    "Less": placed(torch.lt),
    "LessOrEqual": placed(torch.le),
    "Not": placed(torch.logical_not),
    "Slice": slices,
    "Where": placed(torch.where),
}
"""The readers of operators that make one value, by ONNX's names."""
SEVERAL: dict[str, Callable[[OnnxNode, int], list[nn.Module]]] = {"Split": split}
"""The readers of operators that make several values: each returns a module for every value."""
