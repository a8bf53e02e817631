"""Proofs by weights of squares about a cell: a quadratic form that is nowhere negative.

Every w lies between 0 and its g, so w (g - w) >= 0. So for any lambda >= 0, and in norm 1 any weights m > 0, as
|J|_1^2 <= sum(m) sum(J_j^2 / m_j), the gradient's norm is at most U in the cell where

    U^2 c^2 - sum_j (sum(m) / m_j) J_j^2 - sum_i lambda_i w_i (g_i - w_i) >= 0    for all numbers w and c,

J and g being linear in w and c = 1. In norm 2 the weights are 1. In norm 1 entries may count as one, the sum of their
magnitudes: that of an entry from -t on is at most itself and 2 t. Of the largest entry each is settled by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from lipreg.checking.cells import Cell, GradientIntervals, gradient
from lipreg.checking.emptiness import Term
from lipreg.checking.integers import Array, floor_at, shifted, zeros
from lipreg.checking.refusal import Refused

WEIGHT_BITS = 64
"""Bits behind the point of sum(m) / m_j, which is rounded up: with few, what a search proves to 1e-8 would not hold here."""
FACTOR_BITS = 50
"""Bits of a triangular factor."""


@dataclass(frozen=True)
class Square:
    """Multipliers and weights, and the entry of the gradient that they are about.

    Attributes:
        entry: 0 where it is the norm.
        terms: lambda.
        weights: m, whole numbers above 0, one a squared row; none but in norm 1.
        alone: in norm 1 the entries that have a weight each, while all others count as one; None for all whose sign is not
            proved.
    """

    entry: int
    terms: tuple[Term, ...]
    weights: tuple[int, ...] = ()
    alone: tuple[int, ...] | None = None

    def own(self, unknown: Array) -> Array:
        """Which entries count by themselves, ``(m,)``, where those of unknown sign are ``unknown``.

        Raises:
            Refused: an entry that there is not.
        """
        if self.alone is None:
            return unknown
        if self.alone and self.alone[-1] >= len(unknown):
            raise Refused(f"entry {self.alone[-1]} of {len(unknown)}", "square")
        alone = np.zeros(len(unknown), dtype=bool)
        alone[list(self.alone)] = True
        return alone

    def over(self, index: Mapping[int, int], decided: Mapping[int, int]) -> Square:
        """The same with the units' places in place of their numbers, without those that the region decides.

        Raises:
            Refused: a unit that there is not.
        """
        terms = [term for term in self.terms if term.unit in index]
        for term in self.terms:
            if term.unit not in index and term.unit not in decided:
                raise Refused(f"unit {term.unit} does not exist", "multipliers")
        return replace(self, terms=tuple(replace(term, unit=index[term.unit]) for term in terms))


def entries(norm: int, cell: Cell, bounds: GradientIntervals, square: Square) -> tuple[Array, Any]:
    """The rows that are squared, and how much of the norm these may miss.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        bounds: intervals of the gradient in it.
        square: names the entry, and in norm 1 the entries that count by themselves.

    Returns:
        Rows of coefficients of c and of the w of unstable units, ``(k, 1 + unstable)``; a whole number.
    """
    first = cell.units.first
    rows = cell.units.region.measured(np.concatenate([cell.out[None, 1:first], cell.rows[cell.unstable, 1:first]]).T)
    if norm != 1:
        return (rows if norm else rows[square.entry : square.entry + 1]), 0
    own = square.own((bounds.low < 0) & (bounds.high > 0))
    plus = bounds.high >= -bounds.low
    sign = np.where(own, 0, np.where(plus, 1, -1)).astype(object)
    together = (sign @ rows)[None] if not own.all() else rows[:0]
    beyond = np.maximum(np.where(plus, -bounds.low, bounds.high), 0)
    return np.concatenate([together, rows[own]]), 2 * sum(beyond[~own])


def limit(norm: int, cell: Cell, upper: Fraction) -> int:
    """The claimed upper end in the whole numbers of J; in norm 2 its square.

    Args:
        norm: of gradients, as in ``Question``.
        cell: in whose numbers it is.
        upper: the claim.
    """
    bits = cell.measured_bits
    return floor_at(upper * upper, 2 * bits) if norm == 2 else floor_at(upper, bits)


def exceeding(norm: int, bounds: GradientIntervals, most: int) -> list[int]:
    """The entries of J that intervals leave above a limit, the largest first; in norms 1 and 2 the norm itself, as entry 0.

    Args:
        norm: of gradients, as in ``Question``.
        bounds: intervals of the gradient.
        most: the limit, from ``limit``.
    """
    size = np.maximum(-bounds.low, bounds.high)
    if norm == 0:
        return sorted((j for j, s in enumerate(size) if s > most), key=lambda j: -size[j])
    return [0] if (sum(size) if norm == 1 else sum(size * size)) > most else []


def dominates(norm: int, cell: Cell, bounds: GradientIntervals, upper: Fraction, square: Square) -> bool:
    """Whether lambda and the weights m keep the gradient's norm, or with norm 0 one entry, at or below ``upper``.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        bounds: intervals of the gradient in it.
        upper: the claim.
        square: lambda, the weights and the entry.

    Raises:
        Refused: a multiplier below 0; weights that are not one an entry, all above 0.
    """
    units, first, free = cell.units, cell.units.first, cell.unstable
    terms, weights = square.terms, square.weights
    (rows, missed), place = entries(norm, cell, bounds, square), {int(unit): 1 + i for i, unit in enumerate(free)}
    upper = upper - int(missed) / Fraction(2) ** cell.measured_bits
    if not len(rows) or len(weights) != (len(rows) if norm == 1 else 0) or any(m <= 0 for m in weights):
        raise Refused(f"{len(weights)} weights for {len(rows)} entries", "square")
    if any(t.mantissa < 0 for t in terms):
        raise Refused("a multiplier below 0", "square")
    if upper < 0:
        return False
    terms = [t for t in terms if t.unit in place]  # others are known here: their w is g, or 0
    total, one = sum(weights), (1 << WEIGHT_BITS)
    factors = np.array([-(-total * one // m) for m in weights] or [one] * len(rows), dtype=object)
    bits = 2 * cell.measured_bits
    exponents = [t.exponent + bits - 2 * (cell.out_bits - units.bits[t.unit]) + WEIGHT_BITS for t in terms]
    shift = max(0, -min(exponents, default=0))
    form = -2 * (rows.T @ (factors[:, None] * rows))
    form[0, 0] += 2 * floor_at(upper * upper, bits + WEIGHT_BITS)
    form = shifted(form, shift)
    for term, exponent in zip(terms, exponents, strict=True):
        at, times = place[term.unit], int(term.mantissa << (exponent + shift))
        g = np.concatenate([cell.out[[first + term.unit]], cell.rows[free, first + term.unit]])
        form[at, at] += 2 * times
        form[at] -= times * g
        form[:, at] -= times * g
    return nowhere_negative(form)


def steep(norm: int, cell: Cell, upper: Fraction) -> tuple[list[int], Callable[[Square], bool]]:
    """The entries of J that bounds leave above the upper end, and whether a square shows of its entry that it is not.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        upper: the upper end.
    """
    bounds = gradient(cell)
    return exceeding(norm, bounds, limit(norm, cell, upper)), partial(dominates, norm, cell, bounds, upper)


def nowhere_negative(form: Array) -> bool:
    """Whether a symmetric matrix of whole numbers is proved to be positive semidefinite.

    In units in which its diagonal is about 1, a factor R is computed in float64 and judged in whole numbers: what
    R^T R leaves of the matrix has to have diagonals that outweigh their rows (Gershgorin).
    """
    used = (form != 0).any(1)
    form = form[used][:, used]
    if any(d <= 0 for d in form.diagonal()):
        return False
    count, bits = len(form), 2 * FACTOR_BITS
    half = [(int(d).bit_length() + 1) // 2 for d in form.diagonal()]
    scaled = zeros(count, count)
    for i in range(count):
        for j in range(count):
            by = bits - half[i] - half[j]
            scaled[i, j] = form[i, j] << by if by >= 0 else form[i, j] >> -by
    spare = count * 2.0 ** (8 - FACTOR_BITS)
    floats = np.array([[int(x) / (1 << bits) for x in row] for row in scaled]).reshape(count, count)
    try:
        factor = np.linalg.cholesky((floats + floats.T) / 2 - spare * np.eye(count))
    except np.linalg.LinAlgError:
        return False
    numbers = zeros(count, count)
    numbers[:] = [[round(x * 2.0**FACTOR_BITS) for x in row] for row in factor]
    rest = scaled - numbers @ numbers.T
    beside = np.abs(rest).sum(1) - np.abs(rest.diagonal()) + count  # an entry was rounded down by at most 1
    return bool((rest.diagonal() >= beside).all())
