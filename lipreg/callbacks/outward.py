"""Numbers for loggers and monitors that keep 32 bits, rounded so that an upper end stays one and a lower end too."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

UP, DOWN = "_upper", "_lower"
_LARGEST = float(np.finfo(np.float32).max)


def outward(metrics: Mapping[str, float], upper: Collection[str], lower: Collection[str]) -> dict[str, float]:
    """The metrics as numbers of float32: ends rounded outwards, all others to the nearest.

    TensorBoard and ``callback_metrics`` hold float32, which rounds to the nearest, so that about every second upper end
    would come out below what is proved. What is logged is one number everywhere: W&B and CSV files have the same.

    Args:
        metrics: by name; those that end in "_upper" and "_lower" are ends.
        upper, lower: further names of ends.
    """
    rounded = {}
    for name, value in metrics.items():
        side = math.inf if name.endswith(UP) or name in upper else 0.0
        side = -math.inf if name.endswith(DOWN) or name in lower else side
        rounded[name] = _single(value, side)
    return rounded


def _single(value: float, side: float) -> float:
    """The float32 nearest to a number or, with an infinite side, the nearest that lies on that side of it."""
    if not -_LARGEST <= value <= _LARGEST:  # TensorBoard makes it infinite, which is right for an end outside
        return math.copysign(_LARGEST, value) if value * side < 0 else value
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
        if (side > 0 and float(single) < value) or (side < 0 and float(single) > value):
            single = np.nextafter(single, np.float32(side))
    return float(single)
