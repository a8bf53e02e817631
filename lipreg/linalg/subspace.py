"""The largest singular value of one map under many pairs of masks, from a few directions that the points share.

Points whose masks differ have different top singular vectors, and one shared vector is a poor start for those unlike the
others. Of a few shared directions b_1 ... b_k every point takes the combination that its own map lengthens most, which
costs a pass of k vectors where the columns are the point's own, and nothing a point where all columns are alike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DIRECTIONS = 4
"""How many directions the points share; a power of two."""
PROBE = 1e-6
"""The share of a fixed random vector in every shared direction: a component that no point has used for long (of a unit that
was inactive, say) can then come back, and the others are hardly disturbed."""

Apply = Callable[[Tensor], Tensor]


def probes(rows: Tensor, columns: Tensor) -> Tensor:
    """Vectors that no singular vector is orthogonal to, but by chance: ``(k, *in_shape)``, the same at every start.

    k is 4, or 2 or 1 where the map has fewer rows or columns.
    """
    smaller = min(rows.shape[1:].numel(), columns.shape[1:].numel(), DIRECTIONS)
    draw = torch.Generator().manual_seed(0)
    shape = (1 << (smaller.bit_length() - 1), *columns.shape[1:])
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(rows)


def orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the span of vectors ``(k, *shape)``, its first along the first of them."""
    return torch.linalg.qr(vectors.flatten(1).T)[0].T.reshape(vectors.shape)


def top_pairs(
    basis: Tensor, rows: Tensor, columns: Tensor, forward: Apply, back: Apply
) -> tuple[Tensor, Tensor, Tensor]:
    """An approximate top singular triple of every M = diag(rows) A diag(columns).

    u is M b / |M b| for the unit b in the span of the basis that M lengthens most, nearly: at least as much as every b_j.
    Then sigma = |M^T u| >= |M b|, and v = M^T u / sigma.

    Args:
        basis: ``(k, *in_shape)``, orthonormal, k a power of two.
        rows, columns: weights >= 0, ``(batch or 1, *shape)``.
        forward, back: A and A^T on batches.

    Returns:
        sigma ``(batch,)``, never above the norm; u ``(batch, *out_shape)`` and v ``(batch, *in_shape)``.
    """
    k = len(basis)
    images = forward((columns.unsqueeze(1) * basis).flatten(0, 1))
    if len(columns) == 1:  # images of all points at once, of which each takes its own rows
        images = images.flatten(1)
        products = (images.unsqueeze(1) * images).flatten(0, 1)
        gram = (products @ rows.square().flatten(1).T).reshape(k, k, -1)
        u = rows * (_longest(gram).T @ images).reshape(-1, *rows.shape[1:])
    else:
        images = (images.reshape(-1, k, *rows.shape[1:]) * rows.unsqueeze(1)).flatten(2)
        gram = (images @ images.mT).permute(1, 2, 0).contiguous()
        u = (_longest(gram).T.unsqueeze(2) * images).sum(1).reshape(-1, *rows.shape[1:])
    u = normalised(u)[0]
    v, sigma = normalised(columns * back(rows * u))
    return sigma.flatten(), u, v


def followed(basis: Tensor, v: Tensor, probes: Tensor) -> Tensor:
    """The basis after a step of subspace iteration towards the directions in which the points' v lie most.

    Args:
        basis, probes: ``(k, *in_shape)``.
        v: ``(batch, *in_shape)``, of length 1 or 0.
    """
    flat = v.flatten(1)
    weights = flat @ basis.flatten(1).T
    return orthonormal(torch.add(weights.T @ flat, probes.flatten(1), alpha=PROBE).reshape(basis.shape))


def normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """x / |x| of each point, no longer than 1 and 0 for 0, and |x| ``(batch, 1, ...)``."""
    size = torch.linalg.vector_norm(x.flatten(1), dim=1).reshape(-1, *(1,) * (x.dim() - 1))
    # of entries whose squares vanish the length is wrong: x stays as short as it is
    return x / size.clamp(min=torch.finfo(x.dtype).tiny ** 0.5), size


def _longest(gram: Tensor) -> Tensor:
    """Unit y ``(k, batch)`` that make y^T G y large, G ``(k, k, batch)`` positive semidefinite.

    Two coordinates are turned by the angle at which y is longest, pair by pair, and then the longest of the pairs: the
    exact maximum for k = 2, and never less than the largest diagonal entry. Decompositions of many small matrices take
    longer.
    """
    k = len(gram)
    if k == 1:
        return torch.ones_like(gram[0])
    flat = gram.reshape(k * k, -1)
    diagonal, mixed = flat[:: k + 1], flat[1 :: 2 * k + 2]  # entries (i, i) and (2 i, 2 i + 1)
    angle = torch.atan2(2.0 * mixed, diagonal[::2] - diagonal[1::2]).mul_(0.5)
    c, s = angle.cos(), angle.sin()
    turn = torch.stack([c, s], 1)
    if k == 2:
        return turn[0]
    half = torch.addcmul(c.unsqueeze(1) * gram[::2], s.unsqueeze(1), gram[1::2])
    half = torch.addcmul(c * half[:, ::2], s, half[:, 1::2])
    return (turn * _longest(half).unsqueeze(1)).reshape(k, -1)
