"""Floats below and above exact rationals."""

from __future__ import annotations

import math
import sys
from decimal import Decimal
from fractions import Fraction


def below(number: Fraction | Decimal) -> float:
    """The largest float that is not above the number."""
    if isinstance(number, Decimal):
        if not number.is_finite():
            return float(number)
        number = Fraction(number)
    try:
        near = number.numerator / number.denominator  # correctly rounded
    except OverflowError:
        return sys.float_info.max if number > 0 else -math.inf
    return near if Fraction(near) <= number else math.nextafter(near, -math.inf)


def above(number: Fraction | Decimal) -> float:
    """The smallest float that is not below the number."""
    return -below(-number) + 0.0  # -0.0 is of no use to anybody
