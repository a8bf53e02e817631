"""Lanczos on batches of symmetric operators: an upper bound on the top eigenvalue, and its vector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

STARTS = 3
"""Independent random starts of a bound: all of them must fail together, so each may be the less careful."""
MAX_STEPS = 1500
"""The number of steps after which a bound is taken as it is."""
LONG = 2**18
"""Entries of the vectors beyond which the ends are computed after every step."""
TRAINING_STEPS = 16
"""The number of steps of an estimate without a bound."""


def lanczos_bound(
    apply: Callable[[Tensor], Tensor],
    support: Tensor,
    eta: Tensor,
    ceiling: Tensor,
    width: float,
    failure: float,
    seed: int,
    is_over: Callable[[], object] = lambda: None,
) -> tuple[Tensor, Tensor, int]:
    """Lower and upper bounds on the largest eigenvalue of G, by Lanczos (derivation: ``linalg/spectral.py``).

    Args:
        apply: x -> G x for x ``(batch, k, *shape)``, in memory of its own, which is written over.
        support: the entries that G reads and writes, ``(batch, *shape)`` bool.
        eta: bound on the rounding error of one application to a unit vector, ``(batch,)``.
        ceiling: any upper bound on the eigenvalue, ``(batch,)``.
        width: relative width to stop at.
        failure: probability over the starts that an upper bound may fail with.
        seed: of the starts, up to 256 bits. The probability is over seeds that G does not depend on: draw a fresh one.
        is_over: whether, after a step, there is no time for another one: the bound is then as wide as it is.

    Returns:
        Lower and upper bounds, ``(batch,)`` each, and the number of steps.
    """
    dims = support.dim() - 1
    normal = np.random.default_rng(seed).standard_normal((len(support), STARTS, *support.shape[1:]))
    vector = _starts(torch.from_numpy(normal), support)
    count = support.flatten(1).sum(-1).clamp(min=1).double().cpu()
    # P(|v . b| <= x) <= x sqrt(2 n / pi) for each start
    overlap = failure ** (1.0 / STARTS) * (math.pi / (2.0 * count)).sqrt()
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    previous, check = torch.zeros_like(vector), 8
    low, high = torch.zeros_like(ceiling), ceiling
    for step in itertools.count(1):
        # in place: on large maps the vectors' own arithmetic costs memory traffic like the maps themselves
        image = apply(vector)
        alpha = _dot(image, vector)
        image.addcmul_(_broadcast(alpha, dims), vector, value=-1.0)
        if betas:
            image.addcmul_(_broadcast(betas[-1], dims), previous, value=-1.0)
        beta = image.flatten(2).norm(dim=-1)
        # below the rounding error the space is exhausted: the rest counts as error, and the recurrence ends
        alive = beta > eta.unsqueeze(1)
        beta = torch.where(alive, beta, 0.0)
        alphas.append(alpha)
        betas.append(beta)
        previous, vector = vector, image.mul_(_broadcast(torch.where(alive, 1.0 / beta, 0.0), dims))
        over = step == MAX_STEPS or not bool(alive.any()) or bool(is_over())
        if over or step == check:
            a, b = torch.stack(alphas, -1).cpu(), torch.stack(betas, -1).cpu()
            # an exhausted space leaves one error more in the last row
            ritz, bound = _ends(a, b, 2.0 * eta.cpu(), overlap)
            low = torch.maximum(low, ritz.to(low))
            high = torch.minimum(high, bound.to(high))
            if over or bool((high <= low * (1.0 + width)).all()):
                return torch.minimum(low, high), high, step
            # a look costs some milliseconds: less than a step where vectors are long
            check = check + 1 if vector.numel() > LONG else max(check + 4, int(check * 1.15))
    raise AssertionError("the last step returns")


def top_vector(apply: Callable[[Tensor], Tensor], weights: Tensor) -> Tensor:
    """An approximate top eigenvector of G, ``(batch, *shape)``, from a short run with its basis kept.

    ``weights``, of that shape and in G's arithmetic, are positive where G reads and writes.
    """
    dims, steps = weights.dim() - 1, min(TRAINING_STEPS, math.prod(weights.shape[1:]))
    # an estimate's starts are the same in every run, so that training is
    generator = torch.Generator().manual_seed(20)
    normal = torch.randn(len(weights), 1, *weights.shape[1:], generator=generator, dtype=torch.float64)
    vector = _starts(normal, weights > 0).to(weights.dtype)
    basis, alphas, betas = [], [], []
    previous = torch.zeros_like(vector)
    for _ in range(steps):
        basis.append(vector)
        image = apply(vector)
        alphas.append((image * vector).flatten(2).sum(-1))
        image = image - _broadcast(alphas[-1], dims) * vector
        if betas:
            image = image - _broadcast(betas[-1], dims) * previous
        beta = image.flatten(2).norm(dim=-1)
        betas.append(beta)
        tiny = beta <= 1e-6 * alphas[0].abs()
        previous, vector = vector, image / _broadcast(torch.where(tiny, 1.0, beta), dims) * _broadcast(~tiny, dims)
    a, b = torch.stack(alphas, -1)[:, 0], torch.stack(betas, -1)[:, 0]
    tridiagonal = torch.diag_embed(a) + torch.diag_embed(b[:, :-1], 1) + torch.diag_embed(b[:, :-1], -1)
    parts = torch.linalg.eigh(tridiagonal).eigenvectors[..., -1]
    stacked = torch.cat(basis, 1)  # (batch, steps, *shape)
    ritz = (stacked * _broadcast(parts, dims)).sum(1)
    size = ritz.flatten(1).norm(dim=1)
    return ritz / torch.where(size > 0, size, 1.0).reshape(-1, *(1,) * dims)


def _starts(normal: Tensor, support: Tensor) -> Tensor:
    """Unit vectors, uniform on the sphere of the support, from normal numbers ``(batch, count, *shape)``."""
    normal = normal.to(support.device) * support.unsqueeze(1)
    size = normal.flatten(2).norm(dim=-1)
    return normal / _broadcast(torch.where(size > 0, size, 1.0), support.dim() - 1)


def _ends(alphas: Tensor, betas: Tensor, eta: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
    """The largest Ritz value, and the largest over the starts of the smallest t on a fine grid with g(t) <= overlap.

    alphas, betas ``(batch, starts, k)``; betas[..., j] couples step j to j + 1. A bound by one start fails with its own
    probability, so the largest over the starts fails only if all do.
    """
    off = betas[..., :-1]
    tridiagonal = torch.diag_embed(alphas) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    ritz = torch.linalg.eigvalsh(tridiagonal)[..., -1].clamp(min=0.0)
    top = ritz.amax(-1)
    scale = torch.where(top > 0, top, torch.ones_like(top)).unsqueeze(-1)
    grid = torch.logspace(-9, 2, 67, dtype=torch.float64)
    best = _smallest(alphas, betas, eta, overlap, scale * (1.0 + grid))
    # between that grid point and the one before it
    before = (best / scale.expand_as(best) - 1.0) / 10.0 ** (11 / 66)
    fine = torch.linspace(0.0, 1.0, 32, dtype=torch.float64)
    ratio = 1.0 + before.unsqueeze(-1) * (10.0 ** (11 / 66)) ** fine
    best = _smallest(alphas, betas, eta, overlap, scale.unsqueeze(-1) * ratio)
    return top, best.amax(-1)


def _smallest(alphas: Tensor, betas: Tensor, eta: Tensor, overlap: Tensor, t: Tensor) -> Tensor:
    """The smallest t of an ascending grid ``(batch, [starts,] points)`` with g(t) <= overlap; inf if none.

    t - T = L D L^T with positive pivots exactly when t is above T's spectrum; R e_1 then follows without cancellation.
    """
    if t.dim() == 2:
        t = t.unsqueeze(1).expand(-1, alphas.shape[1], -1)
    steps = alphas.shape[-1]
    a, b = alphas.unsqueeze(-1), betas.unsqueeze(-1)
    pivots, forward = [], []
    pivot, carried = t - a[..., 0, :], torch.ones_like(t)
    valid = pivot > 0
    pivots.append(torch.where(valid, pivot, 1.0))
    forward.append(carried)
    for j in range(1, steps):
        coupling = b[..., j - 1, :]
        pivot = t - a[..., j, :] - coupling.square() / pivots[-1]
        carried = carried * coupling / pivots[-1]
        valid = valid & (pivot > 0)
        pivots.append(torch.where(pivot > 0, pivot, 1.0))
        forward.append(carried)
    entry = forward[-1] / pivots[-1]
    last, total = entry, entry.clone()
    for j in range(steps - 2, -1, -1):
        entry = forward[j] / pivots[j] + b[..., j, :] / pivots[j] * entry
        total = total + entry
    # the last vector is a unit vector to rounding; 1.001 covers that and the rounding of this evaluation
    least = 1.001 * (b[..., -1, :] * last + eta.reshape(-1, 1, 1) * total)
    good = valid & (least <= overlap.reshape(-1, 1, 1))
    return torch.where(good, t, torch.inf).amin(-1)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """x . y of each vector ``(batch, k, *shape)``, without a product in memory."""
    return torch.einsum("bkn,bkn->bk", x.flatten(2), y.flatten(2))


def _broadcast(x: Tensor, dims: int) -> Tensor:
    return x.reshape(*x.shape, *(1,) * dims)
