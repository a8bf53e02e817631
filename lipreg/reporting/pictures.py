"""Inputs as images: reference points and witnesses, where their form is that of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def pixels(values: Any, shape: Sequence[int], low: Any = None, high: Any = None) -> np.ndarray[Any, Any] | None:
    """An input as an image ``(height, width)`` or ``(height, width, 3)`` of bytes.

    Args:
        values: as many as ``shape`` has.
        shape: ``(height, width)``, ``(1 or 3, height, width)``, or ``(n,)`` for a square of at least 4 x 4 pixels.
        low, high: the data range, black and white; where one is no number the smallest and the largest value.

    Returns:
        None for other shapes.
    """
    array = np.asarray(values, dtype=np.float64).reshape(shape)
    if array.ndim == 1:
        sides = {channels: math.isqrt(array.size // channels) for channels in (1, 3)}
        fitting = [(n, side, side) for n, side in sides.items() if side >= 4 and n * side * side == array.size]
        array = array.reshape(fitting[0]) if fitting else array
    if array.ndim == 3 and len(array) in (1, 3):
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2:
        return None
    black = low if isinstance(low, int | float) else array.min()
    white = high if isinstance(high, int | float) else array.max()
    return np.rint(255 * np.clip((array - black) / ((white - black) or 1.0), 0, 1)).astype(np.uint8)
