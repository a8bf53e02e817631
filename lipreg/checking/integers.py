"""Whole numbers in numpy arrays: float64 numbers as integers times a power of two, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def integers(floats: Array) -> tuple[Array, int]:
    """(n, bits) with floats = n / 2^bits exactly, and the fewest bits; n holds Python integers."""
    ratios = [float(x).as_integer_ratio() for x in floats.ravel()]
    bits = max((below.bit_length() - 1 for _, below in ratios), default=0)
    found = np.empty(len(ratios), dtype=object)
    found[:] = [int(above << (bits + 1 - below.bit_length())) for above, below in ratios]
    return found.reshape(floats.shape), bits


def zeros(*shape: int) -> Array:
    """Whole zeros."""
    found = np.empty(shape, dtype=object)
    found.fill(0)
    return found


def shifted(numbers: Array, bits: int) -> Array:
    """numbers times 2^bits, bits >= 0."""
    return numbers * (1 << bits) if bits else numbers


def floor_at(number: Any, bits: int) -> Any:
    """The largest whole number not above a fraction times 2^bits."""
    above, below = number.numerator, number.denominator
    return int((above << bits) // below if bits >= 0 else above // (below << -bits))
