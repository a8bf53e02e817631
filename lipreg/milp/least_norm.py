"""Cells in an l2 ball: a least-norm problem, whose multipliers prove that a cell has no point in the ball."""

from __future__ import annotations

import numpy as np
import scipy

from lipreg.linalg.floats import EPS, SPARE

SHALLOWEST = 1e-13
"""Depth, as a part of each unit's range, below which no point is sought."""


def misses_ball(rows: np.ndarray, levels: np.ndarray, doubt: np.ndarray) -> bool:
    """Whether {d : rows d >= levels} is proved to have no point in the unit ball |d|_2 <= 1.

    Any y >= 0 with y . levels > |rows^T y|_2 proves it (Farkas). The y are the multipliers of the point nearest to 0, and
    the inequality is evaluated here with bounds on its rounding.

    Args:
        rows, levels: ``(k, n)`` and ``(k,)``.
        doubt: a bound on the rounding of each level, ``(k,)``.
    """
    binding = levels > -np.linalg.norm(rows, axis=1)  # the others hold in all of the ball
    rows, levels, doubt = rows[binding], levels[binding], doubt[binding]
    y = _multipliers(rows, levels)
    if y is None:
        return False
    share = EPS * (sum(rows.shape) + SPARE)
    norm = np.linalg.norm(np.abs(rows.T @ y) + share * (np.abs(rows).T @ y)) * (1 + share)
    return bool(y @ levels - y @ doubt - share * (y @ np.abs(levels)) > norm)


def nearest(rows: np.ndarray, levels: np.ndarray) -> np.ndarray | None:
    """The point of {d : rows d >= levels} that is nearest to 0, ``(n,)``, as accurate as the iteration; None without one."""
    if (levels <= 0).all():
        return np.zeros(rows.shape[1])
    y = _multipliers(rows, levels)
    residual = 0.0 if y is None else 1.0 - levels @ y
    return rows.T @ y / residual if y is not None and residual > 0 else None


def _multipliers(rows: np.ndarray, levels: np.ndarray) -> np.ndarray | None:
    """y >= 0 that minimises |rows^T y|^2 + (levels . y - 1)^2 (Lawson & Hanson 1974, ch. 23); None where that fails."""
    if not len(rows):
        return None
    matrix = np.vstack([rows.T, levels])
    size = np.linalg.norm(matrix, axis=0)
    if not (np.isfinite(size).all() and (size > 0).all()):
        return None
    target = np.zeros(len(matrix))
    target[-1] = 1.0
    try:
        y, _ = scipy.optimize.nnls(matrix / size, target)
    except RuntimeError:  # too many iterations
        return None
    return np.maximum(y / size, 0.0) if np.isfinite(y).all() else None
