"""Whether a cone {d : A d > 0} holds a point, in whole numbers: no tolerance, and a proof of either answer.

By Gordan's theorem either some d has A d > 0, or some y >= 0 other than 0 has A^T y = 0. The y with A^T y = 0 and entries
that add up to 1 are sought by the simplex method (phase 1) with Bland's rule, on a table of integers over one common
denominator (Edmonds; Bareiss), so that every step is exact. Where there is none the last prices are such a d.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def interior(rows: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray | None:
    """A d of whole numbers with ``rows @ d > 0`` in every row, ``(n,)``, or None where there is none.

    Args:
        rows: ``(k, n)`` of Python's integers, dtype object, k >= 1.
        check: called at every step; raises to end it early.
    """
    k, n = rows.shape
    # columns: y, then one artificial variable a row, then the right hand side; rows: A^T y = 0, and the sum of y is 1
    table = np.zeros((n + 2, k + n + 2), dtype=object)
    table[:n, :k] = rows.T
    table[n, :k] = 1
    table[n, -1] = 1
    for i in range(n + 1):
        table[i, k + i] = 1
    # the last row: reduced costs of the sum of the artificial variables, which is to be 0
    table[n + 1] = -table[: n + 1].sum(0)
    table[n + 1, k : k + n + 1] = 0
    basis, below = list(range(k, k + n + 1)), 1
    while True:
        check()
        entering = next((j for j in range(k) if table[n + 1, j] < 0), None)
        if entering is None:
            break
        leaving = _leaving(table, basis, entering, n + 1)
        pivot, line = table[leaving, entering], table[leaving].copy()
        # exact: the common denominator before divides every entry (Edmonds)
        table = (table * pivot - np.outer(table[:, entering], line)) // below
        table[leaving] = line
        basis[leaving], below = entering, pivot
    if table[n + 1, -1] == 0:
        return None
    # the reduced cost of artificial variable i is 1 - price_i; those of y are -(A price + last price) >= 0
    prices = below - table[n + 1, k : k + n + 1]
    return -prices[:n]


def _leaving(table: np.ndarray, basis: list[int], entering: int, count: int) -> int:
    """The row of the smallest ratio, of those the one whose variable comes first; y is bounded, so there is one."""
    best = -1
    for i in range(count):
        if table[i, entering] <= 0:
            continue
        if best >= 0:
            ahead = table[i, -1] * table[best, entering] - table[best, -1] * table[i, entering]
            if ahead > 0 or (ahead == 0 and basis[i] > basis[best]):
                continue
        best = i
    return best
