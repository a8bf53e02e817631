"""Units that are 0, or have a bound of 0, but for what rounding may have left: only whole numbers decide their sides."""

from __future__ import annotations

import numpy as np

from lipreg.checking.integers import Array
from lipreg.checking.rounded.cells import Cell

NEAR = 1e-12
"""How far from 0, in its own size, a number may be to be judged in whole numbers."""


def touching(cell: Cell) -> bool:
    """Whether any unstable unit is 0, or has a bound that is 0, but for what rounding may have left."""
    _, radii, size = scaled(cell)
    near = (size <= radii) | at_zero(cell.high, size) | at_zero(-cell.low, size)
    return bool(near[cell.unstable].any())


def scaled(cell: Cell) -> tuple[Array, Array, Array]:
    """z of every unit, each coefficient times the most that its variable can be; what rounding may add; lengths."""
    extent = np.concatenate([[1.0], cell.units.region.size, np.maximum(cell.high, 0.0)])
    rows = cell.rows.mid * extent
    return rows, (cell.rows.rad * extent).sum(1), np.sqrt((rows * rows).sum(1))


def at_zero(end: Array, size: Array) -> Array:
    """Where an upper end is 0 at the most, but for what rounding may have left."""
    return end <= NEAR * size
