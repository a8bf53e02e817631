"""The lower end: the gradient at a point, which is exact where no unit of the network is on its kink."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lipreg.checking.integers import Array, floor_at, integers, zeros
from lipreg.checking.network import (
    Affine,
    Decider,
    Map,
    Matrix,
    MaxPool,
    Node,
    Product,
    Relu,
    Sum,
    WholeNumberForms,
    walk,
)
from lipreg.checking.refusal import Refused
from lipreg.checking.region import IntegerRegion


class _At(Decider):
    """Decides by the sign at the point itself."""

    def __init__(self) -> None:
        self.count = 0

    def relu(self, z: WholeNumberForms) -> WholeNumberForms:
        rows = z.rows.copy()
        kinks = np.flatnonzero((rows[:, 0] == 0) & (rows[:, 1:] != 0).any(1))
        if len(kinks):
            raise Refused(f"unit {self.count + int(kinks[0])} is on its kink at the point", "witness")
        rows[rows[:, 0] <= 0] = 0
        self.count += len(rows)
        return WholeNumberForms(rows, z.bits)


class _Signs(Decider):
    """Notes every unit's sign at the point."""

    def __init__(self) -> None:
        self.signs: list[Array] = []

    def relu(self, z: WholeNumberForms) -> WholeNumberForms:
        self.signs.append(np.sign(z.rows[:, 0]).astype(int))
        return WholeNumberForms(np.maximum(z.rows, 0), z.bits)


def measured(
    nodes: Sequence[Node], point: Array, region: IntegerRegion, functional: tuple[Array, int]
) -> tuple[Array, int]:
    """``attained``, as it is measured: times the counts of the question.

    Args:
        nodes: the network.
        point: ``(inputs,)`` float64.
        region: in whose counts it is measured.
        functional: ``(outputs,)`` whole numbers times a power of two, and that power's bits.
    """
    entries, bits = attained(nodes, point, region.movable, functional)
    return region.measured(entries), bits + region.shift


def attained(nodes: Sequence[Node], point: Array, movable: Array, functional: tuple[Array, int]) -> tuple[Array, int]:
    """(n, bits): the gradient of a functional at a point, over the movable coordinates, is n / 2^bits.

    Back through the network by the units' signs; where a z is 0, by all forms over the coordinates, as a unit with z = 0
    that does not depend on any of them there is no kink.

    Args:
        nodes: the network.
        point: ``(inputs,)`` float64.
        movable: which coordinates count, ``(inputs,)``.
        functional: ``(outputs,)`` whole numbers times a power of two, and that power's bits.

    Raises:
        Refused: a unit is on its kink.
    """
    bits, noted = integers(point)[1], _Signs()
    walk(nodes, point, bits, np.zeros(len(point), dtype=bool), noted)
    if all(sign.all() for sign in noted.signs):
        gradient = _back(nodes, len(point), WholeNumberForms(functional[0][None], functional[1]), noted.signs)
        return gradient.rows[0][movable], gradient.bits
    output = walk(nodes, point, bits, movable, _At())
    return (functional[0] @ output.rows)[1:], output.bits + functional[1] - bits


def _back(nodes: Sequence[Node], inputs: int, functional: WholeNumberForms, signs: list[Array]) -> WholeNumberForms:
    """The gradient over all inputs, ``(1, inputs)``, by the signs of all units, in the order of a walk."""
    gradients: dict[int, WholeNumberForms] = {len(nodes): functional}
    remaining = list(signs)

    def add(source: int, part: WholeNumberForms) -> None:
        gradients[source] = gradients[source] + part if source in gradients else part

    for number, node in zip(range(len(nodes), 0, -1), reversed(nodes), strict=True):
        calls = [remaining.pop() for _ in range(_calls(node))][::-1]
        if number not in gradients:
            continue
        own = gradients.pop(number)
        match node:
            case Affine(terms=terms):
                for source, map in terms:
                    add(source, _pulled(map, own))
            case Relu(source=source, slope=slope):
                above, below = float(slope).as_integer_ratio()
                passed = np.where(calls[0] > 0, below, above).astype(object)
                add(source, WholeNumberForms(own.rows * passed, own.bits + below.bit_length() - 1))
            case MaxPool(source=source, windows=windows):
                won = windows[:, 0].copy()
                for member, sign in zip(windows.T[1:], calls, strict=True):
                    won = np.where(sign > 0, member, won)
                add(source, _scattered(own, won, _size(nodes, source, inputs)))
    return gradients.get(0, WholeNumberForms(zeros(1, inputs), 0))


def _calls(node: Node) -> int:
    """How often a walk calls the decider for a node."""
    return 1 if isinstance(node, Relu) else node.windows.shape[1] - 1 if isinstance(node, MaxPool) else 0


def _size(nodes: Sequence[Node], number: int, inputs: int) -> int:
    return nodes[number - 1].size if number else inputs


def _scattered(own: WholeNumberForms, columns: Array, size: int) -> WholeNumberForms:
    sums = zeros(size)
    np.add.at(sums, columns, own.rows[0])
    return WholeNumberForms(sums[None], own.bits)


def _pulled(map: Map, own: WholeNumberForms) -> WholeNumberForms:
    """A row of coefficients of a map's outputs as one of its inputs."""
    match map:
        case Product(maps=maps):
            for each in maps:
                own = _pulled(each, own)
            return own
        case Sum(maps=maps):
            pulled = _pulled(maps[0], own)
            for each in maps[1:]:
                pulled = pulled + _pulled(each, own)
            return pulled
        case Matrix(outputs=outputs, inputs=inputs, values=values, rows=rows, columns=columns):
            weights, bits = integers(values)
            if len(weights) == outputs * inputs:
                return WholeNumberForms(own.rows @ weights.reshape(outputs, inputs), own.bits + bits)
            pulled = zeros(inputs)
            np.add.at(pulled, columns, own.rows[0][rows] * weights)
            return WholeNumberForms(pulled[None], own.bits + bits)
        case _:
            raise TypeError(type(map).__name__)


def reaches(norm: int, gradient: tuple[Array, int], lower: Fraction) -> bool:
    """Whether a gradient's norm is at least ``lower``.

    Args:
        norm: 1 or 2; 0 for the largest entry.
        gradient: whole numbers ``(m,)`` times a power of two, and that power's bits.
        lower: the claim.
    """
    entries, bits = gradient
    if norm == 2:
        return -floor_at(-lower * lower, 2 * bits) <= sum(entries * entries)
    size = np.abs(entries)
    return -floor_at(-lower, bits) <= (sum(size) if norm else max(size))
