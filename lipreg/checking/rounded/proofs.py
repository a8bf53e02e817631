"""Proofs by multipliers and weights about a cell in float64: those of ``emptiness`` and ``squares``, with radii.

Any multipliers that are not negative prove. So each is rounded to a float, and one of a row that there is not here, as
bounds with radii decide a little less than exact ones, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from lipreg.checking.cells import GradientIntervals
from lipreg.checking.emptiness import Kind, Term, own_terms
from lipreg.checking.flat import flat_at
from lipreg.checking.integers import Array
from lipreg.checking.rounded.balls import EPS, FLOOR, Balls, raised, settled, stacked
from lipreg.checking.rounded.cells import Cell, gradient
from lipreg.checking.rounded.region import below
from lipreg.checking.squares import Square

SIGN = 2.0**-40
"""Share of the claim up to which an entry of J on the wrong side of 0 is one of known sign."""
LEAST = 2.0**-300
"""Multipliers below are left out, so that no product of theirs underflows."""
SPARE = 2.0**-42
"""Share of a quadratic form that a factor leaves over, for each of its rows, beside twice what radii are in a row."""


def steep(norm: int, cell: Cell, upper: Fraction) -> tuple[list[int], Callable[[Square], bool]]:
    """The entries of J that bounds leave above the upper end, and whether a square shows of its entry that it is not.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        upper: the upper end.
    """
    bounds, most = gradient(cell), below(upper)
    return exceeding(norm, bounds, most), partial(dominates, norm, cell, bounds, most)


def exceeding(norm: int, bounds: GradientIntervals, most: float) -> list[int]:
    """The entries of J that intervals leave above a limit, as ``lipreg.checking.squares.exceeding``.

    Args:
        norm: of gradients, as in ``Question``.
        bounds: intervals of the gradient.
        most: the limit.
    """
    size, up = np.maximum(-bounds.low, bounds.high), raised(len(bounds.low) + 8)
    if norm == 0:
        return [int(j) for j in np.argsort(-size, kind="stable") if not size[j] <= most]
    whole = float(size.sum()) * up if norm == 1 else math.sqrt(float((size * size).sum()) * up + FLOOR) * (1 + 8 * EPS)
    return [] if whole <= most else [0]


def empties(cell: Cell, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that no point is in a cell: by more than rounding, or in whole numbers.

    So where a cell touches the region's side alone, in points at which a unit is 0 that is above 0 in it.
    """
    return empties_by_far(cell, terms) or cell.units.lines().empty(cell.phase, cell.strict, terms)


def empties_by_far(cell: Cell, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that no point is in a cell, by more than what rounding takes."""
    return _below_zero(cell, terms, cell.phase)


def implies(cell: Cell, unit: int, side: int, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that z of a unit is nowhere on the other side: by more than rounding, or in whole numbers.

    Args:
        cell: the cell.
        unit: by its place.
        side: on which it is to be shown: 1 nowhere below 0, -1 nowhere above it.
        terms: the multipliers, the unit's own among them.
    """
    return implies_by_far(cell, unit, side, terms) or cell.units.lines().imply(cell.phase, unit, side, terms)


def has_empty_interior(cell: Cell, units: Sequence[int]) -> bool:
    """Whether decided units' sides leave a hyperplane alone, in whole numbers."""
    lines = cell.units.lines()
    rows = [lines.row(unit, cell.phase) * int(cell.phase[unit]) for unit in units]
    return bool(rows) and flat_at(np.array(rows, dtype=object), cell.units.first)


def implies_by_far(cell: Cell, unit: int, side: int, terms: Sequence[Term]) -> bool:
    """Whether multipliers show that z of a unit is nowhere on the other side, by more than what rounding takes.

    Args:
        cell: the cell.
        unit: by its place.
        side: on which it is to be shown: 1 nowhere below 0, -1 nowhere above it.
        terms: the multipliers, the unit's own among them.
    """
    sides = cell.phase.copy()
    sides[unit] = -side
    return bool(own_terms(terms, unit)) and _below_zero(cell, terms, sides)


def _below_zero(cell: Cell, terms: Sequence[Term], sides: Array) -> bool:
    """Whether a sum of rows is below 0 in all of a cell; of a unit whose side is not 0 it has z on that side."""
    first, n = cell.units.first, len(cell.phase)
    on_z, on_r, alone = (Balls(np.zeros(n), np.zeros(n)) for _ in range(3))
    for term in terms:
        i, y = term.unit, _value(term)
        if ((sides if term.kind is Kind.SIDE else cell.phase)[i] == 0) == (term.kind is Kind.SIDE) or not y:
            continue
        if term.kind is Kind.SIDE:
            _add(on_z, i, y * int(sides[i]))
        elif term.kind is Kind.ABOVE:
            _add(on_z, i, -y)
            _add(on_r, i, y)
        else:  # high (z - low) - (high - low) r
            low, high = float(cell.low[i]), float(cell.high[i])
            _add(on_z, i, y * high)
            _add(on_r, i, -y * (high - low))
            _add(alone, i, -y * high * low)
    total = settled(on_z.mid, on_z.rad)[None] @ cell.rows
    rest = Balls(np.zeros((1, total.mid.shape[1])), np.zeros((1, total.mid.shape[1])))
    rest.mid[0, first:], rest.rad[0, first:] = on_r.mid, on_r.rad
    total = total + settled(rest.mid, rest.rad)
    high = np.maximum(cell.high, 0.0)
    extent = np.concatenate([[1.0], cell.units.region.size, high])
    slack = float(total.rad[0] @ extent + alone.rad.sum()) * raised(len(extent) + n)
    gains = np.concatenate([total.mid[0, :1], alone.mid, np.maximum(total.mid[0, first:], 0.0) * high])
    over = float(cell.units.region.above(total.mid[:, 1:first])[0])
    off = float(np.abs(gains).sum() + abs(over) + slack) * (len(gains) + 16) * 2 * EPS + FLOOR
    return bool(float(gains.sum()) + over + slack + off < 0)


def _value(term: Term) -> float:
    """A multiplier as a float; any that is not negative is one."""
    try:
        return math.ldexp(float(term.mantissa), term.exponent)
    except OverflowError:
        return 0.0


def _add(balls: Balls, at: int, number: float) -> None:
    """Adds a number that at most four roundings made."""
    balls.mid[at] += number
    balls.rad[at] = (balls.rad[at] + 8 * EPS * (abs(number) + abs(balls.mid[at])) + FLOOR) * (1 + 8 * EPS)


def dominates(norm: int, cell: Cell, bounds: GradientIntervals, upper: float, square: Square) -> bool:
    """Whether lambda and the weights keep the gradient's norm, or with norm 0 one entry, at or below ``upper``.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        bounds: intervals of the gradient in it.
        upper: the claim, rounded down.
        square: lambda, the weights and the entry.
    """
    first, free, weights = cell.units.first, cell.unstable, square.weights
    whole = stacked(cell.out[None], cell.rows[free])
    rows, charged = entries(norm, cell, bounds, square, upper)
    upper = upper - charged - 4 * EPS * (abs(upper) + charged) if charged else upper
    if not len(rows.mid) or len(weights) != (len(rows.mid) if norm == 1 else 0) or not upper > 0:
        return False
    masses = np.array([float(m) for m in weights] or [1.0] * len(rows.mid))
    factors = np.ones(len(rows.mid)) if norm != 1 else masses.sum() / masses * raised(len(masses))
    heavy = Balls(rows.mid * factors[:, None], rows.rad * factors[:, None])
    heavy = settled(heavy.mid, (heavy.rad + EPS * np.abs(heavy.mid)) * (1 + 16 * EPS))
    corner = np.zeros((len(free) + 1, len(free) + 1))
    corner[0, 0] = upper * upper
    form = settled(corner, 8 * EPS * corner) + -(_turned(rows) @ heavy)
    lam, place = np.zeros(len(free)), {int(unit): i for i, unit in enumerate(free)}
    for term in square.terms:
        if term.unit in place:
            lam[place[term.unit]] += _value(term)
    lam[lam < LEAST] = 0.0
    own = _turned(whole[:, first + free])  # of g, over (1, w)
    half = Balls(own.mid * (lam / 2)[:, None], own.rad * (lam / 2)[:, None])
    half = settled(half.mid, (half.rad + EPS * np.abs(half.mid)) * (1 + 16 * EPS))
    beside = Balls(np.zeros_like(form.mid), np.zeros_like(form.rad))
    beside.mid[1:], beside.rad[1:] = -half.mid, half.rad
    form = (form + beside) + _turned(beside)
    diagonal = np.zeros_like(form.mid)
    diagonal[np.arange(1, len(lam) + 1), np.arange(1, len(lam) + 1)] = lam
    return nowhere_negative(form + Balls.exactly(diagonal))


def _turned(balls: Balls) -> Balls:
    return Balls(balls.mid.T, balls.rad.T)


def entries(norm: int, cell: Cell, bounds: GradientIntervals, square: Square, upper: float) -> tuple[Balls, float]:
    """The rows that are squared, as ``lipreg.checking.squares.entries``, and how much of the norm these may miss.

    Args:
        norm: of gradients, as in ``Question``.
        cell: the cell.
        bounds: intervals of the gradient in it.
        square: names the entry, and in norm 1 the entries that count by themselves.
        upper: the claim, rounded down: an entry that is a small part of it on the wrong side of 0 has a sign.
    """
    rows, counts = (
        _turned(stacked(cell.out[None], cell.rows[cell.unstable])[:, 1 : cell.units.first]),
        cell.units.region.counts,
    )
    rows = rows if counts is None else rows * counts[:, None]
    if norm == 1:
        return _grouped(rows, bounds, square.own(~one_signed(bounds, upper)))
    return (rows if norm else rows[square.entry : square.entry + 1]), 0.0


def one_signed(bounds: GradientIntervals, upper: float) -> Array:
    """Which entries of J lie on one side of 0, but for a little that may be rounding's, ``(m,)``."""
    near = SIGN * upper
    return (bounds.low >= -near) | (bounds.high <= near)


def _grouped(rows: Balls, bounds: GradientIntervals, own: Array) -> tuple[Balls, float]:
    """The entries of J that do not count by themselves as one, then those that do; and what that misses."""
    plus = bounds.high >= -bounds.low
    missed = np.maximum(np.where(plus, -bounds.low, bounds.high), 0.0)[~own]
    sign = np.where(own, 0.0, np.where(plus, 1.0, -1.0))
    charged = float(2.0 * missed.sum()) * raised(len(missed))
    return (rows if own.all() else stacked(Balls.exactly(sign[None]) @ rows, rows[own])), charged


def nowhere_negative(form: Balls) -> bool:
    """Whether every symmetric matrix in a ball around a matrix is positive semidefinite.

    In units in which its diagonal is about 1, what a factor's square leaves of the middle has to have diagonals that
    outweigh their rows and all radii (Gershgorin).
    """
    used = ~form.zero.all(1)
    mid, rad = form.mid[used][:, used], form.rad[used][:, used]
    size = mid.diagonal()
    if not (size > 0).all() or not np.isfinite(mid).all() or not np.isfinite(rad).all():
        return False
    count = len(mid)
    if not count:
        return True
    unit = np.ldexp(1.0, -(np.frexp(size)[1] // 2))
    mid, rad = mid * unit[:, None] * unit, rad * unit[:, None] * unit + FLOOR
    rad = np.maximum(rad, rad.T) + np.abs(mid - mid.T)  # either half may be meant
    try:
        factor = np.linalg.cholesky((mid + mid.T) / 2 - np.diag(count * SPARE + 2.0 * rad.sum(1)))
    except np.linalg.LinAlgError:
        return False
    rest = mid - factor @ factor.T
    off = (rad + (count + 8) * EPS * (np.abs(factor) @ np.abs(factor).T + np.abs(mid))) * raised(count)
    beside = (np.abs(rest).sum(1) - np.abs(rest.diagonal()) + off.sum(1)) * raised(count + 8)
    beside = beside + (count + 8) * EPS * np.abs(rest).sum(1)
    return bool((rest.diagonal() >= beside).all())
