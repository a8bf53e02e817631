"""The largest gradient of linear pieces, in whole numbers: the regional constant."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from torch import Tensor

from lipreg.milp.gradient_norms import norm_above
from lipreg.milp.planar_region import INPUTS, PlanarRegion
from lipreg.milp.polygons import Polygon, middle, nearest
from lipreg.milp.whole_numbers import WholeNumbers
from lipreg.problem import PlacedProblem

STEEPEST = 16
"""So many of the steepest pieces have points that are offered as witnesses."""
INWARD = (1.0, 1 / 8, 1 / 64, 1 / 4096)
"""How far from the point of a piece that is nearest to a ball's centre to its middle those points lie."""


class Steepness:
    """The largest norm of a Jacobian so far.

    Args:
        placed: the question at a single point.
        region: its region.
        rows, weights: its rows, and the weights of both coordinates.

    Attributes:
        upper: a float at least that, and hardly above it.
    """

    def __init__(self, placed: PlacedProblem, region: PlanarRegion, rows: WholeNumbers, weights: WholeNumbers) -> None:
        self._problem, self._region, self._rows, self._weights = placed.problem, region, rows, weights
        self._steepest: list[tuple[float, Polygon]] = []
        self.upper = 0.0

    def lines(self) -> list[np.ndarray]:
        """The lines on whose sides pieces have to lie: none."""
        return []

    def take(self, polygon: Polygon, output: WholeNumbers) -> None:
        """Enters a linear piece.

        Args:
            polygon: the piece.
            output: the network's output there, ``(3, outputs)``: both slopes and the constant.
        """
        jacobian = (self._rows.whole @ output.whole[:INPUTS].T) * self._weights.whole
        exponent = self._rows.exponent + self._weights.exponent + output.exponent
        steepness = norm_above(jacobian, exponent, self._problem.p, self._problem.q)
        self.upper = max(self.upper, steepness)
        self._steepest.append((steepness, polygon))
        self._steepest.sort(key=lambda piece: -piece[0])
        del self._steepest[STEEPEST:]

    def points(self) -> Iterator[tuple[float, Tensor]]:
        """Of each of the steepest pieces, the steepest first, its steepness and points inside it, ``(k, *shape)``."""
        disc = self._region.radius is not None
        for steepness, polygon in self._steepest:
            inside = middle(polygon)
            x, y = nearest(polygon, self._region.center) if disc else inside
            shares = map(Fraction, INWARD if disc else (1,))
            places = [(x + share * (inside[0] - x), y + share * (inside[1] - y)) for share in shares]
            yield steepness, self._region.points(places)
