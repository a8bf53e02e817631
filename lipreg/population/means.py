"""Bounds on the mean of a finite population, by betting against it.

Values X_1, X_2, ... are drawn without replacement from N values, each at least 0 and at most a range W_i that is known of
those left. If their mean is mu, the next one has the conditional mean mu_i = (N mu - X_1 - ... - X_(i-1)) / (N - i + 1). Who
bets that it comes out lower, or higher, has the wealth

    prod_i (1 + c (mu_i - X_i) / (W_i - mu_i))      or      prod_i (1 + c (X_i - mu_i) / mu_i),      0 <= c < 1.

Neither is ever negative. The first is a martingale if mu is the mean and a supermartingale if the mean is larger, the second
if it is smaller; so is the average over several c. By Ville's inequality each ever reaches 1 / a with a probability of at
most a, so every mu at which it did is refuted: also where one looks after every point and stops when one likes. The factors
of the first grow with mu and those of the second fall, so that what is refuted lies above one number, or below one.
Source: Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting", section 5.

Values known between two ends: upper ends go into the first wealth and lower ends into the second, which only lowers both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STAKES = np.geomspace(0.06, 0.98, 5)[:, None]
"""Shares c of what may be staked: small ones win against many values that spread, large ones against few that agree."""
STEPS = 40
"""Of bisection, which ends at the refuted side."""
ROUNDING = 1e-9
"""By so much, relative, ranges and the wealth to reach are enlarged: more than what float64 loses here."""


def mean_at_most(values: np.ndarray, ranges: np.ndarray, size: int, level: float) -> float:
    """A number that the mean exceeds with a probability of at most ``level`` over the draw.

    Args:
        values: of the drawn points, or upper ends of them, ``(n,)``, in the order of the draw.
        ranges: ``(n + 1,)``: at least every value that is left before each draw, and after the last one.
        size: N, how many points there are.
        level: the probability with which it may fail, at all looks together.
    """
    remaining, spent = _course(values, size)
    ranges = np.nextafter(ranges * (1 + ROUNDING), np.inf)
    sure = float(((spent + remaining * ranges) / size).min())

    def refuted(mean: float) -> bool:
        ahead = (size * mean - spent[:-1]) / remaining[:-1]
        slack = ranges[:-1] - ahead
        return bool((slack <= 0).any()) or _wins((ahead - values) / slack, level)

    low = float(spent[-1] / size)
    return sure if not np.isfinite(sure) or sure <= low else _last(refuted, low, sure)


def mean_at_least(values: np.ndarray, size: int, level: float) -> float:
    """A number that the mean falls below with a probability of at most ``level`` over the draw.

    Args:
        values: of the drawn points, or lower ends of them that are not below 0, ``(n,)``, in the order of the draw.
        size, level: as above.
    """
    remaining, spent = _course(values, size)
    sure, high = float(spent[-1] / size), float(values.max(initial=0.0) + spent[-1] / size)

    def refuted(mean: float) -> bool:
        ahead = (size * mean - spent[:-1]) / remaining[:-1]
        return bool((ahead <= 0).any()) or _wins((values - ahead) / ahead, level)

    return _last(refuted, high, sure) if len(values) and high > sure else sure


def _course(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """How many points are left before each draw and after the last, and the sum of those drawn by then."""
    return size - np.arange(len(values) + 1), np.concatenate([[0.0], np.cumsum(values)])


def _wins(gains: np.ndarray, level: float) -> bool:
    """Whether the wealth of the average stake ever reaches 1 / level."""
    wealth = np.logaddexp.reduce(np.cumsum(np.log1p(STAKES * np.maximum(gains, -1.0)), axis=1), axis=0)
    return bool((wealth >= np.log(len(STAKES)) - np.log(level) + ROUNDING).any())


def _last(refuted: Callable[[float], bool], not_refuted: float, outer: float) -> float:
    """The end, on the refuted side, of what is not refuted between a number that may be the mean and one beyond."""
    if not refuted(outer):
        return outer
    for _ in range(STEPS):
        middle = (not_refuted + outer) / 2
        not_refuted, outer = (not_refuted, middle) if refuted(middle) else (middle, outer)
    return outer
