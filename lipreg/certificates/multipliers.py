"""Multipliers that empty a cell, from a linear program in float64, rounded: whatever comes out, the checker judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.integers import Array
from lipreg.checking.rounded import Cell, empties, empties_by_far, has_empty_interior, implies, implies_by_far
from lipreg.checking.rounded.region import FloatRegion
from lipreg.milp.depth import RowSet, deepest

LEAST = 1e-12
"""Multipliers below this share of the largest are left out."""
DIGITS = (8, 16, 32, 52)
"""Bits of a multiplier, tried one after the other."""
SHALLOW, TIGHT = 1e-9, 1e-7
"""A depth that may be 0; multipliers of what holds back, as a share of the largest."""
TANGENTS = 60
"""Most programs for one cell of a ball."""


@dataclass(frozen=True)
class CellRows:
    """The rows of a cell, each scaled to size 1 over the ranges of d and r.

    Attributes:
        which: unit and kind of each.
        matrix, constant: ``(k, v)`` and ``(k,)``, over variables in [-1, 1].
        size: what each was divided by, ``(k,)``.
        z, z_constant: z of the unstable units, not scaled, ``(unstable, v)`` and ``(unstable,)``.
    """

    which: list[tuple[int, Kind]]
    matrix: Array
    constant: Array
    size: Array
    z: Array
    z_constant: Array

    @staticmethod
    def of(cell: Cell) -> CellRows:
        """Those of the decided units, and of the unstable ones."""
        region, first, free, decided = cell.units.region, cell.units.first, cell.unstable, np.flatnonzero(cell.phase)
        columns = np.concatenate([np.arange(first), first + free])
        low = np.concatenate([region.low, np.zeros(len(free))])
        high = np.concatenate([region.high, cell.high[free]])
        rows, bottom, top = cell.rows.mid[:, columns], cell.low[free], cell.high[free]
        above, chord = -rows[free], top[:, None] * rows[free]
        own = np.arange(len(free)), first + np.arange(len(free))
        above[own] += 1.0
        chord[own] -= top - bottom
        chord[:, 0] -= top * bottom
        whole = np.concatenate([rows[decided] * cell.phase[decided][:, None], above, chord])
        which = [(int(unit), Kind.SIDE) for unit in decided]
        which += [(int(unit), kind) for kind in (Kind.ABOVE, Kind.CHORD) for unit in free]
        middle, half = (low + high) / 2, (high - low) / 2
        constant, matrix = whole[:, 0] + whole[:, 1:] @ middle, whole[:, 1:] * half
        size = np.abs(matrix).sum(1) + np.abs(constant)
        size = np.where(size > 0, size, 1.0)
        z, z_constant = rows[free, 1:] * half, rows[free, 0] + rows[free, 1:] @ middle
        return CellRows(which, matrix / size[:, None], constant / size, size, z, z_constant)

    def tight(self, multipliers: Array) -> list[int]:
        """The decided units that hold a point back; none where something else does as well."""
        index = np.flatnonzero(multipliers > TIGHT * float(multipliers.max(initial=0.0)))
        which = [self.which[i] for i in index]
        return [unit for unit, _ in which] if all(kind is Kind.SIDE for _, kind in which) else []

    def terms(self, multipliers: Array, digits: int) -> tuple[Term, ...]:
        """Multipliers of the scaled rows as terms with mantissas of so many bits."""
        least = LEAST * float(multipliers.max(initial=0.0))
        index = np.flatnonzero(multipliers > least)
        return tuple(short(*self.which[i], float(multipliers[i] / self.size[i]), digits) for i in index)


def emptied(cell: Cell) -> list[Any] | Array | None:
    """The leaf of a cell without points, with multipliers of as few digits as empty it, or of one inside a hyperplane.

    max s such that every row is at least s: it is below 0 where no point satisfies them, and 0 on a hyperplane.

    Returns:
        The leaf, or displacements ``(m,)`` that seem to lie in the cell; None for neither.
    """
    rows, region = CellRows.of(cell), cell.units.region
    m, ways = len(region.low), len(rows.matrix)
    middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
    matrix, levels, real = rows.matrix, rows.constant, np.ones(ways)
    for _ in range(TANGENTS if region.norm else 1):
        solution = deepest(matrix, levels, real)
        if solution is None:
            return None
        depth, point, y = solution
        d = middle + half * point[:m]
        if depth <= 0:
            multipliers = y[:ways]
            shows = empties if depth > -SHALLOW else empties_by_far
            terms = shortest(
                lambda digits, y=multipliers: rows.terms(y, digits), lambda terms, shows=shows: shows(cell, terms)
            )
            if terms is not None:
                return ["empty", codes(cell, terms)]
        if abs(depth) <= SHALLOW and has_empty_interior(cell, units := rows.tight(y[:ways])):
            return ["flat", [cell.units.number[unit] for unit in units]]
        size = float(np.linalg.norm(d, ord=region.norm)) if region.norm else 0.0
        if size <= region.radius * (1.0 + 1e-12):
            return d if depth > 0 else None
        row, level = tangent(region, d, size, matrix.shape[1])
        matrix, real, levels = np.vstack([matrix, row]), np.append(real, 0.0), np.append(levels, level)
    return None


@dataclass(frozen=True)
class Sides:
    """The sides of 0 on which a cell's unstable units can be, as far as its rows say; multipliers show where they cannot.

    Attributes:
        cell: the cell.
        rows: of the cell.
        points: that satisfy the rows, and tangents of a ball that are added on the way.
    """

    cell: Cell
    rows: CellRows
    points: RowSet

    @staticmethod
    def of(cell: Cell) -> Sides:
        """Those of a cell."""
        rows = CellRows.of(cell)
        return Sides(cell, rows, RowSet(rows.matrix, rows.constant))

    def missing(self, unit: int, side: int) -> tuple[Term, ...] | Array | None:
        """Multipliers that show that z of a unit is nowhere above 0 (side 1), or nowhere below it (-1).

        Otherwise displacements ``(m,)`` at which it seems to be there; None for neither.
        """
        region, rows = self.cell.units.region, self.rows
        m, ways = len(region.low), len(rows.matrix)
        middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
        own = int(np.searchsorted(self.cell.unstable, unit))
        way, constant = side * rows.z[own], side * float(rows.z_constant[own])
        for _ in range(TANGENTS if region.norm else 1):
            solution = self.points.farthest(way)
            if solution is None:
                return None
            value, point, y = solution
            d = middle + half * point[:m]
            if value + constant <= SHALLOW * float(np.abs(way).sum() + abs(constant)):
                shows = implies if value + constant > -SHALLOW else implies_by_far
                y = y[:ways]
                return shortest(
                    lambda digits, y=y: (short(unit, Kind.SIDE, 1.0, digits), *rows.terms(y, digits)),
                    lambda terms, shows=shows: shows(self.cell, unit, -side, terms),
                )
            size = float(np.linalg.norm(d, ord=region.norm)) if region.norm else 0.0
            if size <= region.radius * (1.0 + 1e-12):
                return d
            self.points.cut(*tangent(region, d, size, len(point)))
        return None


def tangent(region: FloatRegion, d: Array, size: float, variables: int) -> tuple[Array, float]:
    """A half-space that holds a ball and not a point outside: a row over variables in [-1, 1], and a constant.

    Args:
        region: the ball's, of l1 or l2.
        d: the point, as a displacement ``(m,)``.
        size: its norm, which is larger than the radius.
        variables: the row's length: the displacements', then zeros for all others.
    """
    middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
    normal = np.sign(d) if region.norm == 1 else d / size
    row = np.append(-normal * half, np.zeros(variables - len(d))) / region.radius
    return row, 1.0 - float(normal @ middle) / region.radius


def shortest(
    of: Callable[[int], tuple[Term, ...]], holds: Callable[[tuple[Term, ...]], bool]
) -> tuple[Term, ...] | None:
    """Multipliers of as few digits as hold; None where none do."""
    return next((terms for terms in map(of, DIGITS) if holds(terms)), None)


def short(unit: int, kind: Kind, value: float, digits: int) -> Term:
    """A multiplier with a mantissa of so many bits.

    Args:
        unit: whose row it multiplies, by its place in the cell.
        kind: of row.
        value: the multiplier, at least 0.
        digits: bits of the mantissa.
    """
    mantissa, exponent = math.frexp(value)
    whole = round(math.ldexp(mantissa, digits))
    even = max(0, (whole & -whole).bit_length() - 1)
    return Term(unit, kind, whole >> even, exponent - digits + even)


def codes(cell: Cell, terms: Sequence[Term]) -> list[int]:
    """Terms as a certificate writes them: four whole numbers each."""
    return [n for t in terms for n in (cell.units.number[t.unit], int(t.kind), int(t.mantissa), t.exponent)]
