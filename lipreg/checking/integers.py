"""Whole numbers in numpy arrays: float64 numbers as integers times a power of two, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def integers(floats: Array) -> tuple[Array, int]:
    """(n, bits) with floats = n / 2^bits exactly, and the fewest bits; n holds Python integers.

    Raises:
        OverflowError: a number is not finite.
    """
    if not np.isfinite(floats).all():
        raise OverflowError("a number that is not finite")
    share, exponent = np.frexp(floats.ravel().astype(float))
    whole = np.ldexp(share, 53).astype(np.int64)  # 53 bits: exactly, and floats = whole 2^(exponent - 53)
    exponent = np.where(whole != 0, exponent.astype(np.int64) - 53, 0)
    lowest = exponent + np.where(whole != 0, np.frexp((whole & -whole).astype(float))[1] - 1, 0)
    bits = max(0, -int(lowest.min(initial=0)))
    shift = exponent + bits
    narrow = whole >> np.clip(-shift, 0, 62)  # what falls off is 0
    wide = narrow.astype(object) << np.maximum(shift, 0).astype(object)
    return wide.reshape(floats.shape), bits


def zeros(*shape: int) -> Array:
    """Whole zeros."""
    array = np.empty(shape, dtype=object)
    array.fill(0)
    return array


def shifted(numbers: Array, bits: int) -> Array:
    """numbers times 2^bits, bits >= 0."""
    return numbers * (1 << bits) if bits else numbers


def floor_at(number: Any, bits: int) -> Any:
    """The largest whole number not above a fraction times 2^bits."""
    above, below = number.numerator, number.denominator
    return int((above << bits) // below if bits >= 0 else above // (below << -bits))
