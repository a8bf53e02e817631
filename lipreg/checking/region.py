"""The region of a question, exactly: a box of displacements d in whole numbers, cut by an l1 or l2 ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipreg.checking.integers import Array, integers, shifted, zeros
from lipreg.checking.refusal import Refused

FINE = 64
"""Bits that bounds and lengths, which are rounded up, have at least, however few the numbers of a question have."""


@dataclass(frozen=True)
class BallInBox:
    """{x : lower <= x <= upper, |x - center|_norm <= radius}.

    Attributes:
        center: ``(n,)`` float64.
        lower, upper: ends of the box, which may be sums of two such numbers, so they are kept as fractions.
        norm: 1 or 2 where there is a ball, else 0.
        radius: of the ball.
        counts: what an entry of a gradient is multiplied by before it is measured, ``(n,)``, none below 0: the units of the
            input, and 0 where distances are not measured; None for 1 everywhere.
    """

    center: Array
    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    norm: int = 0
    radius: Fraction = Fraction(0)
    counts: Array | None = None

    def __post_init__(self) -> None:
        if self.counts is not None and (self.counts < 0).any():
            raise Refused("a gradient's entry that has a negative weight", "counts")
        middle = [Fraction(float(x)) for x in self.center]
        if not any(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise Refused("no coordinate can move", "region")
        if any(not low <= x <= high for low, x, high in zip(self.lower, middle, self.upper, strict=True)):
            raise Refused("the box is empty, or its center lies outside", "region")

    @property
    def movable(self) -> Array:
        """Which coordinates have different ends, ``(n,)``."""
        return np.array([low < high for low, high in zip(self.lower, self.upper, strict=True)])

    def holds(self, point: Array) -> bool:
        """Whether a point ``(n,)`` of float64 lies in the region."""
        x = [Fraction(float(v)) for v in point]
        if any(not low <= v <= high for low, v, high in zip(self.lower, x, self.upper, strict=True)):
            return False
        apart = [abs(v - Fraction(float(c))) for v, c in zip(x, self.center, strict=True)]
        if self.norm == 2:
            return sum(v * v for v in apart) <= self.radius**2
        return self.norm == 0 or sum(apart) <= self.radius

    def beyond(self, point: Array) -> float:
        """How far a point ``(n,)`` lies outside: beyond an end, at the coordinate where that is most, or the sphere."""
        x = [Fraction(float(v)) for v in point]
        ends = max(max(low - v, v - high) for low, v, high in zip(self.lower, x, self.upper, strict=True))
        apart = [abs(v - Fraction(float(c))) for v, c in zip(x, self.center, strict=True)]
        far = sum(apart) - self.radius if self.norm == 1 else Fraction(0)
        if self.norm == 2:  # |d| - r = (|d|^2 - r^2) / (|d| + r)
            squares = sum(v * v for v in apart)
            far = (squares - self.radius**2) / (Fraction(math.sqrt(squares)) + self.radius)
        return float(max(ends, far, Fraction(0)))

    def placed(self) -> IntegerRegion:
        """The displacements of the movable coordinates, in whole numbers."""
        movable, middle = self.movable, [Fraction(float(x)) for x in self.center]
        ends = [[end - x for end, x in zip(side, middle, strict=True)] for side in (self.lower, self.upper)]
        bits = max(f.denominator.bit_length() - 1 for f in (*ends[0], *ends[1], self.radius))
        narrowest = min(high - low for low, high in zip(*ends, strict=True) if low < high)
        narrowest = min(narrowest, self.radius) if self.norm and self.radius > 0 else narrowest
        bits = max(bits, integers(self.center)[1], FINE - _about_log2(narrowest))
        low, high = (zeros(int(movable.sum())) for _ in ends)
        for array, side in ((low, ends[0]), (high, ends[1])):
            array[:] = [int(end * (1 << bits)) for end, moves in zip(side, movable, strict=True) if moves]
        counts, shift = (None, 0) if self.counts is None else integers(self.counts[movable])
        return IntegerRegion(movable, low, high, self.norm, int(self.radius * (1 << bits)), bits, counts, shift)


@dataclass(frozen=True)
class IntegerRegion:
    """Displacements d of the movable coordinates, times 2^bits: low <= d <= high, |d|_norm <= radius.

    Attributes:
        movable: which coordinates these are, ``(n,)``.
        low, high: ends of the box, ``(m,)``.
        norm: 1 or 2 where there is a ball, else 0.
        radius: of the ball.
        bits: of all displacements and the radius.
        counts, shift: an entry of the gradient is measured times counts / 2^shift, ``(m,)``; None for 1 everywhere.
    """

    movable: Array
    low: Array
    high: Array
    norm: int
    radius: int
    bits: int
    counts: Array | None = None
    shift: int = 0

    def measured(self, entries: Array) -> Array:
        """Entries of gradients ``(m, ...)`` times counts."""
        return entries if self.counts is None else (entries.T * self.counts).T

    def above(self, forms: Array) -> Array:
        """Upper bounds of linear forms ``(k, m)`` over the region, ``(k,)``."""
        box = np.maximum(forms, 0) @ self.high + np.minimum(forms, 0) @ self.low
        if not self.norm:
            return box
        return np.array([min(b, self._cut(form)) for b, form in zip(box, forms, strict=True)], dtype=object)

    def _cut(self, form: Array) -> int:
        """min over t of sup over the box of (form - v) . d + radius |v|_*, v the form cut to [-t, t].

        Whatever t, that is a bound; so a good one is chosen in float64 and the bound evaluated in whole numbers.
        """
        ends = np.where(form > 0, self.high, -self.low)
        spare = max(0, FINE - int(np.abs(form).max(initial=0)).bit_length())
        form = shifted(form, spare)  # coefficients may be as few as 1 bit, and t and a length are rounded
        size, most = np.abs(form), int(np.abs(form).max(initial=0))
        share = np.array([int(x) / most for x in size]) if most else np.zeros(len(size))
        best = best_cut(self.norm, share, np.array([int(end) / int(self.radius) for end in ends]))
        bound = min(self._at(size, ends, (most * int(best * 2**53)) >> 53), self._at(size, ends, most))
        return -(-bound >> spare)

    def _at(self, size: Array, ends: Array, t: int) -> int:
        v = np.minimum(size, t)
        length = max(v, default=0) if self.norm == 1 else _root_above(sum(v * v))
        return sum((size - v) * ends) + self.radius * length


def best_cut(norm: int, size: Array, ends: Array) -> float:
    """The best t of ``IntegerRegion.above`` in float64: one of the sizes, or where the slope between two of them is 0.

    Args:
        norm: of the ball, 1 or 2.
        size: magnitudes of a form's coefficients as parts of the largest, ``(m,)``.
        ends: how far d goes to the side of each coefficient's sign, as a part of the radius, ``(m,)``.
    """
    candidates = np.append(size, 0.0)
    beyond = size > candidates[:, None]
    if norm == 2:
        count, gain = beyond.sum(1), (beyond * ends).sum(1)
        below, squares = count**2 - count * gain**2, (~beyond * size**2).sum(1)
        candidates = np.append(candidates, np.sqrt(gain**2 * squares / np.where(below > 0, below, np.inf)))
    cut = np.minimum(size, candidates[:, None])
    length = cut.max(1, initial=0.0) if norm == 1 else np.sqrt((cut**2).sum(1))
    return float(min(1.0, candidates[(((size - cut) * ends).sum(1) + length).argmin()]))


def _about_log2(number: Fraction) -> int:
    """A whole number that is at most 1 above or below the logarithm, to base 2."""
    return number.numerator.bit_length() - number.denominator.bit_length()


def _root_above(square: int) -> int:
    root = math.isqrt(int(square))
    return int(root + (root * root < square))
