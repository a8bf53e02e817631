"""Linear programs about a polytope that is given by half-spaces: its deepest point, and the box around it with proof."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from lipreg.errors import LipregError

PROGRAMS = 64
"""Up to so many coordinates in a finite box get ranges by LP; beyond, by what each row implies over the box."""
TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class Unbounded(Exception):
    """The polytope has no end in one coordinate.

    Args:
        coordinate: flat index of the input.
        upwards: on which side.
    """

    def __init__(self, coordinate: int, upwards: bool) -> None:
        super().__init__(coordinate, upwards)
        self.coordinate, self.upwards = coordinate, upwards


@dataclass(frozen=True)
class Deepest:
    """The center of the largest ball in a polytope, over the coordinates that are not fixed.

    Attributes:
        point: ``(n,)``.
        depth: its distance to the nearest row or side of the box, evaluated at the point; not above 0 without interior.
        rows: the rows that press on it: for depth 0 those that hold the polytope flat, below 0 those that contradict.
    """

    point: np.ndarray
    depth: float
    rows: tuple[int, ...]


def deepest_point(matrix: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray) -> Deepest:
    """The Chebyshev center of {x : A x <= b, low <= x <= high}; of an empty set the point that violates it least.

    Args:
        matrix: ``(rows, n)``; no row of zeros over the coordinates with low < high.
        right: ``(rows,)``.
        low, high: ``(n,)``, infinite where open; equal where a coordinate is fixed.

    Raises:
        LipregError: the solver failed.
    """
    free = low < high
    norms = np.linalg.norm(matrix[:, free], axis=1)
    scaled, level = matrix / norms[:, None], right / norms
    # the sides of the box as rows, because the ball must keep away from them too
    eye = np.eye(len(low))
    below, above = free & np.isfinite(low), free & np.isfinite(high)
    sides, ends = np.vstack([-eye[below], eye[above]]), np.concatenate([-low[below], high[above]])
    rows, levels = np.vstack([scaled, sides]), np.concatenate([level, ends])
    cap = max(1.0, float(np.abs(levels).max(initial=0.0)))  # the ball need not grow without end
    bounds = [(None, None) if f else (v, v) for f, v in zip(free, low, strict=True)] + [(None, cap)]
    cost = np.zeros(len(low) + 1)
    cost[-1] = -1.0
    column = np.ones((len(rows), 1))
    solution = scipy.optimize.linprog(
        cost, np.hstack([rows, column]), levels, bounds=bounds, method="highs-ds", options=TOLERANCES
    )
    if solution.x is None:  # the program is feasible and bounded by construction
        raise LipregError(
            f"the program for the deepest point ended without an answer: {solution.message}", where="Polytope"
        )
    point = solution.x[:-1]
    depth = float((levels - rows @ point).min(initial=cap))
    pressing = np.flatnonzero(-solution.ineqlin.marginals[: len(scaled)] > 1e-9)
    return Deepest(point, depth, tuple(int(i) for i in pressing))


def coordinate_ranges(
    matrix: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A box around {x : A x <= b, low <= x <= high}: the smallest up to the solver's accuracy, and never smaller than that.

    Two LPs for each coordinate that a row touches. In a finite box with more than PROGRAMS of them each row is carried
    through by itself instead, which is exact for one row and a wider box for several.

    The LPs' ends come from their multipliers y >= 0 and not from their optima: with r = e_j - A^T y,

        x_j = y . A x + r . x <= y . b + (r . x over the finite sides of the box) + rho_j |x|_inf,

    rho_j being the sum of |r| over open sides, a rounding error. So |x|_inf <= beta + rho |x|_inf for the largest beta
    and rho over all coordinates and signs, hence |x|_inf <= beta / (1 - rho), which ends what is open.

    Args:
        matrix: A, ``(rows, n)``.
        right: b, ``(rows,)``.
        low, high: ``(n,)``, infinite where open.

    Returns:
        Lower and upper ends, ``(n,)`` each.

    Raises:
        Unbounded: the polytope has no end in a coordinate.
    """
    size = len(low)
    touched = np.flatnonzero((matrix != 0).any(0) & (low < high))
    if len(touched) > PROGRAMS and np.isfinite(low).all() and np.isfinite(high).all():
        return _carried_through(matrix, right, low, high)
    sides = np.column_stack([low, high])
    ends = np.stack([high, -low])  # (sign, n): upper bounds on x and on -x
    for j in np.flatnonzero(~np.isfinite(ends).all(0)):
        if j not in touched:
            raise Unbounded(int(j), bool(np.isinf(high[j])))
    multipliers = np.zeros((2, size, len(right)))
    for j in touched:
        for sign in (0, 1):
            cost = np.zeros(size)
            cost[j] = -1.0 if sign == 0 else 1.0
            solution = scipy.optimize.linprog(cost, matrix, right, bounds=sides, method="highs-ds", options=TOLERANCES)
            if solution.x is None:
                if np.isinf(ends[sign, j]):
                    raise Unbounded(int(j), sign == 0)
                continue  # the side of the box stands
            multipliers[sign, j] = np.maximum(-solution.ineqlin.marginals, 0.0)
    directions = np.stack([np.eye(size), -np.eye(size)])
    residual = directions - multipliers @ matrix  # (sign, n, n)
    side = np.where(residual > 0, high, low)
    closed = np.isfinite(side)
    beta = multipliers @ right + np.where(closed, residual * np.where(closed, side, 0.0), 0.0).sum(-1)
    rho = np.where(closed, 0.0, np.abs(residual)).sum(-1)
    proved = np.isfinite(ends) & (ends < beta + rho)  # the sides of the box need no proof
    beta, rho = np.where(proved, ends, beta), np.where(proved, 0.0, rho)
    if rho.max() >= 0.5:
        sign, j = np.unravel_index(int(rho.argmax()), rho.shape)
        raise Unbounded(int(j), bool(sign == 0))
    most = max(0.0, float(beta.max())) / (1.0 - float(rho.max()))
    # float64 passes over n terms, each at most of the size of ``most`` or of its side
    at_sides = np.abs(residual * np.where(closed, side, 0.0)).sum(-1)
    terms = (
        np.abs(multipliers) @ np.abs(right)
        + np.abs(multipliers) @ np.abs(matrix) @ np.full(size, most)
        + at_sides
        + most
    )
    hair = 4 * (size + len(right)) * np.finfo(np.float64).eps * terms
    upper, negative = np.minimum(ends, beta + rho * most + hair)
    return np.maximum(-negative, low), np.minimum(upper, high)


def _carried_through(
    matrix: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """a_ij x_j <= b_i - (least value of the row's other terms over the box), row by row and for every coordinate."""
    least = np.minimum(matrix * low, matrix * high)
    hair = 4 * matrix.shape[1] * np.finfo(np.float64).eps * (np.abs(least).sum(1) + np.abs(right))
    remainder = (right + hair - least.sum(1))[:, None] + least
    ends = np.divide(remainder, matrix, out=np.full(matrix.shape, np.inf), where=matrix != 0)
    upper = np.where(matrix > 0, ends, np.inf).min(0)
    lower = np.where(matrix < 0, ends, -np.inf).max(0)
    return np.maximum(lower, low), np.minimum(upper, high)
