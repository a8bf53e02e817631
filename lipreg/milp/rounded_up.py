"""Whole numbers, their quotients and square roots as floats that are not below them."""

from __future__ import annotations

import math

ROOT = 64
"""Bits after the point of a square root, and of a quotient at least."""


def root_above(number: int, bits: int = ROOT) -> int:
    """A whole number at least 2^bits times the square root, at most 1 above it."""
    return math.isqrt(number << (2 * bits)) + 1 if number else 0


def float_above(number: int, exponent: int) -> float:
    """A float at least number 2^exponent; 0 for 0."""
    if not number:
        return 0.0
    shift = max(0, number.bit_length() - 60)
    try:
        return math.nextafter(math.ldexp(float((number >> shift) + 1), exponent + shift), math.inf)
    except OverflowError:
        return math.inf


def quotient_above(number: int, by: int, exponent: int, squared: bool = False) -> float:
    """A float at least number / by 2^exponent, hardly above it; ``squared``, at least its square root before the power.

    Args:
        number: at least 0.
        by: above 0.
        exponent: of the power of two that the quotient, or its root, is multiplied by.
        squared: whether the quotient is a square.
    """
    if not number:
        return 0.0
    bits = max(0, 2 * ROOT + by.bit_length() - number.bit_length())
    bits += bits % 2  # its half is that of the root
    quotient = (number << bits) // by + 1
    if squared:
        return float_above(math.isqrt(quotient) + 1, exponent - bits // 2)
    return float_above(quotient, exponent - bits)
