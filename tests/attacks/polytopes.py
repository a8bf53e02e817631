"""Polytopes in exact integer arithmetic, cut by one half-space after the other (the double description method).

A row (a_1, ..., a_n, b) of integers stands for the affine form a . x + b, a polytope for {x : every row >= 0}. A vertex is
kept in homogeneous coordinates (x_1, ..., x_n, w), w > 0, without common divisor, with the set of rows that are 0 there as
the bits of a number. Where it has no end, the directions in which it goes on are vertices with w = 0, and (0, ..., 0, 1) is
among its rows. Nothing is rounded, so sides, volumes and adjacency are what they are.

Nothing here uses lipreg.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Row = tuple[int, ...]


def dot(row: Row, point: Row) -> int:
    """The form at a homogeneous point, times the point's w."""
    return sum(map(int.__mul__, row, point))


def integral(values: Sequence[Fraction]) -> Row:
    """The numbers times their common denominator."""
    scale = math.lcm(*(v.denominator for v in values))
    return tuple(v.numerator * (scale // v.denominator) for v in values)


@dataclass(frozen=True)
class Polytope:
    """A full-dimensional polytope with its vertices.

    Attributes:
        rows: forms that are >= 0 on it; they define it, some may be redundant.
        vertices: homogeneous, in no order.
        tight: for each vertex the rows that vanish there, bit i for row i.
    """

    rows: tuple[Row, ...]
    vertices: tuple[Row, ...]
    tight: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.vertices[0]) - 1

    @property
    def bounded(self) -> bool:
        return all(v[-1] for v in self.vertices)

    def in_units(self, scale: int, units: Sequence[int]) -> Polytope:
        """The same in coordinates x_i / u_i, of units u_i over 2^scale."""
        rows = tuple(row_in_units(row, scale, units) for row in self.rows)
        return Polytope(rows, tuple(point_in_units(v, scale, units) for v in self.vertices), self.tight)

    def split(self, row: Row) -> tuple[Polytope | None, Polytope | None]:
        """The parts where the form is >= 0 and <= 0; None for a part without interior, and beside a form that is 0."""
        sides = [dot(row, v) for v in self.vertices]
        if min(sides) >= 0:
            return self, None
        if max(sides) <= 0:
            return None, self
        bit = 1 << len(self.rows)
        over = [i for i, s in enumerate(sides) if s > 0]
        under = [i for i, s in enumerate(sides) if s < 0]
        on = [(v, t | bit) for v, t, s in zip(self.vertices, self.tight, sides, strict=True) if s == 0]
        for i, j in itertools.product(over, under):
            common = self.tight[i] & self.tight[j]
            if self._adjacent(i, j, common):
                on.append((_between(self.vertices[i], self.vertices[j], sides[i], -sides[j]), common | bit))
        negative = tuple(-a for a in row)
        parts = []
        for kept, own in ((over, row), (under, negative)):
            corners = [(self.vertices[i], self.tight[i]) for i in kept] + on
            parts.append(Polytope((*self.rows, own), tuple(v for v, _ in corners), tuple(t for _, t in corners)))
        return parts[0], parts[1]

    def _adjacent(self, i: int, j: int, common: int) -> bool:
        if common.bit_count() < self.size - 1:
            return False
        if self.size <= 2:
            return True
        return not any(t & common == common for k, t in enumerate(self.tight) if k != i and k != j)

    def holds(self, point: Row) -> bool:
        """Whether a homogeneous point with w > 0 lies in it, border included."""
        return all(dot(row, point) >= 0 for row in self.rows)


def row_in_units(row: Row, scale: int, units: Sequence[int]) -> Row:
    """2^scale times a form, in coordinates x_i / u_i, of units u_i over 2^scale."""
    return (*(a * u for a, u in zip(row[:-1], units, strict=True)), row[-1] << scale)


def point_in_units(point: Row, scale: int, units: Sequence[int]) -> Row:
    """A homogeneous point in these coordinates."""
    common = math.lcm(*units)
    moved = [*((a << scale) * (common // u) for a, u in zip(point[:-1], units, strict=True)), point[-1] * common]
    divisor = math.gcd(*moved)
    return tuple(a // divisor for a in moved)


def _between(u: Row, v: Row, up: int, down: int) -> Row:
    """The point of the segment where a form is 0 that is ``up`` at u and ``-down`` at v (each times its w)."""
    mixed = [down * a + up * b for a, b in zip(u, v, strict=True)]
    divisor = math.gcd(*mixed)
    return tuple(a // divisor for a in mixed)


def box(lower: Sequence[Fraction], upper: Sequence[Fraction]) -> Polytope:
    """{lower <= x <= upper}, lower < upper everywhere."""
    size = len(lower)
    rows = []
    for i, (low, high) in enumerate(zip(lower, upper, strict=True)):
        for sign, end in ((1, -low), (-1, high)):
            row = [Fraction(0)] * size + [Fraction(end)]
            row[i] = Fraction(sign)
            rows.append(integral(row))
    vertices, tight = [], []
    for choice in itertools.product((0, 1), repeat=size):
        point = [(lower, upper)[side][i] for i, side in enumerate(choice)]
        vertices.append(integral([*map(Fraction, point), Fraction(1)]))
        tight.append(sum(1 << (2 * i + side) for i, side in enumerate(choice)))
    return Polytope(tuple(rows), tuple(vertices), tuple(tight))


def everywhere(size: int) -> list[Polytope]:
    """All of R^n in n + 1 parts: where one of 0, x_1, ..., x_n is the least of them."""

    def coordinate(i: int) -> list[int]:
        return [int(i == j + 1) for j in range(size + 1)] if i else [0] * (size + 1)

    origin = (*[0] * size, 1)
    parts = []
    for least in range(size + 1):
        others = [i for i in range(size + 1) if i != least]
        rows = [tuple(a - b for a, b in zip(coordinate(i), coordinate(least), strict=True)) for i in others]
        # away from the least of them, one of the others grows alone: 0 does where all x fall
        rays = [tuple(coordinate(i)) if i else (*[-1] * size, 0) for i in others]
        own = [(1 << size + 1) - 1 - (1 << at) for at in range(size)]
        parts.append(Polytope((*rows, origin), (origin, *rays), ((1 << size) - 1, *own)))
    return parts


def cut(polytope: Polytope | None, rows: Sequence[Row]) -> Polytope | None:
    """The part where all rows are >= 0; None without interior."""
    for row in rows:
        if polytope is None:
            return None
        polytope = polytope.split(row)[0]
    return polytope


def pieces(polytope: Polytope, rows: Sequence[Row]) -> list[Polytope]:
    """The parts into which the zero sets of the rows cut it."""
    parts = [polytope]
    for row in rows:
        if any(row):
            parts = [piece for part in parts for piece in part.split(row) if piece is not None]
    return parts


def l1_rows(center: Sequence[Fraction], radius: Fraction) -> list[Row]:
    """The rows of {|x - center|_1 <= radius}."""
    rows = []
    for signs in itertools.product((1, -1), repeat=len(center)):
        level = radius + sum(s * c for s, c in zip(signs, center, strict=True))
        rows.append(integral([*(Fraction(-s) for s in signs), level]))
    return rows


def squared_distance(polytope: Polytope, center: Sequence[Fraction]) -> Fraction:
    """min |x - center|_2^2 over a polytope in at most 3 dimensions: inside, or next to a facet, an edge or a vertex."""
    origin = integral([*center, Fraction(1)])
    if polytope.holds(origin):
        return Fraction(0)
    shifted = [[Fraction(a, v[-1]) - c for a, c in zip(v[:-1], center, strict=True)] for v in polytope.vertices]
    best = min(_inner(d, d) for d in shifted)
    for d, e in itertools.combinations(shifted, 2):  # every edge is among them, and the others are inside
        step = [b - a for a, b in zip(d, e, strict=True)]
        share = -_inner(d, step) / _inner(step, step)
        if 0 < share < 1:
            near = [a + share * s for a, s in zip(d, step, strict=True)]
            best = min(best, _inner(near, near))
    if polytope.size == 3:
        for row in polytope.rows:
            normal = [Fraction(a) for a in row[:-1]]
            level = Fraction(dot(row, origin), origin[-1])  # the form at the center, negative where it is cut off
            if level < 0:
                foot = [c - level * a / _inner(normal, normal) for c, a in zip(center, normal, strict=True)]
                if polytope.holds(integral([*foot, Fraction(1)])):
                    best = min(best, level * level / _inner(normal, normal))
    return best


def _inner(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), start=Fraction(0))
