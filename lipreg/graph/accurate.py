"""A network's values and gradients with proven bounds on their errors: in float64 with a running bound, or in limbs.

They speak of the float64 numbers that the graph holds, in real arithmetic. The running bound grows with every layer's
magnitudes, far faster than the values do; what it leaves open, signs behind many layers and sums that cancel, is computed
again with more digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, Self, TypeVar

from torch import Tensor

from lipreg.graph.nodes import Affine, Graph, Input, MaxPool, Relu
from lipreg.linalg import Limbs, LinearMap, Running, digit_bits
from lipreg.linalg.floats import EPS

PRECISIONS = (10, 20, 40)
"""Digits that are tried one after another."""


class Numbers(Protocol):
    """A tensor with a bound on its error: ``Running`` or ``Limbs``."""

    def like(self, x: Tensor, /) -> Self: ...
    def through(self, map: LinearMap, /) -> Self: ...
    def back(self, map: LinearMap, /) -> Self: ...
    def times(self, factor: Tensor, /) -> Self: ...
    def moved(self, move: Callable[[Tensor], Tensor], /, copies: int = 1) -> Self: ...
    def relu(self, slope: float, /) -> Self: ...
    def largest(self) -> Self: ...
    def rounded(self) -> tuple[Tensor, Tensor]: ...
    def __add__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...


N = TypeVar("N", bound=Numbers)


def precisions(graph: Graph, x: Tensor) -> Iterator[Numbers]:
    """x in one arithmetic after another, each more accurate than the one before: float64, then limbs.

    Args:
        graph: whose maps are to act on it; frozen, in float64.
        x: taken as the exact numbers that it holds.
    """
    yield Running.of(x)
    for limbs in PRECISIONS:
        yield Limbs.of(x, _bits(graph), limbs)


def forward(graph: Graph, x: N) -> list[N]:
    """The value of every node at x ``(..., *input_shape)``; see ``Graph.values``."""
    found: dict[int, N] = {}
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                found[index] = x
            case Affine():
                found[index] = _affine(node, found)
            case Relu(source=source, slope=slope):
                found[index] = found[source].relu(slope)
            case MaxPool(source=source):
                largest = found[source].moved(node.members).largest()
                found[index] = largest.moved(lambda t, node=node: t.unflatten(-1, node.shape))
    return list(found.values())


def backward(graph: Graph, slopes: Mapping[int, Tensor], rows: N) -> N:
    """rows . J for given slopes of every Relu and MaxPool; see ``Graph.gradients``.

    Args:
        graph, rows: as there.
        slopes: as there, taken as the exact numbers that they hold.
    """
    flowing: dict[int, N] = {len(graph.nodes) - 1: rows}

    def flow(source: int, part: N) -> None:
        flowing[source] = flowing[source] + part if source in flowing else part

    for index in range(len(graph.nodes) - 1, 0, -1):
        node = graph.nodes[index]
        if index not in flowing:
            continue  # nothing downstream depends on it
        gradient = flowing.pop(index)
        match node:
            case Affine():
                for source, map in node.terms():
                    flow(source, gradient.back(map))
            case Relu(source=source):
                flow(source, gradient.times(slopes[index]))
            case MaxPool(source=source):
                flat = gradient.moved(lambda t, node=node: t.flatten(-len(node.shape)).unsqueeze(-1))
                parts = flat.times(slopes[index])
                flow(source, parts.moved(node.scatter, copies=node.windows.numel()))
    if 0 not in flowing:
        return rows.like(rows.rounded()[0].new_zeros(*rows.rounded()[0].shape[:-1], *graph.input_shape))
    return flowing[0]


def anchors(graph: Graph, x: Tensor) -> dict[int, Tensor]:
    """What the input contributes to each Affine node that reads it: bias + sum of its maps from the Input, at x.

    Args:
        graph: frozen, in float64.
        x: ``(batch, *shape)``, taken as the exact numbers that it holds.

    Returns:
        By index of the node, ``(batch, *shape of the node)``: the true values within one unit in the last place, two where
        entries of one layer lie hundreds of orders of magnitude apart.
    """
    found = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Affine) and 0 in node.sources:
            for limbs in PRECISIONS:
                value = _affine(node, {0: Limbs.of(x, _bits(graph), limbs)})
                found[index] = value.rounded()[0]
                if bool((value.error <= EPS * found[index].abs()).all()):
                    break
    return found


def _affine(node: Affine, values: Mapping[int, N]) -> N:
    """bias + the terms of those sources whose values are given."""
    total = next(iter(values.values())).like(node.bias)
    for source, map in node.terms():
        if source in values:
            total = values[source].through(map) + total
    return total


def _bits(graph: Graph) -> int:
    return digit_bits(max(map.roundings for node in graph.nodes if isinstance(node, Affine) for map in node.maps))
