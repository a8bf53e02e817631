"""Norms of matrices and vectors with errors, rounded down: the values that witnesses attain for certain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.linalg import best_direction, best_signs, vector_norm
from lipreg.linalg.floats import EPS
from lipreg.linalg.operators import SIGNS
from lipreg.problem import LocalLipschitz

LEAST = 1e-290
"""Norms below it count as 0: rounding is no longer relative to them."""


def operator_norm(problem: LocalLipschitz, matrix: Tensor, error: Tensor) -> tuple[float, float]:
    """A lower bound on the norm that the problem takes of a Jacobian, and an upper bound at the same direction.

    For any w, |J|_{p -> q} >= |w . J|_{p*} / |w|_{q*}, so only the last step has to be rounded with care.

    Args:
        problem: the question, with p and q; scalar functionals have no q, and the largest of the rows counts.
        matrix: J as computed, ``(rows, n)``.
        error: a bound on the error of each entry, ``(rows, n)``.

    Returns:
        (low, high): the norm is at least ``low``; at w, a good one for the computed matrix, it is at most ``high``.
    """
    if not bool(torch.isfinite(matrix).all()):
        return 0.0, math.inf
    if not bool(matrix.any()):
        return 0.0, float(error.sum())
    w = _direction(problem, matrix / matrix.abs().max())  # squares of 1e-165 are 0
    rows = len(matrix)
    combined = w @ matrix
    combined_error = (w.abs() @ error + (rows + 2) * EPS * (w.abs() @ matrix.abs())) * (1.0 + (rows + 4) * EPS)
    low, high = vector_ends(combined, combined_error, problem.dual)
    if problem.q != 2.0:  # w has one entry, 1, or only entries of magnitude 1 at most
        return low, high
    _, size = vector_ends(w, torch.zeros_like(w), 2.0)
    return (low / size * (1.0 - 2 * EPS) if size else 0.0), high


def vector_ends(vector: Tensor, error: Tensor, norm: float) -> tuple[float, float]:
    """Bounds on the norm of a vector whose entries have errors, from below and above, rounding included.

    Args:
        vector: the entries as computed, ``(n,)``.
        error: a bound on the error of each entry, ``(n,)``.
        norm: the order of the norm: 1, 2 or inf.
    """
    slack = (vector.numel() + 8) * EPS
    low, high = (_norm(end, norm) for end in ((vector.abs() - error).clamp(min=0.0), vector.abs() + error))
    return low * (1.0 - slack) if low > LEAST else 0.0, high * (1.0 + slack) if math.isfinite(high) else math.inf


def _norm(vector: Tensor, norm: float) -> float:
    """The norm, computed in units of the largest entry, so that no square overflows or underflows."""
    unit = float(vector.max())
    return unit * float(vector_norm(vector / unit, norm)) if 0 < unit < math.inf else unit


def _direction(problem: LocalLipschitz, matrix: Tensor) -> Tensor:
    """The w at which the norm is attained, ``(rows,)``."""
    p, q, dual = problem.p, problem.q, problem.dual
    if q is None or q == math.inf:
        return torch.eye(len(matrix), dtype=matrix.dtype)[int(vector_norm(matrix, dual).argmax())]
    if p == 1.0:
        column = matrix[:, int(vector_norm(matrix.T, q).argmax())]
        return column.sign() if q == 1.0 else column / vector_norm(column, 2.0).clamp(min=1e-300)
    if (p, q) != (2.0, 2.0):
        if q == 1.0:
            return best_signs(matrix, dual)[1]
        few = matrix.shape[1] <= SIGNS
        image = matrix @ (best_signs(matrix.T, q)[1] if few else best_direction(matrix, p, q))
        return image / vector_norm(image, 2.0).clamp(min=1e-300)
    return torch.linalg.svd(matrix, full_matrices=False).U[:, 0]
