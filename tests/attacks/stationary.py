"""Where |g . d + e| / |d|_2 may be largest on a polytope besides its vertices: stationary points of edges and facets.

On an edge the quotient's derivative has one zero. On a facet normal . d = level the rise is linear, aim . d with
aim = g + e / level normal, so the quotient is largest where d is parallel to aim. Inside a polytope it is stationary only
if e = 0, and then constant along rays that leave through a facet. All these points are rational. Floats only leave out
points whose quotients are smaller than a vertex's by more than any rounding.

Nothing here uses lipreg.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from tests.attacks.polytopes import Polytope, Row, dot, integral

SLACK = 1e-9
"""Relative; far above the rounding of the floats that leave points out."""


def stationary(polytope: Polytope, forms: Sequence[Sequence[int]], starts: Sequence[int], center: Row) -> Iterator[Row]:
    """The points, homogeneous, d = x - x0.

    Args:
        forms: rows (g, g's constant); g . d + e is the form less its start.
        starts: what the forms have at the center, times its w.
        center: x0, homogeneous.
    """
    apart = [
        [Fraction(a, v[-1]) - Fraction(c, center[-1]) for a, c in zip(v[:-1], center[:-1], strict=True)]
        for v in polytope.vertices
    ]
    size = max(abs(a) for d in apart for a in d)
    floats = np.array([[float(a / size) for a in d] for d in apart])
    first, second = np.triu_indices(len(apart), 1)
    base, step = floats[first], floats[second] - floats[first]
    aa, ab, bb = (base * base).sum(1), (base * step).sum(1), (step * step).sum(1)
    for form, start in zip(forms, starts, strict=True):
        rises = [Fraction(dot(tuple(form), v), v[-1]) - Fraction(start, center[-1]) for v in polytope.vertices]
        most = max(map(abs, rises))
        if not most:
            continue
        rise = np.array([float(r / most) for r in rises])
        u, slope = rise[first], rise[second] - rise[first]
        with np.errstate(all="ignore"):
            best = np.abs(rise) / np.linalg.norm(floats, axis=1)
            best = float(best[np.isfinite(best)].max(initial=0.0))
            share = (u * ab - slope * aa) / (slope * ab - u * bb)
            reached = np.abs(u + share * slope) / np.linalg.norm(base + share[:, None] * step, axis=1)
        small = (share < -SLACK) | (share > 1 + SLACK) | (reached < best * (1 - SLACK))
        for i, j in zip(first[~small], second[~small], strict=True):
            yield from _on_edge(apart[i], apart[j], rises[i], rises[j], center)
        if polytope.size == 3:
            yield from _on_facets(polytope, form, start, center, best * (1 - SLACK), size / most)


def _on_edge(a: list[Fraction], b: list[Fraction], u: Fraction, v: Fraction, center: Row) -> Iterator[Row]:
    step, slope = [y - x for x, y in zip(a, b, strict=True)], v - u
    aa, ab, bb = _inner(a, a), _inner(a, step), _inner(step, step)
    divisor = slope * ab - u * bb
    share = (u * ab - slope * aa) / divisor if divisor else Fraction(-1)
    if 0 < share < 1:
        yield _placed([x + share * y for x, y in zip(a, step, strict=True)], center)


def _on_facets(
    polytope: Polytope, form: Sequence[int], start: int, center: Row, least: float, unit: Fraction
) -> Iterator[Row]:
    """Those whose quotient times the unit is at least so large."""
    gradient = [Fraction(a) for a in form[:-1]]
    away = Fraction(dot(tuple(form), center) - start, center[-1])
    for row in polytope.rows:
        level = -Fraction(dot(row, center), center[-1])  # the facet is normal . d = level
        if not level:
            continue
        aim = [g + away / level * n for g, n in zip(gradient, row[:-1], strict=True)]
        if _length([a * unit for a in aim]) < least:
            continue
        pace = _inner(aim, [Fraction(a) for a in row[:-1]])
        if pace:
            point = _placed([level / pace * a for a in aim], center)
            if polytope.holds(point):
                yield point


def _length(vector: Sequence[Fraction]) -> float:
    try:
        return math.hypot(*map(float, vector))
    except OverflowError:
        return math.inf


def _placed(apart: Sequence[Fraction], center: Row) -> Row:
    return integral([*(a + Fraction(c, center[-1]) for a, c in zip(apart, center[:-1], strict=True)), Fraction(1)])


def _inner(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
