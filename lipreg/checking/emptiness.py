"""What multipliers prove of a cell: that no point is in it. Any that are not negative do, whoever chose them.

Every row below is >= 0 at every point of a cell, with r in [0, high] the output of a unit of which nothing is known. If
their sum, each times its multiplier, is below 0 wherever d is in the region and r in its range, then there is no point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lipreg.checking.cells import Cell
from lipreg.checking.integers import Array, zeros
from lipreg.checking.refusal import Refused


class Kind(IntEnum):
    """The rows of a unit; the last two are of units of which nothing is known."""

    SIDE = 0  # z where it is on, -z where it is off
    ABOVE = 1  # r - z
    CHORD = 2  # high (z - low) - (high - low) r


@dataclass(frozen=True)
class Term:
    """2^exponent times a mantissa, a multiplier of a unit, in the numbers of the question itself."""

    unit: int
    kind: Kind
    mantissa: int
    exponent: int


def row(cell: Cell, unit: int, kind: Kind) -> tuple[Array, int]:
    """A row, as a constant and coefficients of d and r ``(1 + m + n,)``, and the bits that it is held with."""
    z, bits, column = cell.rows[unit], cell.units.bits[unit], cell.units.first + unit
    if kind is Kind.SIDE:
        return z * int(cell.phase[unit]), bits
    if kind is Kind.ABOVE:
        found = -z
        found[column] += 1
        return found, bits
    low, high = cell.low[unit], cell.high[unit]
    found = high * z
    found[0] -= high * low
    found[column] -= high - low
    return found, 2 * bits


def empties(cell: Cell, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that no point is in a cell.

    The sum may be 0 where one of the rows is z of a unit that the tree puts above 0. What is said of a unit that is known
    here, and was not where the multipliers come from, or the other way round, is left out: the others prove by themselves.

    Raises:
        Refused: a multiplier below 0.
    """
    terms = [term for term in terms if (term.kind is Kind.SIDE) != (cell.phase[term.unit] == 0)]
    rows = [row(cell, term.unit, term.kind) for term in terms]
    exponents = [term.exponent - bits for term, (_, bits) in zip(terms, rows, strict=True)]
    shift, first = max(0, -min(exponents, default=0)), cell.units.first
    total = zeros(cell.rows.shape[1])
    for term, (line, _), exponent in zip(terms, rows, exponents, strict=True):
        if term.mantissa < 0:
            raise Refused(f"a negative multiplier of unit {cell.units.number[term.unit]}", "multipliers")
        total = total + int(term.mantissa << (exponent + shift)) * line
    bound = total[0] + cell.units.region.above(total[None, 1:first])[0]
    bound += np.maximum(total[first:], 0) @ cell.high
    strict = any(t.kind is Kind.SIDE and t.mantissa > 0 and cell.strict[t.unit] for t in terms)
    return bool(bound < 0 or (strict and bound == 0))
