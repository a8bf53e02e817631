"""The norm of a Jacobian in whole numbers along at most two inputs, as a float that is not below it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from lipreg.milp.rounded_up import ROOT, float_above, root_above


def norm_above(jacobian: np.ndarray, exponent: int, p: float, q: float | None) -> float:
    """A float at least the norm of ``jacobian 2^exponent`` from l_p to l_q, and hardly above it.

    Args:
        jacobian: ``(rows, 2)`` of Python's integers.
        exponent: the same for all entries.
        p: the norm of inputs.
        q: that of outputs; None for the largest of the rows, as for inf.
    """
    if not jacobian.any():
        return 0.0
    if p == math.inf:  # the norm is convex: a corner of the square attains it, or the one across
        images = [jacobian @ np.array([1, sign], dtype=object) for sign in (1, -1)]
        return float_above(max(_vector_norm(image, q) for image in images), exponent - ROOT)
    if p == 1.0:
        return float_above(max(_vector_norm(jacobian[:, at], q) for at in range(2)), exponent - ROOT)
    if q in (None, math.inf):
        return float_above(max(_vector_norm(row, 2.0) for row in jacobian), exponent - ROOT)
    if q == 1.0:
        return float_above(max(_vector_norm(total, 2.0) for total in _signed_sums(jacobian)), exponent - ROOT)
    (a, b), (_, d) = (jacobian.T @ jacobian).tolist()
    square = ((a + d) << ROOT) + root_above((a - d) ** 2 + 4 * b * b)  # twice the larger eigenvalue of both
    return float_above(root_above((square >> 1) + 1, ROOT // 2), exponent - ROOT)


def _vector_norm(vector: Iterable[int], q: float | None) -> int:
    """A whole number at least 2^ROOT times the norm of a vector."""
    sizes = [abs(entry) for entry in vector]
    if q == 2.0:
        return root_above(sum(size * size for size in sizes))
    return (sum(sizes) if q == 1.0 else max(sizes)) << ROOT


def _signed_sums(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The sums of the rows with signs, of which one is the longest: those that a direction gives, as a corner of the
    polygon of all sums is the farthest along one."""
    rows = rows[[bool(row.any()) for row in rows]]
    if not len(rows):
        yield np.zeros(2, dtype=object)
        return
    normals = np.stack([-rows[:, 1], rows[:, 0]], axis=1)
    for normal in normals:
        products = rows @ normal
        beside = rows[products == 0]  # parallel to each other: just beside the direction all have the same sides
        ahead = beside @ beside[0]
        total = _sum_on_one_side(rows, products)
        tied = _sum_on_one_side(beside, ahead)
        yield total + tied
        yield total - tied


def _sum_on_one_side(rows: np.ndarray, products: np.ndarray) -> np.ndarray:
    """The sum of the rows, those with a product below 0 turned, those with none left out."""
    signs = np.array([(value > 0) - (value < 0) for value in products], dtype=object)
    return (rows * signs[:, None]).sum(0)
