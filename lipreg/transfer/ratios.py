"""Intervals of ratios and logarithms of ratios, and the rank correlation: the arithmetic behind transfer.

Ends of intervals are rounded outwards (``rounding.py``): whatever numbers the given intervals hold, the result of exact
arithmetic on them lies inside of what is returned, and the ends are as close to it as floats can be, or one float further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.linalg.rationals import above, below
from lipreg.records import AuditRecord
from lipreg.transfer.rounding import DOWN, UP, exp_of_mean, log_between, mean_between

NO_BOUND_MOVEMENT = 1e-3
"""|log(B_reg / B_twin)| below which transfer is undefined: a bound that moved by under 0.1 % has nothing to pass on."""


@dataclass(frozen=True)
class Interval:
    """All numbers in [lower, upper].

    Attributes:
        lower, upper: the ends, either of which may be infinite.

    Raises:
        InvalidInput: an end is NaN.
        CrossingBounds: lower > upper.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if math.isnan(self.lower) or math.isnan(self.upper):
            raise InvalidInput(f"ends [{self.lower}, {self.upper}]", where="Interval", accepted="numbers")
        if self.lower > self.upper:
            raise CrossingBounds(
                f"lower {self.lower:.12g} exceeds upper {self.upper:.12g}",
                where="Interval",
            )

    @classmethod
    def of(cls, record: AuditRecord) -> Interval:
        """The ends of a record."""
        return cls(record.lower, record.upper)

    @property
    def midpoint(self) -> float:
        """The middle of the ends; infinite with an infinite end."""
        return self.lower if self.lower == self.upper else (self.lower + self.upper) / 2


def ratio(top: Interval, bottom: Interval) -> Interval | None:
    """All values of a / b with a in top and b > 0 in bottom, for intervals of sizes (ends >= 0, finite lower ends).

    Returns:
        The narrowest interval of floats; its upper end is inf when bottom may be 0. None when bottom is certainly 0.
    """
    if bottom.upper == 0:
        return None
    if top.upper == 0:
        return Interval(0.0, 0.0)
    low = 0.0 if bottom.upper == math.inf else below(Fraction(top.lower) / Fraction(bottom.upper))
    unbounded = bottom.lower == 0 or top.upper == math.inf
    return Interval(low, math.inf if unbounded else above(Fraction(top.upper) / Fraction(bottom.lower)))


def scaled(interval: Interval, factor: float | Fraction) -> Interval:
    """The interval factor * interval for a factor above 0, rounded outwards."""
    low, high = interval.lower, interval.upper
    return Interval(
        low if low == math.inf else below(Fraction(low) * Fraction(factor)),
        high if high == math.inf else above(Fraction(high) * Fraction(factor)),
    )


def mean_of(intervals: Sequence[Interval]) -> Interval:
    """The arithmetic mean of intervals (finite lower ends): it contains the mean of any choice from each."""
    return Interval(*mean_between([i.lower for i in intervals], [i.upper for i in intervals]))


def geometric_mean(ratios: Sequence[Interval]) -> Interval:
    """Geometric mean of intervals of ratios (finite lower ends), one choice from each.

    One upper end of inf makes the mean's inf, even beside an upper end of 0: 0 times anything finite is 0, but nothing
    is known of 0 times a quantity without bound.
    """
    if len(ratios) == 1:
        return ratios[0]  # as it is, without the rounding of a logarithm and back
    low = exp_of_mean([log_between(r.lower)[0] for r in ratios], DOWN)
    if any(r.upper == math.inf for r in ratios):
        return Interval(low, math.inf)
    return Interval(low, exp_of_mean([log_between(r.upper)[1] for r in ratios], UP))


def transfer(movement: Interval, bound_movement: Interval | float) -> tuple[Interval | None, str]:
    """log(movement) / log(bound_movement), with an end unbounded where the movement may be 0 or has no upper end.

    Args:
        movement: E_reg / E_twin.
        bound_movement: B_reg / B_twin, as wide as its rounding; a number is taken for exact.

    Returns:
        The interval and "", or None and the reason why transfer is undefined.
    """
    if not isinstance(bound_movement, Interval):
        bound_movement = Interval(bound_movement, bound_movement)
    if bound_movement.upper == math.inf:
        return None, "the relative movement of the bound is beyond the range of numbers"
    if bound_movement.lower == 0:
        return None, "the bound is 0 and the twin's is not, so its relative movement has no size"
    steps = log_between(bound_movement.lower)[0], log_between(bound_movement.upper)[1]
    if abs(sum(steps)) / 2 < NO_BOUND_MOVEMENT or steps[0] <= 0 <= steps[1]:
        return None, f"the bound moved by less than {NO_BOUND_MOVEMENT:.1%}, so there is nothing to pass on"
    ends = log_between(movement.lower)[0], log_between(movement.upper)[1]
    # the logarithm of a bound that fell is negative, which swaps the ends
    first, last = ends if steps[0] > 0 else ends[::-1]
    low = min(DOWN.divide(first, step) for step in steps)
    high = max(UP.divide(last, step) for step in steps)
    return Interval(below(low) + 0.0, above(high)), ""  # + 0.0 turns -0.0 into 0.0


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation, ties sharing their average rank. None below 3 pairs or when one side is constant."""
    if len(pairs) < 3:
        return None
    centre = (len(pairs) + 1) / 2
    first, second = ([rank - centre for rank in _ranks(side)] for side in zip(*pairs, strict=True))
    size = math.sqrt(math.fsum(a * a for a in first) * math.fsum(b * b for b in second))
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / size if size else None


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values), 1):
        places.setdefault(value, []).append(place)
    return [(places[value][0] + places[value][-1]) / 2 for value in values]
