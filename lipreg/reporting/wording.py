"""How figures read in words: numbers rounded to the safe side, and texts from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

from lipreg.records import TRAINING
from lipreg.results import EXACT_TOLERANCE
from lipreg.transfer import Interval, Metric, PointFigures
from lipreg.words import counted, decimal, rounded, written

MISSING = "n/a"

_BEYOND = "beyond the region"
BEYOND_AUDITED = "beyond the audited region"
"""The words behind a margin over constant that exceeds the region's radius."""


class TableCell(NamedTuple):
    """A figure in a table.

    Attributes:
        words: what is shown.
        value: the number by which it is sorted; None for none.
    """

    words: str
    value: float | None


def finite(value: Any) -> Any:
    """The value, with None in place of infinities and NaN, for what cannot draw these."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def nearest(value: float | None) -> str:
    """A number that is no bound, such as a mean of ratios, rounded to the nearest."""
    return MISSING if value is None else rounded(value)


def at_most(value: float | None) -> str:
    """An upper end, rounded up."""
    return MISSING if value is None else "not proved" if value == math.inf else rounded(value, ROUND_CEILING)


def at_least(value: float | None) -> str:
    """A lower end, rounded down."""
    return MISSING if value is None else rounded(value, ROUND_FLOOR)


def between(interval: Interval | None) -> str:
    """An interval, rounded outwards; one number where the ends agree within the tolerance of an exact certificate."""
    if interval is None:
        return MISSING
    if interval.upper - interval.lower <= EXACT_TOLERANCE * abs(interval.upper) < math.inf:
        return rounded(interval.midpoint)
    return f"[{rounded(interval.lower, ROUND_FLOOR)}, {rounded(interval.upper, ROUND_CEILING)}]"


def ends(interval: Interval) -> str:
    """Both ends of an interval, rounded outwards, however close they are: an exact value is an interval too."""
    upper = "not proved" if interval.upper == math.inf else rounded(interval.upper, ROUND_CEILING, digits=5)
    return f"[{rounded(interval.lower, ROUND_FLOOR, digits=5)}, {upper}]"


def share_between(interval: Interval | None) -> str:
    """A transfer interval with three decimals, rounded outwards: near 0, significant digits would mislead."""
    if interval is None:
        return "undefined"
    if interval.upper - interval.lower <= 1e-4 and math.isfinite(interval.midpoint):
        return f"{interval.midpoint:.3f}"
    ends = ((interval.lower, ROUND_FLOOR), (interval.upper, ROUND_CEILING))
    texts = [
        str(decimal(end).quantize(Decimal("0.001"), rounding=side)) if math.isfinite(end) else str(end)
        for end, side in ends
    ]
    return f"[{', '.join(texts)}]".replace("-0.000", "0.000")


def percent(share: float | None) -> str:
    """A share as per cent."""
    return MISSING if share is None else f"{share:.1%}"


def percent_between(shares: Interval | None) -> str:
    """Shares as per cent, rounded outwards; one number where the ends agree."""
    if shares is None:
        return MISSING
    if shares.lower == shares.upper:
        return percent(shares.lower)
    low, high = math.floor(1000 * shares.lower) / 1000, math.ceil(1000 * shares.upper) / 1000
    return f"[{low:.1%}, {high:.1%}]"


def distance(margin: Interval | None, radius: float | None = None, short: bool = False) -> str:
    """A margin over constant: a distance, which has no end where the constant is 0 and the region holds one class.

    Args:
        margin: the distance.
        radius: that of the audited region, in the same units: a margin beyond it proves no distance, which is added.
        short: whether that is added in a single word.
    """
    if margin is None or margin.lower == math.inf:
        return MISSING if margin is None else _BEYOND
    if radius is None or margin.lower <= radius:
        return between(margin)
    return between(margin) + (" (beyond)" if short else f", {BEYOND_AUDITED} ({written(radius)})")


def certified_distance(margin: Interval | None) -> str:
    """The lower end of a margin over constant, the one that is proved."""
    return _BEYOND if margin is not None and margin.lower == math.inf else at_least(margin and margin.lower)


def measured(metric: Metric | None, value: float | None) -> str:
    """A value of the task's own metric: an accuracy as per cent, anything else as the number that was logged."""
    return percent(value) if metric is not None and metric.share else nearest(value)


def which_weights(points: Sequence[PointFigures], metric: bool) -> list[str]:
    """A sentence where the constants are not of the weights that the optimizer left; none where they are.

    Args:
        points: of one epoch.
        metric: whether a metric of that epoch stands beside them.
    """
    kinds = sorted({p.record.weights for p in points} - {TRAINING})
    if not kinds:
        return []
    before = "with StochasticWeightAveraging of the weights before the average took their place"
    before = f" ({before})" if kinds == ["averaged"] else ", before they were put there"
    beside = f"; the metric beside them is what validation reported that epoch{before}"
    return [f"The constants are of the {' and '.join(kinds)} weights that the training left{beside if metric else ''}."]


def epochs(count: int) -> str:
    """A number of epochs in words."""
    return counted(count, "epoch")
