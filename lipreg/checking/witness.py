"""The lower end: the gradient at a point, which is exact where no unit of the network is on its kink."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lipreg.checking.integers import Array, floor_at, integers
from lipreg.checking.network import Decider, Forms, Node, walk
from lipreg.checking.refusal import Refused


class _At(Decider):
    """Decides by the sign at the point itself."""

    def __init__(self) -> None:
        self.count = 0

    def relu(self, z: Forms) -> Forms:
        rows = z.rows.copy()
        kinks = np.flatnonzero((rows[:, 0] == 0) & (rows[:, 1:] != 0).any(1))
        if len(kinks):
            raise Refused(f"unit {self.count + int(kinks[0])} is on its kink at the point", "witness")
        rows[rows[:, 0] <= 0] = 0
        self.count += len(rows)
        return Forms(rows, z.bits)


def attained(nodes: Sequence[Node], point: Array, moves: Array, functional: tuple[Array, int]) -> tuple[Array, int]:
    """(n, bits): the gradient of a functional at a point, over the coordinates that move, is n / 2^bits.

    A unit with z = 0 that does not depend on any coordinate there is no kink.

    Raises:
        Refused: a unit is on its kink.
    """
    bits = integers(point)[1]
    output = walk(nodes, point, bits, moves, _At())
    return (functional[0] @ output.rows)[1:], output.bits + functional[1] - bits


def reaches(norm: int, gradient: tuple[Array, int], lower: Fraction) -> bool:
    """Whether a gradient's norm (1 or 2; 0 for the largest entry) is at least ``lower``."""
    entries, bits = gradient
    if norm == 2:
        return -floor_at(-lower * lower, 2 * bits) <= sum(entries * entries)
    size = np.abs(entries)
    return -floor_at(-lower, bits) <= (sum(size) if norm else max(size))
