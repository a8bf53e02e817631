"""Semidefinite bounds on a norm over a box, in max-cut form: certified for whatever the iteration returns.

A gradient that is a center plus deviations is M t, with t in [-1, 1]^q after the center is made a column of M (the norms are
even). A convex function is largest at a vertex, so

    max |M t|_1 = max s^T M t over signs s, t       max |M t|_2^2 = max t^T M^T M t over signs t.

Signs are relaxed to unit vectors, and the low-rank mixing method (Wang, Chang & Kolter 2017) improves those by normalised
products. Its last vectors give weights for a dual bound that holds for ANY positive weights:

    |M t|_1 <= sqrt(lam . sum a . sum b),   lam = largest eigenvalue of diag(a)^-1/2 M^T diag(b)^-1 M diag(a)^-1/2,

because |x| <= x^2 / (2 b) + b / 2 and t^T Q t <= lam . sum a whenever Q <= lam diag(a). So convergence decides only how
tight the bound is. The eigenvalue is the squared norm of diag(b)^-1/2 M diag(a)^-1/2, from its smaller Gram matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.linalg import squared_norm

RANK = 8
"""Length of the unit vectors. The optimum needs sqrt(2 q); a lower rank costs a little tightness."""
SWEEPS = 8
FLOOR = 1e-9
"""Smallest weight, for M scaled to mean column sum 1."""
ROUNDING = 1e-9
"""Relative widening for the rounding of the eigenvalue."""


def norm_bound(center: Tensor, generators: Tensor, p: float) -> Tensor:
    """An upper bound on max |center + generators t|_{p*} over t in [-1, 1]^n.

    Args:
        center: ``(N, m)``.
        generators: ``(N, m, n)``.
        p: inf (bounds the l1 norm) or 2.

    Returns:
        ``(N,)``.
    """
    return _norm_bound(torch.cat([center.unsqueeze(-1), generators], dim=-1), p)


def deviating_bound(center: Tensor, bounds: Tensor, rows: Tensor, p: float) -> Tensor:
    """``norm_bound`` of center + sum_u t_u bounds_u rows_u, whose generators are written down once.

    Args:
        center: ``(N, m)``.
        bounds: ``(N, n)``.
        rows: ``(n, m)``.
        p: as of ``norm_bound``.

    Returns:
        ``(N,)``.
    """
    matrix = center.new_empty(*center.shape, 1 + len(rows))
    matrix[..., 0] = center
    torch.mul(bounds.unsqueeze(1), rows.mT, out=matrix[..., 1:])
    return _norm_bound(matrix, p)


def _norm_bound(matrix: Tensor, p: float) -> Tensor:
    """The bound on |M t|_{p*} of matrices ``(N, m, n)``, which are scaled in place."""
    scale = (torch.linalg.vector_norm(matrix, 1, dim=(1, 2)) / matrix.shape[-1]).clamp(min=1e-300)
    matrix.div_(scale.reshape(-1, 1, 1))
    bound = _l1(matrix) if p == math.inf else _l2(matrix)
    return bound * scale * (1.0 + ROUNDING)


def _l1(matrix: Tensor) -> Tensor:
    vectors = _start(matrix)
    for _ in range(SWEEPS):
        vectors = _unit(matrix.mT @ _unit(matrix @ vectors))
    image = matrix @ vectors
    b = image.norm(dim=-1).clamp(min=FLOOR)
    a = (matrix.mT @ (image / b.unsqueeze(-1))).norm(dim=-1).clamp(min=FLOOR)
    scaled = matrix.div_(b.sqrt().unsqueeze(-1)).div_(a.sqrt().unsqueeze(-2))
    return (squared_norm(scaled) * a.sum(-1) * b.sum(-1)).sqrt()


def _l2(matrix: Tensor) -> Tensor:
    vectors = _start(matrix)
    for _ in range(SWEEPS):
        vectors = _unit(matrix.mT @ (matrix @ vectors))
    a = (matrix.mT @ (matrix @ vectors)).norm(dim=-1).clamp(min=FLOOR)
    return (squared_norm(matrix.div_(a.sqrt().unsqueeze(-2))) * a.sum(-1)).sqrt()


def _start(matrix: Tensor) -> Tensor:
    """Unit vectors in general position, the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(matrix.shape[-1], RANK, generator=generator, dtype=torch.float64).to(matrix)
    return _unit(vectors).expand(len(matrix), -1, -1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
