"""Between: a figure of a population between two ends; and what arguments of statements have to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lipreg.errors import InvalidInput


@dataclass(frozen=True)
class Between:
    """A figure of the population that lies between two ends with a confidence over the draw.

    Attributes:
        low, high: the ends; -inf or inf where nothing is proved from below or above.
        confidence: that both hold together.
    """

    low: float
    high: float
    confidence: float

    def within(self, share: float) -> bool:
        """Whether there is a number from which every value between the ends is at most ``share`` of itself away."""
        finite = self.low >= 0 and self.high < math.inf
        return finite and self.high - self.low <= share * (self.high + self.low)


def whole_number(value: object, least: int) -> bool:
    """Whether a value is a whole number of at least so much."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def check_confidence(confidence: float, where: str) -> None:
    """Raises InvalidInput for anything but a number between 0 and 1."""
    number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not number or not 0 < confidence < 1:
        raise InvalidInput(f"confidence={confidence!r}", where=where, accepted="above 0 and below 1: 0.95, say")


def rank_of(share: float, size: int) -> int:
    """m for which a quantile is the m-th smallest of so many values: the least whole number not below share * size.

    Raises:
        InvalidInput: a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"share={share!r}", where="quantile", accepted="above 0 and at most 1: 0.5 is the median")
    return max(1, math.ceil(share * size - 1e-9))
