"""A region over the one or two inputs that move, as a polygon in whole numbers; a disc is the square around it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipreg.milp.polygons import Point, Polygon, divided, integral, nearest, rectangle, squared_distance, vertex
from lipreg.regions import PlacedRegion

INPUTS = 2
"""The most inputs that can move."""


class PlanarRegion:
    """The plane of the inputs that move; a single one is the first coordinate, beside a second that counts for nothing.

    Args:
        region: around a single point, bounded; 1 to ``INPUTS`` inputs move.

    Attributes:
        free: the flat positions of the inputs that move.
        center: the reference point.
        radius: that of the disc; None where the region is a polygon.
    """

    def __init__(self, region: PlacedRegion) -> None:
        self._region = region
        self.free = np.flatnonzero(region.movable[0].flatten().numpy())
        at = region.center[0].flatten().numpy()[self.free].tolist()
        self.center: Point = (Fraction(at[0]), Fraction(at[-1]))
        disc = region.norm == 2.0 and region.radius < math.inf and len(self.free) == INPUTS
        self.radius = Fraction(region.radius) if disc else None

    def touches(self, polygon: Polygon) -> bool:
        """Whether a polygon has an interior within the disc; what is no disc is a polygon itself."""
        if self.radius is None:
            return True
        (x, y, w), (radius, by) = vertex(*self.center), self.radius.as_integer_ratio()
        steps = (polygon[:, :2] * w - polygon[:, 2:] * np.array([x, y], dtype=object)) * by
        if ((steps * steps).sum(1) < (polygon[:, 2] * (w * radius)) ** 2).any():  # a corner does, as mostly
            return True
        return squared_distance(nearest(polygon, self.center), self.center) < self.radius * self.radius

    def points(self, places: Iterable[Point]) -> Tensor:
        """The points ``(k, *shape)`` at places of the plane, rounded."""
        found, free = [], torch.from_numpy(self.free)
        for place in places:
            point = self._region.center[0].flatten().clone()
            point[free] = torch.tensor([float(at) for at in place[: len(free)]], dtype=torch.float64)
            found.append(point.reshape(self._region.shape))
        return torch.stack(found) if found else self._region.center[:0]

    def parts(self) -> list[Polygon]:
        """The region, of a disc the square around it, as at most one polygon; an interval is as high as 1."""
        region = self._region
        named = (region.center, region.down, region.up, region.lower, region.upper)
        center, down, up, lower, upper = (
            [Fraction(number) for number in end[0].flatten().numpy()[self.free].tolist()] for end in named
        )
        ends = [
            (max(c + d, low), min(c + u, high))
            for c, d, u, low, high in zip(center, down, up, lower, upper, strict=True)
        ]
        if any(low >= high for low, high in ends):
            return []
        whole = rectangle(ends[0], ends[1] if len(ends) == INPUTS else (Fraction(0), Fraction(1)))
        return divided(whole, self._sides(), inside=True)

    def _sides(self) -> list[np.ndarray]:
        """The lines on whose sides the region lies, beside those of its box."""
        region, lines = self._region, list[list[Fraction]]()
        if region.norm == 1.0 and region.radius < math.inf and len(self.free) == INPUTS:
            (x, y), radius = self.center, Fraction(region.radius)
            lines += [[Fraction(a), Fraction(b), radius - a * x - b * y] for a in (1, -1) for b in (1, -1)]
        if region.halfspaces is not None:
            half, fixed = region.halfspaces, region.center[0].flatten().tolist()
            origin = half.origin[0].tolist()
            for row, level in zip(half.matrix.tolist(), half.levels[0].tolist(), strict=True):
                slopes = [-Fraction(row[at]) for at in self.free] + [Fraction(0)]
                constant = Fraction(level) + sum(
                    Fraction(a) * (Fraction(o) - (0 if at in self.free else Fraction(x)))
                    for at, (a, x, o) in enumerate(zip(row, fixed, origin, strict=True))
                    if a
                )
                lines.append([*slopes[:INPUTS], constant])
        return [integral(line) for line in lines if any(line[:INPUTS])]
