"""Slope bounds: the one place where the scope, regional or pointed, enters a bound.

f(x) - f(x0) = A_K S_{K-1}(x) A_{K-1} ... S_1(x) A_1 (x - x0), with S_k the secant slopes between z_k(x0) and z_k(x); the
Jacobian is the same product with S_k the derivatives. So every bound on either constant needs, for each unit, an interval
of slopes, and nothing else of the scope.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.problem import Scope


@dataclass(frozen=True)
class Slopes:
    """lower <= slope <= upper for each unit of one ReLU node, ``(batch, *shape)``."""

    lower: Tensor
    upper: Tensor


def slope_bounds(value: Tensor, lower: Tensor, upper: Tensor, moves: Tensor, leak: float, scope: Scope) -> Slopes:
    """Intervals of the slopes that the units of a ReLU node can take over X.

    Args:
        value: pre-activations y at the reference point, ``(batch, *shape)``.
        lower, upper: bounds l <= z <= u over X, with l <= y <= u.
        moves: whether the pre-activation can move at all; a flat unit passes nothing on and gets slope 0.
        leak: slope a of the negative side, 0 for the plain ReLU.
        scope: "regional": the derivative is a where u <= 0, 1 where l >= 0, else in [a, 1].
            "pointed": the secant from y, which grows with z because the function is convex; so its extremes are the
            secants at l and at u.
    """
    one, zero, flat = torch.ones_like(value), torch.zeros_like(value), torch.full_like(value, leak)
    if scope == "regional":
        high = torch.where(upper > 0, one, flat)
        low = torch.where((lower >= 0) & (upper > 0), one, flat)  # a unit held at its kink is flat, and on one side
    else:
        rising = (value < 0) & (upper > 0)  # the secant at u crosses the kink
        span = torch.where(rising, upper - value, one)
        high = torch.where(rising, (upper - leak * value) / span, torch.where(value >= 0, one, flat))
        falling = (lower < 0) & (value > 0)  # the secant at l crosses the kink
        span = torch.where(falling, value - lower, one)
        low = torch.where(falling, (value - leak * lower) / span, torch.where(lower >= 0, one, flat))
        # where nothing lies above y (or below), one side of the kink is out of reach
        high = torch.where((value >= 0) & (upper <= 0), low, high)
    return Slopes(torch.where(moves, low, zero), torch.where(moves, high, zero))
