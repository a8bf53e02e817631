"""Bounds on an operator's norm within a node from the intervals of its entries: cheap, so they judge branching too."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.linalg import vector_norm

ROUNDING = 1e-12
"""Relative widening for the sums behind a power of the singular values."""


def entrywise_bound(network: FoldedNetwork, center: Tensor, radius: Tensor) -> Tensor:
    """Norms of the matrices center +- radius from above, ``(N,)``.

    The smaller of that of the larger magnitudes and of |center| + |radius|, each norm from above.

    Args:
        network: of whose p and q the norm is.
        center, radius: ``(N, rows, columns)`` each; a family of p = 1 is one column.
    """
    whole = _from_above(center.abs() + radius, network.p, network.q)
    return torch.minimum(whole, _from_above(center, network.p, network.q) + _from_above(radius, network.p, network.q))


def _from_above(matrix: Tensor, p: float, q: float | None) -> Tensor:
    """|M|_{p -> q}, for q = 1 and 2, from above."""
    assert q is not None
    if p == 1.0:
        return vector_norm(matrix.squeeze(-1), q)
    rows = vector_norm(vector_norm(matrix, 1.0 if p == math.inf else 2.0), q)
    if (p, q) != (2.0, 2.0):
        return rows
    # in units of the Frobenius norm, because eighth powers leave the range of floats soon
    unit = torch.where(rows > 0, rows, torch.ones_like(rows))
    matrix = matrix / unit.reshape(-1, 1, 1)
    thin = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    gram = thin @ thin.mT
    # the eighth root of the sum of the eighth powers of the singular values
    return torch.minimum(rows, unit * (gram @ gram).flatten(1).norm(dim=-1).sqrt().sqrt() * (1.0 + ROUNDING))
