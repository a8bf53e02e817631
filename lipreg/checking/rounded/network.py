"""A network in float64: every node as a form over displacements and unstable units, as ``lipreg.checking.network.walk``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.network import Affine, Map, Matrix, MaxPool, Node, Product, Relu, Sum
from lipreg.checking.rounded.balls import Balls, padded, stacked

BLOCK = 512
"""Rows of a matrix that are written out at once."""

Decide = Callable[[Balls], Balls]
"""relu of some forms, in the order of the units."""


def walked(nodes: Sequence[Node], center: Array, movable: Array, decide: Decide) -> Balls:
    """The last node: constants, then coefficients of displacements, then of the units that ``decide`` left unstable.

    Args:
        nodes: node 0 is the input, node k + 1 is ``nodes[k]``.
        center: ``(n,)`` float64.
        movable: which coordinates have displacements, ``(n,)``.
        decide: relu of some forms, called in the order of the units.
    """
    start = np.zeros((len(center), 1 + int(movable.sum())))
    start[:, 0] = center
    start[np.flatnonzero(movable), 1 + np.arange(int(movable.sum()))] = 1.0
    values = [Balls.exactly(start)]
    for node in nodes:
        match node:
            case Affine(terms=terms, bias=bias, size=size):
                parts = [_mapped(map, values[source]) for source, map in terms]
                parts += [_constant(map, floats) for map, floats in bias]
                value = Balls.exactly(np.zeros((size, start.shape[1])))
                for part in parts:
                    value = _added(value, part)
            case Relu(source=source, slope=slope):
                value = _leaky_relu(values[source], slope, decide)
            case MaxPool(source=source, windows=windows):
                value = values[source][windows[:, 0]]
                for member in windows.T[1:]:  # max(a, b) = a + relu(b - a)
                    value = _added(value, decide(_added(values[source][member], -value)))
        values.append(value)
    return values[-1]


def _mapped(map: Map, forms: Balls) -> Balls:
    match map:
        case Product(maps=maps):
            for each in reversed(maps):
                forms = _mapped(each, forms)
            return forms
        case Sum(maps=maps):
            total = _mapped(maps[0], forms)
            for each in maps[1:]:
                total = total + _mapped(each, forms)
            return total
        case Matrix(outputs=outputs):
            return stacked(*(_block(map, first, forms) for first in range(0, outputs, BLOCK)))
        case _:
            raise TypeError(type(map).__name__)


def _block(map: Matrix, first: int, forms: Balls) -> Balls:
    """Some rows of a matrix, whose entries stand in the order of its rows."""
    start, end = np.searchsorted(map.rows, [first, first + BLOCK])
    dense = np.zeros((min(BLOCK, map.outputs - first), map.inputs))
    dense[map.rows[start:end] - first, map.columns[start:end]] = map.values[start:end]
    return Balls.exactly(dense) @ forms


def _leaky_relu(z: Balls, slope: float, decide: Decide) -> Balls:
    """slope z + (1 - slope) relu(z)."""
    own = decide(z)
    if not slope:
        return own
    share = Balls.exactly(np.array([[slope]]))
    return _added(share * z, (Balls.exactly(np.ones((1, 1))) + -share) * own)


def _constant(map: Map | None, floats: Array) -> Balls:
    forms = Balls.exactly(np.asarray(floats, dtype=float).reshape(-1, 1))
    return forms if map is None else _mapped(map, forms)


def _added(one: Balls, two: Balls) -> Balls:
    width = max(one.mid.shape[1], two.mid.shape[1])
    return padded(one, width) + padded(two, width)
