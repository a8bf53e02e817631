"""Proofs by multipliers about a cell: that no point is in it, or that a unit is on one side in all of it.

Any that are not negative do, whoever made them. Every row below is >= 0 at every point of a cell, with r in [0, high] the
output of an unstable unit. If their sum, each times its multiplier, is below 0 wherever d is in the region and r in its
range, then there is no point. If it is at most 0 with -z of a unit among them, then z is nowhere below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from lipreg.checking.cells import Cell
from lipreg.checking.integers import Array, zeros
from lipreg.checking.refusal import Refused


class Kind(IntEnum):
    """The rows of a unit; the last two are of unstable units."""

    SIDE = 0  # z where it is on, -z where it is off
    ABOVE = 1  # r - z
    CHORD = 2  # high (z - low) - (high - low) r


@dataclass(frozen=True)
class Term:
    """A multiplier of a unit's row, in the numbers of the question itself: mantissa times 2^exponent.

    Attributes:
        unit: its number among all units in a file, its place in the cell from there on (``Square.over``).
        kind: of row.
        mantissa, exponent: whole numbers.
    """

    unit: int
    kind: Kind
    mantissa: int
    exponent: int


def row(cell: Cell, unit: int, kind: Kind) -> tuple[Array, int]:
    """A row, as a constant and coefficients of d and r ``(1 + m + n,)``, and its bits.

    Args:
        cell: the cell.
        unit: by its place.
        kind: of row.
    """
    z, bits, column = cell.rows[unit], cell.units.bits[unit], cell.units.first + unit
    if kind is Kind.SIDE:
        return z * int(cell.phase[unit]), bits
    if kind is Kind.ABOVE:
        line = -z
        line[column] += 1
        return line, bits
    low, high = cell.low[unit], cell.high[unit]
    line = high * z
    line[0] -= high * low
    line[column] -= high - low
    return line, 2 * bits


def empties(cell: Cell, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that no point is in a cell.

    The sum may be 0 where one of the rows is z of a unit that the tree puts above 0. A multiplier of a unit that is decided
    here, and was not where the multipliers come from, or the other way round, is left out: the others prove by themselves.

    Raises:
        Refused: a multiplier below 0.
    """
    terms = _holding(cell, terms)
    most = _largest(cell, terms, [row(cell, term.unit, term.kind) for term in terms])
    strict = any(t.kind is Kind.SIDE and t.mantissa > 0 and cell.strict[t.unit] for t in terms)
    return bool(most < 0 or (strict and most == 0))


def implies(cell: Cell, unit: int, side: int, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that z of an unstable unit is nowhere on the other side of 0.

    Its own are those of -z where it is to be on, and of z where it is to be off. Points with z = 0 may be in the cell.

    Args:
        cell: the cell.
        unit: by its place.
        side: on which it is to be shown: 1 nowhere below 0, -1 nowhere above it.
        terms: the multipliers, the unit's own among them.

    Raises:
        Refused: a multiplier below 0.
    """
    own = own_terms(terms, unit)
    others = _holding(cell, terms)
    rows = [(-side * cell.rows[unit], cell.units.bits[unit])] * len(own)
    rows += [row(cell, term.unit, term.kind) for term in others]
    return bool(own) and bool(_largest(cell, [*own, *others], rows) <= 0)


def own_terms(terms: Sequence[Term], unit: int) -> list[Term]:
    """The multipliers of a unit's own z that are not 0."""
    return [term for term in terms if term.unit == unit and term.kind is Kind.SIDE and term.mantissa > 0]


def _holding(cell: Cell, terms: Sequence[Term]) -> list[Term]:
    """Those whose rows there are in a cell."""
    return [term for term in terms if (term.kind is Kind.SIDE) != (cell.phase[term.unit] == 0)]


def _largest(cell: Cell, terms: Sequence[Term], rows: Sequence[tuple[Array, int]]) -> Any:
    """A bound on a sum of rows over a cell, in whole numbers whose sign alone counts."""
    total, first = added(terms, rows, cell.rows.shape[1]), cell.units.first
    return total[0] + cell.units.region.above(total[None, 1:first])[0] + np.maximum(total[first:], 0) @ cell.high


def added(terms: Sequence[Term], rows: Sequence[tuple[Array, int]], width: int) -> Array:
    """The sum of rows times their multipliers, in whole numbers times a power of two, ``(width,)``.

    Args:
        terms: the multipliers, one a row.
        rows: each ``(width,)`` whole numbers, and its bits.
        width: of a row.

    Raises:
        Refused: a multiplier below 0.
    """
    exponents = [term.exponent - bits for term, (_, bits) in zip(terms, rows, strict=True)]
    shift, total = max(0, -min(exponents, default=0)), zeros(width)
    for term, (line, _), exponent in zip(terms, rows, exponents, strict=True):
        if term.mantissa < 0:
            raise Refused("a multiplier below 0", "multipliers")
        total = total + int(term.mantissa << (exponent + shift)) * line
    return total
