"""Points within rounding of the sphere of an l1 or l2 ball: whether they lie in it, exactly."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

ROUNDINGS = 8
"""Units of the last place, for each coordinate and 16 more, within which a point counts as beside the border by rounding."""


def within(x: Tensor, center: Tensor, norm: float, radius: float, above: Tensor) -> Tensor:
    """Whether the floats x lie within the real radius of the center, ``(batch, k)`` bool: as real numbers, exactly.

    Args:
        x: points ``(batch, k, n)``.
        center: ``(batch, n)``.
        norm: of the distance, 1 or 2.
        radius: of the ball.
        above: upper bounds on the distances, ``(batch, k)``, off by rounding alone; only points for which they say nothing
            are measured digit by digit.
    """
    inside = above <= radius
    near = ~inside & (above <= radius * (1.0 + relative_rounding(x)))
    for i, k in near.nonzero().tolist():
        steps = [Fraction(a) - Fraction(b) for a, b in zip(x[i, k].tolist(), center[i].tolist(), strict=True) if a != b]
        exact = Fraction(radius)
        inside[i, k] = sum(map(abs, steps)) <= exact if norm == 1 else sum(d * d for d in steps) <= exact * exact
    return inside


def relative_rounding(x: Tensor) -> float:
    """The relative rounding of a distance of so many coordinates, generously."""
    return ROUNDINGS * (x.shape[-1] + 16) * torch.finfo(x.dtype).eps
