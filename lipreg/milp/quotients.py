"""The largest quotient |F(x) - F(x0)|_q / |x - x0|_p over linear pieces of two inputs, in whole numbers (pointed scope).

Over a piece, a polygon P, F(x) - F(x0) is a linear form of the vertex (x, y, w) that stands for a point, and so is
w (x - x0) in the question's units: N and D. Quotients are |N|_q / |D|_p, whatever w is. N = 0 where D = 0: F is continuous,
so if x0 is in P, which is closed, the form of P has the value F(x0) there.

* p = 1, inf. Lines through x0 divide the region so that |D|_p is linear over each part. A point of P is a sum of multiples
  s_i >= 0 of its corners v_i, so |N|_q <= sum s_i |N(v_i)|_q, whatever the norm q, while |D|_p = sum s_i |D(v_i)|_p. The
  quotient of both sums is at most the largest of the corners' own (one at x0 adds 0 to both): a corner attains the supremum.
* p = 2. Along a ray x0 + r u, r > 0, quotients are |G u + h / r|_q / |u|_2, which is convex in 1 / r: the largest is at an
  end of the ray's part in P (if that begins at x0, h = 0, and all are the same). So an edge attains the supremum, on a line
  through x0 one of its ends: ``edges``.
* A disc about x0 lies on one side of each of its tangents. Where a point outside of it has the largest quotient, the piece
  is cut by the tangent across its ray. What is left holds the part of P in the disc, so a bound stays one, and a corner is
  about a quarter as far outside as before. Cuts end where the point of the ray on the circle has as large a quotient in P.

Within a piece that ends in x0, quotients do not change along rays: the supremum is attained, by a point other than x0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from torch import Tensor

from lipreg.milp.edges import End, maxima
from lipreg.milp.planar_region import INPUTS, PlanarRegion
from lipreg.milp.polygons import Polygon, holds, integral, middle, parts, point, vertex
from lipreg.milp.rounded_up import ROOT, quotient_above, root_above
from lipreg.milp.whole_numbers import WholeNumbers
from lipreg.problem import PlacedProblem

BEST = 16
"""So many of the best pieces have points that are offered as witnesses."""
INWARD = (0.0, *(2.0**-bits for bits in (46, 40, 34, 28, 22, 16, 11, 7, 4, 2, 1)))
"""How far from the best point of a piece to its middle points lie: one on a border, rounded, may lie outside."""
ALONG = (1 - 2.0**-44, 1 - 2.0**-20, 0.75, 0.5)
"""How far from x0 to the best point of a piece points lie: within a piece that ends in x0, all have its quotient."""
CLOSE = 1 - 2**-40
"""A quotient within the disc this close to the bound of what lies around it needs no more tangents."""


class Quotients:
    """The largest quotient so far.

    Args:
        placed: the question at a single point.
        region: its region.
        rows, weights: its rows, and the units of both coordinates.
        center: the vertex of the reference point.
        start: the network's output there times the third entry of the vertex, ``(1, outputs)``.

    Attributes:
        upper: a float at least that, and hardly above it.
    """

    def __init__(
        self,
        placed: PlacedProblem,
        region: PlanarRegion,
        rows: WholeNumbers,
        weights: WholeNumbers,
        center: np.ndarray,
        start: WholeNumbers,
    ) -> None:
        (first, second), (x, y, w) = weights.whole, center
        self._region, self._rows, self.upper = region, rows, 0.0
        single = len(region.free) < INPUTS  # the second coordinate counts for nothing, and all norms are one
        self._p, self._q = 1.0 if single else placed.problem.p, placed.problem.q
        factors = np.array([[1], [0]] if single else [[second], [first]], dtype=object)
        self._steps = np.array([[w, 0, -x], [0, w, -y]], dtype=object) * factors
        self._factor = first if single else first * second
        self._exponent, self._start, self._by = weights.exponent, start, w
        self._best: list[tuple[float, End, Polygon]] = []

    def lines(self) -> list[np.ndarray]:
        """The lines on whose sides pieces have to lie: those through x0 where |x - x0|_p has kinks."""
        if self._p == 2.0:
            return []
        along, across = self._steps
        lines = (along, across) if self._p == 1.0 else (along + across, along - across)
        return [line for line in lines if line.any()]

    def take(self, polygon: Polygon, output: WholeNumbers) -> None:
        """Enters a linear piece.

        Args:
            polygon: the piece.
            output: the network's output there, ``(3, outputs)``: both slopes and the constant.
        """
        forms, exponent = self._rises(output)
        value, end = self._largest(polygon, forms, exponent)
        while value > self.upper:
            cut = self._cut(polygon, value, end, forms, exponent)
            if cut is None:
                break
            polygon = cut
            value, end = self._largest(polygon, forms, exponent)
        self.upper = max(self.upper, value)
        self._best.append((value, end, polygon))
        self._best.sort(key=lambda piece: -piece[0])
        del self._best[BEST:]

    def points(self) -> Iterator[tuple[float, Tensor]]:
        """Of each of the best pieces, the best first, its bound and points near the one that has it, ``(k, *shape)``."""
        (cx, cy), region = self._region.center, self._region
        for value, end, polygon in self._best:
            (x, y), inside = point(self._drawn(end.vertex)[0]), middle(polygon)
            places = [(x + share * (inside[0] - x), y + share * (inside[1] - y)) for share in map(Fraction, INWARD)]
            places[1:1] = [(cx + share * (x - cx), cy + share * (y - cy)) for share in map(Fraction, ALONG)]
            yield value, region.points(places)

    def _rises(self, output: WholeNumbers) -> tuple[np.ndarray, int]:
        """The forms of N, ``(rows, 3)``, without those that are 0 everywhere, and the exponent of quotients."""
        rises, start = self._rows.whole @ output.whole.T * self._by, self._rows.whole @ self._start.whole.T
        exponent = min(output.exponent, self._start.exponent)
        rises = rises << (output.exponent - exponent)
        rises[:, -1:] -= start << (self._start.exponent - exponent)
        return rises[rises.any(1)] * self._factor, self._rows.exponent + exponent + self._exponent

    def _largest(self, polygon: Polygon, forms: np.ndarray, exponent: int) -> tuple[float, End]:
        """A bound on the quotients of a polygon, and where it is attained; of several such points one far from x0."""
        ends = [End(*both) for both in zip(polygon, polygon @ forms.T, polygon @ self._steps.T, strict=True)]
        best, where = 0.0, ends[0]
        for end in ends:
            value = self._quotient(end.rise, end.step, exponent)
            if value > best or (value == best and _farther(end, where)):
                best, where = value, end
        if self._p == 2.0 and len(forms):
            for one, other in zip(ends, [*ends[1:], ends[0]], strict=True):
                for square, by, end in maxima(one, other, self._q):
                    value = quotient_above(square, by, exponent, squared=True)
                    if value > best:
                        best, where = value, end
        return best, where

    def _quotient(self, rise: np.ndarray, step: np.ndarray, exponent: int) -> float:
        """|N|_q / |D|_p, rounded up; 0 where both are 0."""
        n, n_squared = _norm(rise, self._q)
        d, d_squared = _norm(step, self._p)
        if not d:
            return 0.0
        if n_squared or d_squared:
            n, d = n if n_squared else n * n, d if d_squared else d * d
        return quotient_above(n, d, exponent, squared=n_squared or d_squared)

    def _cut(self, polygon: Polygon, value: float, end: End, forms: np.ndarray, exponent: int) -> Polygon | None:
        """What the tangent at a point outside of the disc leaves of a polygon; None where none is needed, or all is left."""
        inner, outside = self._drawn(end.vertex)
        if not outside:
            return None
        if holds(polygon, inner) and self._quotient(forms @ inner, self._steps @ inner, exponent) >= value * CLOSE:
            return None
        left, gone = parts(polygon, self._tangent(end.vertex))
        return None if gone is None else left

    def _drawn(self, to: np.ndarray) -> tuple[np.ndarray, bool]:
        """The vertex itself within the disc, else the end of its ray there, hardly inside; whether it lies outside."""
        (cx, cy), radius, (x, y) = self._region.center, self._region.radius, point(to)
        square = (x - cx) ** 2 + (y - cy) ** 2
        if radius is None or square <= radius * radius:
            return to, False
        ratio = radius * radius / square
        share = Fraction(math.isqrt((ratio.numerator << (2 * ROOT)) // ratio.denominator), 1 << ROOT)
        return vertex(cx + share * (x - cx), cy + share * (y - cy)), True

    def _tangent(self, to: np.ndarray) -> np.ndarray:
        """A line beside the disc across the ray to a vertex, hardly farther from x0 than the circle is."""
        (cx, cy), radius, (x, y) = self._region.center, self._region.radius, point(to)
        assert radius is not None
        largest = max(abs(x - cx), abs(y - cy))
        a, b = (int((at - c) / largest * (1 << ROOT)) for at, c in ((x, cx), (y, cy)))
        far = radius * Fraction(root_above(a * a + b * b), 1 << ROOT)
        return integral([Fraction(-a), Fraction(-b), far + a * cx + b * cy])


def _norm(vector: np.ndarray, norm: float | None) -> tuple[int, bool]:
    """The norm of a vector, and False, or the square of an l2 norm, and True."""
    sizes = [abs(int(entry)) for entry in vector]
    if norm == 2.0:
        return sum(size * size for size in sizes), True
    return sum(sizes) if norm == 1.0 else max(sizes, default=0), False


def _farther(one: End, other: End) -> bool:
    """Whether D is longer for one point than for another one, in l2."""
    far = [int((end.step * end.step).sum()) * int(by.vertex[-1]) ** 2 for end, by in ((one, other), (other, one))]
    return far[0] > far[1]
