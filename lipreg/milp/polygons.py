"""Convex polygons in whole numbers: a vertex (x, y, w), w > 0, stands for (x / w, y / w), a line (a, b, c) for its side
a x + b y + c w >= 0. Every polygon here has an interior, and so have the parts into which lines divide it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

Polygon = np.ndarray
"""Vertices in their order, ``(vertices, 3)`` of Python's integers, dtype object."""


def rectangle(x: tuple[Fraction, Fraction], y: tuple[Fraction, Fraction]) -> Polygon:
    """The rectangle between two ends of x and two of y, each apart."""
    corners = ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))
    return np.array([_vertex(*corner) for corner in corners], dtype=object)


def parts(polygon: Polygon, line: np.ndarray) -> tuple[Polygon | None, Polygon | None]:
    """What of a polygon lies on the line's side, and on the other; None for a part without an interior."""
    values = polygon @ line
    if (values >= 0).all():
        return polygon, None
    if (values <= 0).all():
        return None, polygon
    sides: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for at, value in enumerate(values):
        if value >= 0:
            sides[0].append(polygon[at])
        if value <= 0:
            sides[1].append(polygon[at])
        follower = (at + 1) % len(values)
        if value * values[follower] < 0:
            crossing = polygon[at] * abs(values[follower]) + polygon[follower] * abs(value)
            crossing = crossing // math.gcd(*crossing)
            for side in sides:
                side.append(crossing)
    return np.array(sides[0], dtype=object), np.array(sides[1], dtype=object)


def middle(polygon: Polygon) -> tuple[Fraction, Fraction]:
    """The mean of the vertices, which lies inside."""
    points = [(Fraction(x, w), Fraction(y, w)) for x, y, w in polygon]
    return sum(x for x, _ in points) / Fraction(len(points)), sum(y for _, y in points) / Fraction(len(points))


def nearest(polygon: Polygon, to: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    """The point of a polygon that is nearest to another one: that itself, inside, or a point of an edge."""
    x, y = to
    points = [(Fraction(a, w), Fraction(b, w)) for a, b, w in polygon]
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    turns = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in edges]
    if all(turn >= 0 for turn in turns) or all(turn <= 0 for turn in turns):
        return to
    candidates = []
    for (ax, ay), (bx, by) in edges:
        dx, dy = bx - ax, by - ay
        along = min(Fraction(1), max(Fraction(0), ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)))
        candidates.append((ax + along * dx, ay + along * dy))
    return min(candidates, key=lambda point: squared_distance(point, to))


def squared_distance(one: tuple[Fraction, Fraction], other: tuple[Fraction, Fraction]) -> Fraction:
    """|one - other|_2^2."""
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def _vertex(x: Fraction, y: Fraction) -> list[int]:
    w = math.lcm(x.denominator, y.denominator)
    return [int(x * w), int(y * w), w]
