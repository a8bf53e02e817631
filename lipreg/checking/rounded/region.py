"""The region in float64: a box that holds it, cut by a ball that is no smaller, and bounds of forms over it, rounded up."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.region import IntegerRegion, best_cut
from lipreg.checking.rounded.balls import EPS, FLOOR, Balls, raised


@dataclass(frozen=True)
class FloatRegion:
    """Displacements: low <= d <= high, |d|_norm <= radius, each end a float that is no farther in than the true one.

    Attributes:
        low, high: ends of the box, ``(m,)``.
        norm: 1 or 2 where there is a ball, else 0.
        radius: of the ball.
        counts: what entries of gradients are multiplied by before they are measured, ``(m,)``; None for 1 everywhere.
    """

    low: Array
    high: Array
    norm: int
    radius: float
    counts: Balls | None = None

    @staticmethod
    def of(region: IntegerRegion) -> FloatRegion:
        """The float64 region that holds one in whole numbers."""
        one = 1 << region.bits
        low = np.array([-above(Fraction(-int(x), one)) for x in region.low], dtype=float)
        high = np.array([above(Fraction(int(x), one)) for x in region.high], dtype=float)
        counts = None if region.counts is None else Balls.near(region.counts, region.shift)
        return FloatRegion(low, high, region.norm, above(Fraction(region.radius, one)), counts)

    def measured(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Intervals of a gradient's entries ``(m,)`` times counts, rounded outward."""
        if self.counts is None:
            return low, high
        least, most = self.counts.mid - self.counts.rad, self.counts.mid + self.counts.rad
        least, most = np.maximum(least * (1 - 4 * EPS), 0.0), most * (1 + 4 * EPS)
        off = FLOOR * ((most != 0) & ((low != 0) | (high != 0)))  # of products that underflow
        low, high = (np.where(end > 0, end * a, end * b) for end, a, b in ((low, least, most), (high, most, least)))
        return low - 4 * EPS * np.abs(low) - off, high + 4 * EPS * np.abs(high) + off

    @property
    def size(self) -> Array:
        """The largest magnitude of each displacement."""
        return np.maximum(-self.low, self.high)

    def above(self, forms: Array) -> Array:
        """Upper bounds of linear forms ``(k, m)`` of floats over the region, ``(k,)``."""
        m = forms.shape[1]
        box = np.maximum(forms, 0) @ self.high + np.minimum(forms, 0) @ self.low
        off = (m + 4) * EPS * (np.abs(forms) @ self.size) * raised(m) + FLOOR * (forms != 0).any(1)
        box = box + off + 2 * EPS * (np.abs(box) + off)
        if not self.norm:
            return box
        return np.array([min(b, self._cut(form)) for b, form in zip(box, forms, strict=True)])

    def _cut(self, form: Array) -> float:
        """``IntegerRegion.above`` by one t, that is any: every summand is at least 0."""
        ends, size = np.where(form > 0, self.high, -self.low), np.abs(form)
        most = float(size.max(initial=0.0))
        if not 0 < most < np.inf:
            return 0.0 if most == 0 else np.inf
        t = most * best_cut(self.norm, size / most, ends / self.radius)
        v = np.minimum(size, t)
        length = float(v.max(initial=0.0)) if self.norm == 1 else float(np.sqrt((v * v).sum() + FLOOR))
        return float((((size - v) * ends).sum() + self.radius * length) * raised(2 * len(form) + 16) + FLOOR)


def above(number: Fraction) -> float:
    """The least float that is not below a number.

    Raises:
        OverflowError: there is none.
    """
    nearest = float(number)
    return nearest if Fraction(nearest) >= number else float(np.nextafter(nearest, np.inf))


def below(number: Fraction) -> float:
    """The largest float that is not above a number."""
    return -above(-number)
