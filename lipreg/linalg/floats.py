"""Arithmetic on floats that accounts for its rounding: sums with their errors, and ends rounded to the safe side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.linalg.norms import safe_sqrt

EPS = 2.0**-52
"""Twice the rounding of one float64 operation, so that sums of roundings need no higher orders."""
TINY = 2.0**-1000
"""More than what products that underflow can lose together."""
SPARE = 16
"""Roundings allowed for beside those of a sum's terms: of products, quotients, roots and the allowance itself."""


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """s = a + b rounded to nearest and its error, so that s + error = a + b exactly (Knuth); error NaN where s overflows."""
    s = a + b
    other = s - a
    return s, (a - (s - other)) + (b - other)


def add_below(a: Tensor, b: Tensor) -> Tensor:
    """The largest float that is not above a + b."""
    s, error = two_sum(a, b)
    return torch.where(error < 0, torch.nextafter(s, torch.full_like(s, -math.inf)), s)


def add_above(a: Tensor, b: Tensor) -> Tensor:
    """The smallest float that is not below a + b."""
    return 0.0 - add_below(-a, -b)


def cast_below(x: Tensor, like: Tensor) -> Tensor:
    """The largest numbers of ``like``'s dtype, on its device, that are not above x."""
    cast = x.to(like)
    return torch.where(cast > x.to(like.device), torch.nextafter(cast, torch.full_like(cast, -math.inf)), cast)


def cast_above(x: Tensor, like: Tensor) -> Tensor:
    """The smallest numbers of ``like``'s dtype, on its device, that are not below x."""
    return 0.0 - cast_below(-x, like)


def spacing(x: Tensor) -> Tensor:
    """How far the next larger float lies from |x|."""
    size = x.abs()
    return torch.nextafter(size, torch.full_like(size, math.inf)) - size


def inflation(terms: int, like: Tensor) -> float:
    """1 + (terms + SPARE) 2u: a computed sum of so many terms >= 0, times this, is not below the sum."""
    return 1.0 + (terms + SPARE) * torch.finfo(like.dtype).eps


def norm_above(x: Tensor, p: float) -> Tensor:
    """|x|_p over the last dimension, and a hair that makes up for rounding; differentiable like ``vector_norm``."""
    size = x.abs()
    if p == math.inf:
        return size.amax(-1)
    if p == 1.0:
        total = size.sum(-1)
    else:  # in units of the largest entry, so that no square underflows or overflows
        unit = size.detach().amax(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        total = safe_sqrt((x / unit).square().sum(-1)) * unit.squeeze(-1)
    # one more step where the factor is lost in a subnormal
    return (
        total * inflation(x.shape[-1], x)
        + (total > 0).to(total) * torch.finfo(x.dtype).smallest_normal * torch.finfo(x.dtype).eps
    )
