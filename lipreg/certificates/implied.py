"""Units that read a multiple of what a unit reads whose side is known, as both calls of a concatenated ReLU do.

Of such two the one is on where the other is, or where it is not; where that is not said, all parts with both off are split
to the end, though they are hyperplanes. A unit that reads 0 in a part, as where both members of a maximum are one, is off;
and one whose bound is 0 to the last digit is on one side, which radii hide.
"""

from __future__ import annotations

import math

import numpy as np

from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.file import LARGEST_MANTISSA
from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell

NEAR = 1e-12
"""How far two directions may be apart to be looked at in whole numbers."""


def implied(cell: Cell) -> tuple[int, int, tuple[Term, ...]] | None:
    """A unit of which nothing is known, its side (1 on, -1 off) and multipliers that show it; None where none is seen."""
    free, known = cell.open, np.flatnonzero(cell.phase)
    rows, radii, size = _scaled(cell)
    for unit in free[size[free] <= radii[free]].tolist():
        if not cell.units.lines().row(unit, cell.phase).any():
            return unit, -1, (Term(unit, Kind.SIDE, 1, 0),)
    for side, near in ((-1, _at_zero(cell.high, size)), (1, _at_zero(-cell.low, size))):
        for unit in free[near[free]].tolist():
            terms = (Term(unit, Kind.SIDE, 1, 0),)
            if cell.units.lines().imply(cell.phase, unit, side, terms):
                return unit, side, terms
    straight = rows / np.maximum(size, 1e-300)[:, None]
    alike = straight[free] @ straight[known].T
    for at, to in np.argwhere(np.abs(alike) >= 1.0 - NEAR):
        unit, other = int(free[at]), int(known[to])
        terms = _multiples(cell, unit, other)
        if terms is not None:
            return unit, int(cell.phase[other]) * (1 if alike[at, to] > 0 else -1), terms
    return None


def touching(cell: Cell) -> bool:
    """Whether any unit of which nothing is known is 0, or has a bound that is 0, but for what rounding may have left."""
    _, radii, size = _scaled(cell)
    near = (size <= radii) | _at_zero(cell.high, size) | _at_zero(-cell.low, size)
    return bool(near[cell.open].any())


def _scaled(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z of every unit, each coefficient times the most that its variable can be; what rounding may add; lengths."""
    reach = np.concatenate([[1.0], cell.units.region.size, np.maximum(cell.high, 0.0)])
    rows = cell.rows.mid * reach
    return rows, (cell.rows.rad * reach).sum(1), np.sqrt((rows * rows).sum(1))


def _at_zero(end: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where an upper end is 0 at the most, but for what rounding may have left."""
    return end <= NEAR * size


def _multiples(cell: Cell, unit: int, other: int) -> tuple[Term, ...] | None:
    """What two units' z are multiplied by to be of one size; None where neither is a multiple of the other."""
    lines = cell.units.lines()
    one, two = lines.row(unit, cell.phase), lines.row(other, cell.phase)
    place = int(np.argmax(one != 0))
    a, b = int(one[place]), int(two[place])
    if not a or not b or _differ(one * b, two * a):
        return None
    a, b = abs(a) // math.gcd(a, b), abs(b) // math.gcd(a, b)
    if max(a, b) >= LARGEST_MANTISSA:
        return None
    return Term(unit, Kind.SIDE, b, lines.bits[unit]), Term(other, Kind.SIDE, a, lines.bits[other])


def _differ(one: Array, two: Array) -> bool:
    return bool((one != two).any())
