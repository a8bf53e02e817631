"""Vector norms by name: the three that lipreg measures in, their duals, and batched evaluation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.errors import InvalidInput

NORMS = (1.0, 2.0, math.inf)
"""The p of the vector norms that lipreg measures in."""


def parse_norm(value: float | str, where: str = "norm") -> float:
    """Reads 1, 2, inf, or their spellings as text ("inf" in a config file), as a float.

    Raises:
        InvalidInput: for anything else.
    """
    try:
        norm = float(value)
    except (TypeError, ValueError):
        norm = math.nan
    if norm not in NORMS:
        raise InvalidInput(f"got {value!r}", where=where, accepted='1, 2 or "inf"')
    return norm


def norm_name(p: float) -> str:
    """ "1", "2" or "inf": the spelling used in records, tables and config files."""
    return "inf" if p == math.inf else str(int(p))


def dual_norm(p: float) -> float:
    """p* with 1/p + 1/p* = 1: the norm that measures gradients when inputs are measured in p."""
    return {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]


def safe_sqrt(x: Tensor) -> Tensor:
    """sqrt(x) for x >= 0 with gradient 0, not NaN, where x = 0 (rows that a mask has emptied)."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def vector_norm(x: Tensor, p: float, dims: int = 1) -> Tensor:
    """|x|_p over the last dimensions, differentiable everywhere (subgradient 0 at zero).

    Args:
        x: ``(..., *vector)``.
        p: 1, 2 or inf.
        dims: how many dimensions a vector has.
    """
    flat = x.flatten(-dims) if dims > 1 else x
    if p == 1.0:
        return flat.abs().sum(-1)
    if p == 2.0:
        return safe_sqrt(flat.square().sum(-1))
    return flat.abs().amax(-1)


def squared_norm(matrices: Tensor) -> Tensor:
    """|M|_2^2 over the last two dimensions, from the smaller Gram matrix; its largest eigenvalue is accurate to rounding."""
    if min(matrices.shape[-2:]) == 1:
        return matrices.square().sum((-2, -1))
    thin = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    return torch.linalg.eigvalsh(thin @ thin.mT)[..., -1].clamp(min=0.0)
