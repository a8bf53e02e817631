"""Whether units' sides leave no more than a hyperplane: a cell that may hold points, and almost none of the region.

Three units without biases whose pre-activations add up to 0 are all at or above 0 where all three are 0, and nowhere else.
"""

from __future__ import annotations

import math

import numpy as np

from lipreg.checking.integers import Array, zeros


def flat(rows: Array) -> bool:
    """Whether the points at which no form is below 0 lie on a hyperplane, or there are none.

    They do if a sum of all forms, each times a number above 0, has no displacement in it and a constant that is not above 0:
    then all of them are 0 at such a point, and one depends on the displacements.

    Args:
        rows: constants and coefficients of displacements, in whole numbers times any positive number each, ``(k, 1 + m)``.
    """
    factors = _cancelling(rows[:, 1:])
    return factors is not None and bool((rows[:, 1:] != 0).any()) and bool(factors @ rows[:, 0] <= 0)


def flat_at(rows: Array, first: int) -> bool:
    """The same of forms ``(k, first + n)`` of displacements and unstable units, none of which may read one of these."""
    return not (rows[:, first:] != 0).any() and flat(rows[:, :first])


def _cancelling(rows: Array) -> Array | None:
    """The numbers above 0 with which the rows ``(k, m)`` add up to 0; None where there are none or many."""
    count, width = rows.shape
    own = zeros(count, count)
    own[np.arange(count), np.arange(count)] = 1
    remaining = np.concatenate([rows, own], 1)
    for column in range(width):
        pivots = np.flatnonzero(remaining[:, column])
        if not len(pivots):
            continue
        pivot, rest = remaining[pivots[0]], np.delete(remaining, pivots[0], 0)
        remaining = rest * pivot[column] - rest[:, column : column + 1] * pivot
        for row in remaining:
            row //= max(1, math.gcd(*row))
    if len(remaining) != 1:
        return None
    factors = remaining[0, width:]
    return factors if (factors > 0).all() else -factors if (factors < 0).all() else None
