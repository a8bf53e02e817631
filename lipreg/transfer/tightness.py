"""Tightness: how many times too large a bound is, at a point and over points. The one definition, wherever it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lipreg.transfer.ratios import Interval, geometric_mean, ratio


def tightness(bound: float, exact: Interval) -> Interval | None:
    """B / E at one point; None where the bound is infinite or the constant is certainly 0."""
    return None if bound == math.inf else ratio(Interval(bound, bound), exact)


def mean_tightness(points: Sequence[Interval | None]) -> Interval | None:
    """The geometric mean over points; None when it is undefined at one of them, because a mean of the others is another."""
    defined = [point for point in points if point is not None]
    return geometric_mean(defined) if defined and len(defined) == len(points) else None
