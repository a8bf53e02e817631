"""A network's values and gradients in multiple precision, each with a proven bound on its error.

They speak of the float64 numbers that the graph holds, in real arithmetic. A float64 pass with a running error bound is
faster and mostly says enough; this is for what it leaves open: signs behind many layers, and sums that cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.graph.nodes import Affine, Graph, Input, MaxPool, Relu
from lipreg.linalg import Limbs, digit_bits

EPS = torch.finfo(torch.float64).eps
PRECISIONS = (10, 20, 40)
"""Digits that are tried one after another, as long as a sign is not proved, or a number not to its last place."""


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


def values(graph: Graph, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The value of every node at x, and a bound on the distance to the true one.

    Digits are added until the sign of every pre-activation and the largest of every pooling window are proved, as far as
    ``PRECISIONS`` goes; what is within its error of 0, or of another member of its window, is undecided.

    Args:
        graph: frozen, in float64.
        x: ``(..., *shape)``, taken as the exact numbers that it holds.

    Returns:
        For each node (value, error), ``(..., *shape of the node)``: the value within one unit in the last place of what
        was computed, the error with that unit.
    """
    found: list[Limbs] = []
    for limbs in PRECISIONS:
        found, decided = _values(graph, Limbs.of(x, _bits(graph), limbs))
        if decided:
            break
    return [value.rounded() for value in found]


def gradients(graph: Graph, slopes: dict[int, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """rows . J for given slopes of every Relu and MaxPool, and a bound on the distance to the true one.

    Args:
        graph, slopes, rows: as for ``Graph.gradients``; the slopes are taken as the exact numbers that they hold.

    Returns:
        The gradients and the bound, ``(..., rows, *input_shape)`` each.
    """
    value = error = rows
    for limbs in PRECISIONS:
        value, error = _gradients(graph, slopes, Limbs.of(rows, _bits(graph), limbs)).rounded()
        flat, dropped = (part.flatten(-len(graph.input_shape)) for part in (value.abs(), error))
        if bool((dropped.amax(-1) <= 4 * EPS * flat.amax(-1)).all()):
            break
    return value, error


def _gradients(graph: Graph, slopes: dict[int, Tensor], rows: Limbs) -> Limbs:
    flowing: dict[int, Limbs] = {len(graph.nodes) - 1: rows}

    def flow(source: int, part: Limbs) -> None:
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
        return Limbs.of(rows.error.new_zeros(*rows.shape[:-1], *graph.input_shape), rows.bits)
    return flowing[0]


def _affine(node: Affine, values: Mapping[int, Limbs]) -> Limbs:
    """bias + the terms of those sources whose values are given."""
    own = next(iter(values.values()))
    total = Limbs.of(node.bias, own.bits, own.limbs)
    for source, map in node.terms():
        if source in values:
            total = values[source].through(map) + total
    return total


def _bits(graph: Graph) -> int:
    return digit_bits(max(map.roundings for node in graph.nodes if isinstance(node, Affine) for map in node.maps))


def _values(graph: Graph, x: Limbs) -> tuple[list[Limbs], bool]:
    """The value of every node, and whether all signs are proved."""
    found: dict[int, Limbs] = {}
    decided = True
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                found[index] = x
            case Affine():
                found[index] = _affine(node, found)
            case Relu(source=source, slope=slope):
                found[index], sure = _relu(found[source], slope)
                decided = decided and sure
            case MaxPool(source=source):
                largest, sure = _largest(found[source].moved(node.members), node.windows)
                found[index] = largest.moved(lambda t, node=node: t.unflatten(-1, node.shape))
                decided = decided and sure
    return list(found.values()), decided


def _relu(z: Limbs, slope: float) -> tuple[Limbs, bool]:
    """max(z, slope z), and whether all signs are proved."""
    value, error = z.rounded()
    active = z.side() > 0
    found = z.times(torch.where(active, torch.ones_like(value), torch.full_like(value, slope)))
    sure = _proved(value, error)
    # on the wrong side of the kink the function is off by no more than its argument: no slope is above 1
    return replace(found, error=torch.where(sure, found.error, torch.maximum(found.error, error))), bool(sure.all())


def _largest(members: Limbs, windows: Tensor) -> tuple[Limbs, bool]:
    """The largest of each window, ``(..., outputs, window)`` to ``(..., outputs)``, and whether all are proved."""
    each = [members.moved(lambda t, i=i: t[..., i]) for i in range(windows.shape[1])]
    best, at = each[0], windows[:, 0].expand(each[0].shape)
    for other, own in zip(each[1:], windows.T[1:], strict=True):
        larger = (other + -best).side() > 0
        best, at = other.where(larger, best), torch.where(larger, own, at)
    sure = torch.ones_like(at, dtype=torch.bool)
    for other, own in zip(each, windows.T, strict=True):
        sure &= _proved(*(best + -other).rounded()) | (own == at)
    # a maximum moves no further than what moves most
    return replace(best, error=torch.maximum(best.error, members.error.amax(-1))), bool(sure.all())


def _proved(value: Tensor, error: Tensor) -> Tensor:
    """Whether a sign is known, 0 included."""
    return (value.abs() > error) | (error == 0)
