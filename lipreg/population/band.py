"""Band: how many points of a population have at most a value, at all values at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lipreg.errors import InvalidInput
from lipreg.population.between import Between, rank_of

STEPS = 20
"""Quantiles of which a band is made where a sample may be looked at at any time: at every 5 % of the points."""


@dataclass(frozen=True, eq=False)
class Band:
    """The distribution of a quantity over a population between two step functions, which hold at all values together.

    So a value, or a quantile, may be chosen after looking, and as many as one likes, without a loss of confidence.

    Attributes:
        size: N, how many points the population has.
        least_values: in ascending order; from each of them on, at least as many points as ``least`` says have at most it.
        least: for each of these, a number of points, not falling.
        most_values: in ascending order; before each of them, at most as many points as ``most`` says have at most it.
        most: for each of these, a number of points, not falling.
        sure: the ends of the quantity at every point that hold whatever was drawn, ``(N,)`` each, each in ascending order.
        confidence: with which all of it holds over the draw.
    """

    size: int
    least_values: np.ndarray
    least: np.ndarray
    most_values: np.ndarray
    most: np.ndarray
    sure: tuple[np.ndarray, np.ndarray]
    confidence: float

    def counts(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Between how many points of the population have at most each of these values."""
        at_least = np.append(0, self.least)[np.searchsorted(self.least_values, values, "right")]
        at_most = np.append(self.most, self.size)[np.searchsorted(self.most_values, values, "right")]
        surely, possibly = (np.searchsorted(ends, values, "right") for ends in self.sure[::-1])
        low, high = np.maximum(at_least, surely), np.minimum(at_most, possibly)
        wrong = low > high  # one of the draws that the confidence leaves out
        return np.where(wrong, surely, low), np.where(wrong, possibly, high)

    def share_above(self, value: float) -> Between:
        """The share of the population's points at which the quantity is larger than a value, chosen as one likes.

        Raises:
            InvalidInput: a value that is no number.
        """
        if math.isnan(value):
            raise InvalidInput(f"value={value!r}", where="share_above", accepted="a number")
        low, high = self.counts(np.asarray([value]))
        return Between(1 - int(high[0]) / self.size, 1 - int(low[0]) / self.size, self.confidence)

    def quantile(self, share: float) -> Between:
        """The smallest value that at least this share of the population's points do not exceed, for any share.

        Raises:
            InvalidInput: a share that is not above 0 and at most 1.
        """
        rank = rank_of(share, self.size)
        # at v fewer than m points are possible below the low end, and m are sure from the high end on
        at_least, at_most = np.searchsorted(self.most, rank), np.searchsorted(self.least, rank)
        low = self.most_values[at_least - 1] if at_least else -math.inf
        high = self.least_values[at_most] if at_most < len(self.least_values) else math.inf
        surely, possibly = (float(ends[rank - 1]) for ends in self.sure)
        if max(low, surely) > min(high, possibly):  # one of the draws that the confidence leaves out
            return Between(surely, possibly, self.confidence)
        return Between(float(max(low, surely)), float(min(high, possibly)), self.confidence)
