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
    reach = np.concatenate([[1.0], cell.units.region.size, np.maximum(cell.high, 0.0)])
    rows, radii = cell.rows.mid * reach, (cell.rows.rad * reach).sum(1)
    size = np.sqrt((rows * rows).sum(1))
    for unit in free[size[free] <= radii[free]].tolist():  # 0, but for what rounding may have left
        if not cell.units.lines().row(unit, cell.phase).any():
            return unit, -1, (Term(unit, Kind.SIDE, 1, 0),)
    for side, ends in ((-1, cell.high), (1, -cell.low)):  # 0 at the most, but for the same
        for unit in free[ends[free] <= NEAR * size[free]].tolist():
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
