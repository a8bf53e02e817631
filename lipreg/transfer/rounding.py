"""Rounding outwards: means, and enclosures of logarithms and exponentials.

Rationals are exact. ``ln`` and ``exp`` of the decimal module are correctly rounded at any precision (the standard library's
word, IBM's General Decimal Arithmetic), so one step away on either side encloses the value; the last step, to a float, is
exact again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from lipreg.linalg.rationals import above, below

DIGITS = 40
"""Decimal digits of enclosures: far more than a float's 17, so that their width is lost in the last step."""

_traps = {"prec": DIGITS, "Emax": MAX_EMAX, "Emin": MIN_EMIN, "traps": []}
DOWN, UP = Context(rounding=ROUND_FLOOR, **_traps), Context(rounding=ROUND_CEILING, **_traps)


def mean_between(lowers: Sequence[float], uppers: Sequence[float]) -> tuple[float, float]:
    """Floats around the arithmetic means of finite lower ends and of upper ends, the latter perhaps infinite."""
    low = below(sum(map(Fraction, lowers), Fraction()) / len(lowers))
    return low, math.inf if math.inf in uppers else above(sum(map(Fraction, uppers), Fraction()) / len(uppers))


@functools.lru_cache(maxsize=4096)
def log_between(size: float) -> tuple[Decimal, Decimal]:
    """Decimals below and above the natural logarithm of a size; both -inf for 0, inf for inf, and 0 for 1."""
    if size == 1:
        return Decimal(0), Decimal(0)
    exact = Decimal(size)
    if size == 0 or size == math.inf:
        return DOWN.ln(exact), UP.ln(exact)
    nearest = DOWN.ln(exact)  # to the nearest digit, whatever the context rounds to
    return DOWN.next_minus(nearest), UP.next_plus(nearest)


def exp_of_mean(logarithms: Sequence[Decimal], rounded: Context) -> float:
    """The exponential of the arithmetic mean of logarithms, rounded down with ``DOWN`` and up with ``UP``."""
    total = Decimal(0)
    for logarithm in logarithms:
        total = rounded.add(total, logarithm)
    mean = rounded.divide(total, Decimal(len(logarithms)))
    if mean.is_infinite():
        return math.inf if mean > 0 else 0.0
    if rounded is DOWN:
        return below(DOWN.next_minus(DOWN.exp(mean)))
    return above(UP.next_plus(UP.exp(mean)))
