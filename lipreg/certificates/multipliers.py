"""Multipliers that empty a cell, from a linear program in float64, rounded: whatever comes out, the checker judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell, empties
from lipreg.milp.depth import Depths

LEAST = 1e-12
"""Multipliers below this share of the largest are left out."""
DIGITS = (8, 16, 32, 52)
"""Bits of a multiplier, tried one after the other."""
TANGENTS = 60
"""Most programs for one cell of a ball."""


@dataclass(frozen=True)
class Rows:
    """The rows of a cell, each scaled to size 1 over the ranges of d and r.

    Attributes:
        which: unit and kind of each.
        matrix, constant: ``(k, v)`` and ``(k,)``, over variables in [-1, 1].
        size: what each was divided by, ``(k,)``.
    """

    which: list[tuple[int, Kind]]
    matrix: Array
    constant: Array
    size: Array

    @staticmethod
    def of(cell: Cell) -> Rows:
        """Those of the units that are known, and of those that are not."""
        region, first, free, known = cell.units.region, cell.units.first, cell.open, np.flatnonzero(cell.phase)
        columns = np.concatenate([np.arange(first), first + free])
        low = np.concatenate([region.low, np.zeros(len(free))])
        high = np.concatenate([region.high, cell.high[free]])
        rows, bottom, top = cell.rows.mid[:, columns], cell.low[free], cell.high[free]
        above, chord = -rows[free], top[:, None] * rows[free]
        own = np.arange(len(free)), first + np.arange(len(free))
        above[own] += 1.0
        chord[own] -= top - bottom
        chord[:, 0] -= top * bottom
        whole = np.concatenate([rows[known] * cell.phase[known][:, None], above, chord])
        which = [(int(unit), Kind.SIDE) for unit in known]
        which += [(int(unit), kind) for kind in (Kind.ABOVE, Kind.CHORD) for unit in free]
        constant = whole[:, 0] + whole[:, 1:] @ ((low + high) / 2)
        matrix = whole[:, 1:] * ((high - low) / 2)
        size = np.abs(matrix).sum(1) + np.abs(constant)
        size = np.where(size > 0, size, 1.0)
        return Rows(which, matrix / size[:, None], constant / size, size)

    def terms(self, multipliers: Array, digits: int) -> tuple[Term, ...]:
        """Multipliers of the scaled rows as terms with mantissas of so many bits."""
        least = LEAST * float(multipliers.max(initial=0.0))
        chosen = np.flatnonzero(multipliers > least)
        return tuple(short(*self.which[i], float(multipliers[i] / self.size[i]), digits) for i in chosen)


def emptied(cell: Cell, solver: Depths) -> tuple[Term, ...] | Array | None:
    """Multipliers of as few digits as empty a cell, or displacements ``(m,)`` that seem to lie in it; None for neither.

    max s such that every row is at least s: it is below 0 where no point satisfies them.
    """
    rows, region = Rows.of(cell), cell.units.region
    m, ways = len(region.low), len(rows.matrix)
    middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
    matrix, levels, real = rows.matrix, rows.constant, np.ones(ways)
    for _ in range(TANGENTS if region.norm else 1):
        found = solver.deepest(matrix, levels, real)
        if found is None:
            return None
        depth, point, y = found
        d = middle + half * point[:m]
        if depth <= 0:
            multipliers = y[:ways]
            terms = shortest(lambda digits, y=multipliers: rows.terms(y, digits), lambda terms: empties(cell, terms))
            if terms is not None:
                return terms
        size = float(np.linalg.norm(d, ord=region.norm)) if region.norm else 0.0
        if size <= region.radius * (1.0 + 1e-12):
            return d if depth > 0 else None
        # what holds in the ball and not at this point: a tangent of it
        normal = np.sign(d) if region.norm == 1 else d / size
        tangent = np.append(-normal * half, np.zeros(matrix.shape[1] - m)) / region.radius
        matrix, real = np.vstack([matrix, tangent]), np.append(real, 0.0)
        levels = np.append(levels, 1.0 - normal @ middle / region.radius)
    return None


def shortest(
    of: Callable[[int], tuple[Term, ...]], holds: Callable[[tuple[Term, ...]], bool]
) -> tuple[Term, ...] | None:
    """Multipliers of as few digits as hold; None where none do."""
    return next((terms for terms in map(of, DIGITS) if holds(terms)), None)


def short(unit: int, kind: Kind, value: float, digits: int) -> Term:
    """A multiplier with a mantissa of so many bits."""
    mantissa, exponent = math.frexp(value)
    whole = round(math.ldexp(mantissa, digits))
    even = max(0, (whole & -whole).bit_length() - 1)
    return Term(unit, kind, whole >> even, exponent - digits + even)


def codes(cell: Cell, terms: Sequence[Term]) -> list[int]:
    """Terms as a certificate writes them: four whole numbers each."""
    return [n for t in terms for n in (cell.units.number[t.unit], int(t.kind), int(t.mantissa), t.exponent)]
