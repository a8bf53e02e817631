"""Multipliers that empty a cell, from a linear program in float64, rounded: whatever comes out, the checker judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from lipreg.checking.cells import Cell
from lipreg.checking.emptiness import Kind, Term, empties, row
from lipreg.checking.integers import Array

OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
LEAST = 1e-12
"""Multipliers below this share of the largest are left out."""
DIGITS = (8, 16, 32, 52)
"""Bits of a multiplier, tried one after the other."""
TANGENTS = 60
"""Most programs for one cell of a ball."""


@dataclass(frozen=True)
class Rows:
    """The rows of a cell in float64, in the numbers of the question, each scaled to size 1 over the ranges of d and r.

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
        region, first, free = cell.units.region, cell.units.first, cell.open
        own = np.array(cell.units.bits, dtype=int)
        columns = np.concatenate([[0], np.arange(1, first), first + free])
        bits = np.concatenate([[0], np.full(first - 1, region.bits), own[free]])
        low = np.concatenate([floats(region.low, region.bits), np.zeros(len(free))])
        high = np.concatenate([floats(region.high, region.bits), floats(cell.high[free], own[free])])
        which = [(int(unit), Kind.SIDE) for unit in np.flatnonzero(cell.phase)]
        which += [(int(unit), kind) for unit in free for kind in (Kind.ABOVE, Kind.CHORD)]
        lines = [row(cell, unit, kind) for unit, kind in which]
        whole = np.array([line[columns] for line, _ in lines]).reshape(len(which), len(columns))
        matrix = floats(whole, np.array([b for _, b in lines])[:, None] - bits)
        constant = matrix[:, 0] + matrix[:, 1:] @ ((low + high) / 2)
        matrix = matrix[:, 1:] * ((high - low) / 2)
        size = np.abs(matrix).sum(1) + np.abs(constant)
        size = np.where(size > 0, size, 1.0)
        return Rows(which, matrix / size[:, None], constant / size, size)

    def terms(self, multipliers: Array, digits: int) -> tuple[Term, ...]:
        """Multipliers of the scaled rows as terms with mantissas of so many bits."""
        found, largest = [], float(multipliers.max(initial=0.0))
        for (unit, kind), y, size in zip(self.which, multipliers, self.size, strict=True):
            if y > LEAST * largest:
                found.append(short(unit, kind, y / size, digits))
        return tuple(found)


def emptied(cell: Cell) -> tuple[Term, ...] | Array | None:
    """Multipliers of as few digits as empty a cell, or displacements ``(m,)`` that seem to lie in it; None for neither.

    max s such that every row is at least s: it is below 0 where no point satisfies them.
    """
    rows, region = Rows.of(cell), cell.units.region
    m, (ways, variables) = len(region.low), (len(rows.matrix), rows.matrix.shape[1])
    low, high = floats(region.low, region.bits), floats(region.high, region.bits)
    middle, half = (low + high) / 2, (high - low) / 2
    matrix, levels = np.hstack([-rows.matrix, np.ones((ways, 1))]), rows.constant
    cost, ends = np.append(np.zeros(variables), -1.0), [*[(-1.0, 1.0)] * variables, (None, 1.0)]
    for _ in range(TANGENTS if region.norm else 1):
        found = scipy.optimize.linprog(cost, matrix, levels, bounds=ends, method="highs-ds", options=OPTIONS)
        if found.status != 0:
            return None
        d = middle + half * found.x[:m]
        if found.fun >= 0:
            y = np.maximum(-found.ineqlin.marginals[:ways], 0.0)
            terms = shortest(lambda digits, y=y: rows.terms(y, digits), lambda terms: empties(cell, terms))
            if terms is not None:
                return terms
        radius = region.radius / 2**region.bits
        size = float(np.linalg.norm(d, ord=region.norm)) if region.norm else 0.0
        if size <= radius * (1.0 + 1e-12):
            return d if found.fun < 0 else None
        # what holds in the ball and not at this point: a tangent of it
        normal = np.sign(d) if region.norm == 1 else d / size
        tangent = np.append(normal * half, np.zeros(variables + 1 - m))
        matrix, levels = np.vstack([matrix, tangent / radius]), np.append(levels, 1.0 - normal @ middle / radius)
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


def floats(numbers: Array, bits: Array | int) -> Array:
    """Whole numbers times 2^-bits as the nearest floats."""
    shifts = np.broadcast_to(np.asarray(bits), numbers.shape)
    pairs = zip(numbers.ravel().tolist(), shifts.ravel().tolist(), strict=True)
    values = [int(n) / (1 << b) if b >= 0 else float(int(n) << -b) for n, b in pairs]
    return np.array(values, dtype=float).reshape(numbers.shape)


def codes(cell: Cell, terms: Sequence[Term]) -> list[int]:
    """Terms as a certificate writes them: four whole numbers each."""
    return [n for t in terms for n in (cell.units.number[t.unit], int(t.kind), int(t.mantissa), t.exponent)]
