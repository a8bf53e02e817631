"""Norms of matrices and vectors with errors, rounded down: the values that witnesses attain for certain."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.linalg import best_direction, best_signs, vector_norm
from lipreg.linalg.floats import EPS
from lipreg.linalg.operators import SIGNS
from lipreg.problem import LocalLipschitz

LEAST = 1e-290
"""Norms below it count as 0: rounding is no longer relative to them."""


def operator_norms(problem: LocalLipschitz, matrix: Tensor, error: Tensor) -> list[tuple[float, float]]:
    """Lower bounds on the norms that the problem takes of Jacobians, and upper bounds at the same directions.

    For any w, |J|_{p -> q} >= |w . J|_{p*} / |w|_{q*}, so only the last step has to be rounded with care.

    Args:
        problem: the question, with p and q; scalar functionals have no q, and the largest of the rows counts.
        matrix: each J as computed, ``(batch, rows, n)``.
        error: a bound on the error of each entry, ``(batch, rows, n)``.

    Returns:
        (low, high) of each: the norm is at least ``low``; at w, a good one for the computed matrix, it is at most ``high``.
    """
    finite, some = (seen.flatten(1) for seen in (torch.isfinite(matrix), matrix != 0))
    known, some = finite.all(1), some.any(1)
    whole = torch.where((known & some).reshape(-1, 1, 1), matrix, torch.ones_like(matrix))
    w = _directions(problem, whole / whole.abs().amax((1, 2), keepdim=True))  # squares of 1e-165 are 0
    rows = matrix.shape[1]
    combined = _product(w, whole)
    slack = (rows + 2) * EPS * _product(w.abs(), whole.abs())
    low, high = _ends(combined, (_product(w.abs(), error) + slack) * (1.0 + (rows + 4) * EPS), problem.dual)
    if problem.q == 2.0:  # otherwise w has one entry, 1, or only entries of magnitude 1 at most
        _, size = _ends(w, torch.zeros_like(w), 2.0)
        low = torch.where(size > 0, low / size * (1.0 - 2 * EPS), 0.0)
    low, high = torch.where(some, low, 0.0), torch.where(some, high, error.flatten(1).sum(1))
    return _pairs(torch.where(known, low, 0.0), torch.where(known, high, torch.inf))


def vector_ends(vector: Tensor, error: Tensor, norm: float) -> list[tuple[float, float]]:
    """Bounds on the norms of vectors whose entries have errors, from below and above, rounding included.

    Args:
        vector: the entries of each as computed, ``(batch, n)``.
        error: a bound on the error of each entry, ``(batch, n)``.
        norm: the order of the norm: 1, 2 or inf.
    """
    return _pairs(*_ends(vector, error, norm))


def _ends(vector: Tensor, error: Tensor, norm: float) -> tuple[Tensor, Tensor]:
    slack = (vector.shape[-1] + 8) * EPS
    low, high = (_norm(end, norm) for end in ((vector.abs() - error).clamp(min=0.0), vector.abs() + error))
    low = torch.where(low > LEAST, low * (1.0 - slack), 0.0)
    return low, torch.where(torch.isfinite(high), high * (1.0 + slack), torch.inf)


def _pairs(low: Tensor, high: Tensor) -> list[tuple[float, float]]:
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _product(w: Tensor, matrix: Tensor) -> Tensor:
    """w M of each, ``(batch, n)``."""
    return (w.unsqueeze(1) @ matrix).squeeze(1)


def _norm(vector: Tensor, norm: float) -> Tensor:
    """The norms, computed in units of the largest entries, so that no square overflows or underflows."""
    unit = vector.amax(-1)
    apart = (unit > 0) & torch.isfinite(unit)
    size = vector_norm(vector / torch.where(apart, unit, 1.0).unsqueeze(-1), norm)
    return torch.where(apart, unit * size, unit)


def _directions(problem: LocalLipschitz, matrix: Tensor) -> Tensor:
    """The w at which the norm of each is attained, ``(batch, rows)``."""
    p, q, dual = problem.p, problem.q, problem.dual
    every = torch.arange(len(matrix), device=matrix.device)
    if q is None or q == torch.inf:
        unit = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        return unit[vector_norm(matrix, dual).argmax(-1)]
    if p == 1.0:
        column = matrix[every, :, vector_norm(matrix.mT, q).argmax(-1)]
        return column.sign() if q == 1.0 else column / _least_size(column)
    if (p, q) != (2.0, 2.0):
        if q == 1.0:
            return best_signs(matrix, dual)[1]
        few = matrix.shape[-1] <= SIGNS
        y = best_signs(matrix.mT, q)[1] if few else best_direction(matrix, p, q)
        image = (matrix @ y.unsqueeze(-1)).squeeze(-1)
        return image / _least_size(image)
    return torch.linalg.svd(matrix, full_matrices=False).U[..., 0]


def _least_size(vector: Tensor) -> Tensor:
    return vector_norm(vector, 2.0).clamp(min=1e-300).unsqueeze(-1)
