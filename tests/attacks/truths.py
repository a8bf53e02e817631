"""The constants of a network over a region, from its linear pieces, and how a float compares with them: all in rationals.

Constants are kept as squares, which are rational for every pair of norms but l2 to l2; that one is kept as Gram matrices,
whose largest eigenvalue is compared with a number by the signs of the characteristic polynomial's derivatives.

* regional: the largest operator norm of the Jacobian over all pieces of full dimension.
* pointed, p = 1 and inf: pieces cut along the planes where the norm of x - x0 bends. There the quotient is a convex function
  over a linear one, so it is largest at a vertex, and where x0 itself is one, at another; over R^n also far out, where the
  quotient along a ray ends.
* regional from l_inf to l2: the largest over sign vectors of the inputs.
* pointed, p = 2, one functional, a region with ends: |g . d + e| / |d| is largest at a vertex, or where it is stationary on
  an edge, a facet or (only if e = 0, and then on the border too) inside: rational points all of them, in up to 3 inputs
  (``stationary``).

Nothing here uses lipreg.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tests.attacks.polytopes import Row, dot
from tests.attacks.polytopes import pieces as cut_along
from tests.attacks.programs import Piece
from tests.attacks.stationary import stationary

Matrix = Sequence[Sequence[int]]
MOST_SIGNED = 10
"""Inputs, above which not all of their sign vectors are gone through."""


@dataclass
class Constant:
    """The square of a constant, or of a number below and one above it.

    Attributes:
        over, under: squares of what the constant is at least, as numerator and denominator.
        grams: Gram matrices over ``scales``, whose largest eigenvalues are further squares.
        attained: False if the constant may be larger than all of these.
        ceiling: another constant that this one is at most; itself if None.
    """

    over: int = 0
    under: int = 1
    grams: list[tuple[Matrix, int]] = field(default_factory=list)
    attained: bool = True
    ceiling: Constant | None = None

    def enter(self, over: int, under: int) -> None:
        """A square that the constant's is at least."""
        if over * self.under > self.over * under:
            self.over, self.under = over, under

    def above(self, number: Fraction) -> bool:
        """Whether the constant is proved to be larger."""
        square = number * number
        if number < 0 or Fraction(self.over, self.under) > square:
            return True
        return any(not _at_least(gram, square * scale) for gram, scale in self._leading())

    def below(self, number: Fraction) -> bool:
        """Whether the constant is proved to be smaller."""
        if self.ceiling is not None:
            return self.ceiling.below(number)
        if not self.attained or self.above(number) or number <= 0:
            return False
        square = number * number
        return Fraction(self.over, self.under) < square and not any(
            _reaches(gram, square * scale) for gram, scale in self._leading()
        )

    def _leading(self) -> list[tuple[Matrix, int]]:
        """The Gram matrices without those that are smaller beyond doubt."""
        if len(self.grams) > 1:
            largest = max(Fraction(_trace(g), s) for g, s in self.grams) or Fraction(1)
            # in floats of the size of the largest trace, of which an eigenvalue is at least a part in ten
            tops = [
                float(np.linalg.eigvalsh([[float(Fraction(a, s) / largest) for a in row] for row in g])[-1])
                for g, s in self.grams
            ]
            self.grams = [pair for pair, top in zip(self.grams, tops, strict=True) if top >= max(tops) - 1e-9][:3]
        return self.grams

    def __float__(self) -> float:
        """The constant, about."""
        roots = [root(Fraction(self.over, self.under))]
        for gram, scale in self._leading():
            low, high = Fraction(0), Fraction(_trace(gram), scale)
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (low, middle) if _at_least(gram, middle * scale) else (middle, high)
            roots.append(root(high))
        return max(roots)


def root(number: Fraction) -> float:
    """The square root, about, whatever the size of the number."""
    if number <= 0:
        return 0.0
    shift = (number.denominator.bit_length() - number.numerator.bit_length()) // 2 + 64
    whole = math.isqrt(int(number * Fraction(4) ** shift))
    try:
        return math.ldexp(whole, -shift)
    except OverflowError:
        return math.inf


# ---------------------------------------------------------------- regional


def enter_jacobian(constant: Constant, jacobian: Matrix, scale: int, p: float, q: float | None) -> None:
    """Enters |J|_{p->q} of J over 2^scale; with q None the largest norm of a row."""
    unit = 1 << 2 * scale
    if q is None or q == math.inf:
        squares = [_square(row, p) for row in jacobian]
    elif p == 1:
        squares = [
            _square(column, q) if q == 2 else sum(map(abs, column)) ** 2 for column in zip(*jacobian, strict=True)
        ]
    elif p == math.inf and q == 2:
        squares = [
            sum(sum(s * a for s, a in zip(signs, row, strict=True)) ** 2 for row in jacobian)
            for signs in _signs(jacobian)
        ]
        constant.attained &= len(jacobian[0]) <= MOST_SIGNED or _one_sign(jacobian)
    elif q == 1:
        columns = list(zip(*jacobian, strict=True))
        squares = [
            _square([sum(s * a for s, a in zip(signs, c, strict=True)) for c in columns], p)
            for signs in itertools.product((1, -1), repeat=len(jacobian))
            if signs[0] == 1
        ]
    else:
        small = jacobian if len(jacobian) <= len(jacobian[0]) else list(zip(*jacobian, strict=True))
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in small] for u in small]
        constant.grams.append((gram, unit))
        return
    for square in squares:
        constant.enter(square, unit)


def _signs(jacobian: Matrix) -> Iterable[Sequence[int]]:
    """The sign vectors of inputs among which the largest is; those of the rows alone where they are too many."""
    if _one_sign(jacobian):
        return [[1] * len(jacobian[0])]
    if len(jacobian[0]) <= MOST_SIGNED:
        return ((1, *rest) for rest in itertools.product((1, -1), repeat=len(jacobian[0]) - 1))
    return [[1 if a >= 0 else -1 for a in row] for row in jacobian]


def _one_sign(jacobian: Matrix) -> bool:
    return all(a >= 0 for row in jacobian for a in row)


def _square(row: Iterable[int], p: float) -> int:
    """The square of the dual norm."""
    if p == 2:
        return sum(a * a for a in row)
    return (sum(map(abs, row)) if p == math.inf else max(map(abs, row))) ** 2


def combined(rows: Matrix, weights: Matrix) -> list[list[int]]:
    """weights rows."""
    columns = list(zip(*rows, strict=True))
    return [[sum(w * a for w, a in zip(ws, c, strict=True)) for c in columns] for ws in weights]


# ---------------------------------------------------------------- pointed


def bends(center: Row, p: float) -> list[Row]:
    """The planes through the center (homogeneous) where |x - x0|_p, p = 1 or inf, is not linear."""
    size, w = len(center) - 1, center[-1]
    units = [tuple(w if j == i else -center[i] if j == size else 0 for j in range(size + 1)) for i in range(size)]
    if p == 1 or size == 1:
        return units
    pairs = itertools.combinations(units, 2)
    return [tuple(a + s * b for a, b in zip(u, v, strict=True)) for u, v in pairs for s in (1, -1)]


def enter_quotients(
    constant: Constant,
    piece: Piece,
    center: Row,
    start: Sequence[int],
    weights: Matrix,
    scale: int,
    p: float,
    q: float | None,
) -> None:
    """Enters the largest quotient |c . (f(x) - f(x0))| / |x - x0|_p over a piece.

    Args:
        center: x0, homogeneous.
        start: f(x0) over 2^scale of the piece and the center's w.
        weights, scale: the rows c over 2^scale.
    """
    unit = 1 << 2 * (piece.scale + scale)
    parts = [piece.polytope] if p == 2 else cut_along(piece.polytope, bends(center, p))
    for polytope in parts:
        points: Iterable[Row] = polytope.vertices
        if p == 2 and q is None and polytope.bounded:
            forms = combined(piece.rows, weights)
            origins = [sum(w * a for w, a in zip(ws, start, strict=True)) for ws in weights]
            points = itertools.chain(points, stationary(polytope, forms, origins, center))
        for point in points:
            apart = [a * center[-1] - b * point[-1] for a, b in zip(point[:-1], center[:-1], strict=True)]
            if not any(apart):
                continue
            rise = [dot(row, point) * center[-1] - at * point[-1] for row, at in zip(piece.rows, start, strict=True)]
            rise = [sum(w * a for w, a in zip(ws, rise, strict=True)) for ws in weights]
            run = sum(a * a for a in apart) if p == 2 else (sum if p == 1 else max)(map(abs, apart)) ** 2
            if q == 2:
                over = sum(a * a for a in rise)
            else:
                over = (sum if q == 1 else max)(map(abs, rise)) ** 2
            constant.enter(over, run * unit)


def enter_pair(
    constant: Constant, change: Sequence[Fraction], apart: Sequence[Fraction], p: float, q: float | None
) -> None:
    """Enters |change|_q / |apart|_p, of what the functional's rows and the inputs change by between two points."""
    run = sum(a * a for a in apart) if p == 2 else (sum if p == 1 else max)(map(abs, apart)) ** 2
    over = sum(a * a for a in change) if q == 2 else (sum if q == 1 else max)(map(abs, change)) ** 2
    if run:
        square = Fraction(over) / run
        constant.enter(square.numerator, square.denominator)


# ---------------------------------------------------------------- eigenvalues


def _trace(gram: Matrix) -> int:
    return sum(gram[i][i] for i in range(len(gram)))


def _polynomial(gram: Matrix) -> list[Fraction]:
    """Coefficients of det(t - G), the highest first (Faddeev and LeVerrier)."""
    size = len(gram)
    found, product = [Fraction(1)], [[Fraction(0)] * size for _ in range(size)]
    for k in range(1, size + 1):
        for i in range(size):
            product[i][i] += found[-1]
        product = [
            [sum((gram[i][l] * product[l][j] for l in range(size)), Fraction(0)) for j in range(size)]
            for i in range(size)
        ]
        found.append(-sum((product[i][i] for i in range(size)), Fraction(0)) / k)
    return found


def _derivatives(gram: Matrix, number: Fraction) -> list[Fraction]:
    polynomial, values = _polynomial(gram), []
    while polynomial:
        total = Fraction(0)
        for a in polynomial:
            total = total * number + a
        values.append(total)
        degree = len(polynomial) - 1
        polynomial = [a * (degree - i) for i, a in enumerate(polynomial[:-1])]
    return values


def _at_least(gram: Matrix, number: Fraction) -> bool:
    """Whether the number is at least the largest eigenvalue: all derivatives of a real-rooted polynomial are >= 0 there."""
    return all(v >= 0 for v in _derivatives(gram, number))


def _reaches(gram: Matrix, number: Fraction) -> bool:
    """Whether the largest eigenvalue is at least the number."""
    return not all(v > 0 for v in _derivatives(gram, number))
