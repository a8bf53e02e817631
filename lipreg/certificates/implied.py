"""Units that read a multiple of what a decided unit reads, as both calls of a concatenated ReLU do.

Of such two the one is on where the other is, or where it is not; where the tree does not use that, all parts with both off
are split to the end, though they are hyperplanes. A unit that reads 0 in a part, as where both members of a maximum are one,
is off; and one whose bound is 0 to the last digit is on one side, which radii hide.
"""

from __future__ import annotations

import math

import numpy as np

from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.file import LARGEST_MANTISSA
from lipreg.checking.integers import Array
from lipreg.checking.rounded import NEAR, Cell, at_zero, scaled


def implied(cell: Cell) -> tuple[int, int, tuple[Term, ...]] | None:
    """An unstable unit, its side (1 on, -1 off) and multipliers that show it; None where none is seen."""
    free, decided = cell.unstable, np.flatnonzero(cell.phase)
    rows, radii, size = scaled(cell)
    for unit in free[size[free] <= radii[free]].tolist():
        if not cell.units.lines().row(unit, cell.phase).any():
            return unit, -1, (Term(unit, Kind.SIDE, 1, 0),)
    for side, near in ((-1, at_zero(cell.high, size)), (1, at_zero(-cell.low, size))):
        for unit in free[near[free]].tolist():
            terms = (Term(unit, Kind.SIDE, 1, 0),)
            if cell.units.lines().imply(cell.phase, unit, side, terms):
                return unit, side, terms
    straight = rows / np.maximum(size, 1e-300)[:, None]
    alike = straight[free] @ straight[decided].T
    for at, to in np.argwhere(np.abs(alike) >= 1.0 - NEAR):
        unit, other = int(free[at]), int(decided[to])
        terms = _multiples(cell, unit, other)
        if terms is not None:
            return unit, int(cell.phase[other]) * (1 if alike[at, to] > 0 else -1), terms
    return None


def _multiples(cell: Cell, unit: int, other: int) -> tuple[Term, ...] | None:
    """The multipliers that make two units' z one size; None where neither is a multiple of the other."""
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
