"""Quantities between two proved ends, combined point by point: quotients, differences, margins over constants.

Ends are arrays, low and high; every result is rounded outwards. Where one of two quantities is not known its end is -inf or
inf, and so is that of the result; where a quantity itself is infinite both its ends are.
"""

from __future__ import annotations

import numpy as np

Ends = tuple[np.ndarray, np.ndarray]

SHARP = 1e-8
"""By so much, relative, the margin of a point may be larger than its proved lower end."""
ROUNDED = 4 * float(np.finfo(np.float64).eps)
"""More than what a product and a quotient lose, relative, in float64."""


def quotient(top: Ends, bottom: Ends) -> Ends:
    """Ends of quotients of what is not negative; 0 / 0 may be anything from 0 on, and x / 0 is infinite."""
    low, high = np.maximum(top[0], 0.0), top[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.nan_to_num(low / bottom[1], nan=0.0, posinf=np.inf)
        greatest = high / np.maximum(bottom[0], 0.0)
    greatest = np.where(np.isnan(greatest), np.inf, greatest)
    infinite = (low > 0) & (bottom[1] == 0) | np.isposinf(low) & np.isfinite(bottom[1])  # and none that has overflowed
    least = np.where(infinite, np.inf, np.maximum(np.nextafter(least, -np.inf), 0.0))
    return least, np.nextafter(greatest, np.inf)


def difference(first: Ends, second: Ends) -> Ends:
    """Ends of differences; of two that are infinite on the same side neither is larger, and the difference is 0.

    A difference that is 0 in float64 is 0: whether one is larger than the other is decided without an error.
    """
    return _less(first[0], second[1], -np.inf), _less(first[1], second[0], np.inf)


def _less(one: np.ndarray, other: np.ndarray, outwards: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        change = one - other
    change = np.where(np.isnan(change), 0.0, change)
    return np.where(change == 0, 0.0, np.nextafter(change, outwards))


def margins_over(margins: np.ndarray, factor: float, constants: Ends) -> Ends:
    """Ends of margin / (factor * constant); 0 where the margin is not positive, since the class there is wrong.

    Args:
        margins: numbers that the margins are not below, and exceed by ``SHARP`` at most.
        factor: k, above 0: margins change by at most k times the constant times the distance.
        constants: their ends, not negative. A constant of 0 makes it infinite: the region has no other class.
    """
    ahead = np.maximum(margins, 0.0)
    low, high = quotient((ahead, ahead * (1 + SHARP)), (factor * constants[0], factor * constants[1]))
    low, high = np.maximum(low * (1 - ROUNDED), 0.0), high * (1 + ROUNDED)
    return np.where(ahead > 0, low, 0.0), np.where(ahead > 0, high, 0.0)
