"""Convex polygons in whole numbers: a vertex (x, y, w), w > 0, stands for (x / w, y / w), a line (a, b, c) for its side
a x + b y + c w >= 0. Every polygon here has an interior, and so have the parts into which lines divide it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

Polygon = np.ndarray
"""Vertices in their order, ``(vertices, 3)`` of Python's integers, dtype object."""
Point = tuple[Fraction, Fraction]
"""A point of the plane."""


def rectangle(x: tuple[Fraction, Fraction], y: tuple[Fraction, Fraction]) -> Polygon:
    """The rectangle between two ends of x and two of y, each apart."""
    corners = ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))
    return np.array([vertex(*corner) for corner in corners])


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


def divided(polygon: Polygon, lines: list[np.ndarray], inside: bool = False) -> list[Polygon]:
    """The parts into which lines divide a polygon.

    Args:
        polygon: in whole numbers.
        lines: each as whole numbers.
        inside: whether only the part on the sides of all lines is given, if there is one.
    """
    pieces = [polygon]
    for line in lines:
        both = [parts(piece, line)[: 1 if inside else 2] for piece in pieces]
        pieces = [part for each in both for part in each if part is not None]
    return pieces


def middle(polygon: Polygon) -> Point:
    """The mean of the vertices, which lies inside."""
    points = [point(corner) for corner in polygon]
    return sum(x for x, _ in points) / Fraction(len(points)), sum(y for _, y in points) / Fraction(len(points))


def nearest(polygon: Polygon, to: Point) -> Point:
    """The point of a polygon that is nearest to another one: that itself, inside, or a point of an edge."""
    if holds(polygon, vertex(*to)):
        return to
    x, y = to
    points = [point(corner) for corner in polygon]
    candidates = []
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        dx, dy = bx - ax, by - ay
        along = min(Fraction(1), max(Fraction(0), ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)))
        candidates.append((ax + along * dx, ay + along * dy))
    return min(candidates, key=lambda one: squared_distance(one, to))


def squared_distance(one: Point, other: Point) -> Fraction:
    """|one - other|_2^2."""
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def vertex(x: Fraction, y: Fraction) -> np.ndarray:
    """The vertex that stands for a point, ``(3,)``."""
    w = math.lcm(x.denominator, y.denominator)
    return np.array([int(x * w), int(y * w), w], dtype=object)


def point(of: np.ndarray) -> Point:
    """The point that a vertex stands for."""
    x, y, w = of.tolist()
    return Fraction(x, w), Fraction(y, w)


def holds(polygon: Polygon, one: np.ndarray) -> bool:
    """Whether the point of a vertex lies in a polygon, on its border too."""
    (x, y), points = point(one), [point(corner) for corner in polygon]
    turns = [
        (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
        for a, b in zip(points, [*points[1:], points[0]], strict=True)
    ]
    return all(turn >= 0 for turn in turns) or all(turn <= 0 for turn in turns)


def integral(numbers: list[Fraction]) -> np.ndarray:
    """The smallest common multiple of numbers that makes them whole."""
    common = math.lcm(*(number.denominator for number in numbers))
    return np.array([int(number * common) for number in numbers], dtype=object)
