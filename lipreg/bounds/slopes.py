"""Slope bounds: the one place where the scope, regional or pointed, enters a bound.

f(x) - f(x0) = A_K S_{K-1}(x) A_{K-1} ... S_1(x) A_1 (x - x0), with S_k the secant slopes between z_k(x0) and z_k(x); the
Jacobian is the same product with S_k the derivatives. So every bound on either constant needs, for each unit, an interval
of slopes, and nothing else of the scope.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.value_bounds import ValueBounds
from lipreg.curves import secants
from lipreg.graph import Curved, Relu
from lipreg.linalg.floats import EPS
from lipreg.problem import Scope


@dataclass(frozen=True)
class Slopes:
    """lower <= slope <= upper for each unit of one Relu or Curved node.

    Attributes:
        lower, upper: the ends, ``(batch, *shape)``.
    """

    lower: Tensor
    upper: Tensor

    @property
    def size(self) -> Tensor:
        """The largest magnitudes."""
        return torch.maximum(self.upper, -self.lower)


def slopes_of(node: Relu | Curved, z: ValueBounds, scope: Scope) -> Slopes:
    """Intervals of the slopes that the units of a node can take over X.

    Of a curve these are, in regional scope, the range of its derivative over [l, u]; in pointed scope that of its secants
    from y; see ``lipreg.curves``.

    Args:
        node: whose units these are.
        z: its pre-activation bounds, as of ``slope_bounds``.
        scope: "regional" or "pointed".
    """
    if isinstance(node, Relu):
        return slope_bounds(z, node.slope, scope)
    if scope == "regional":
        lower, upper = node.curve.slopes(z.lower, z.upper)
    else:
        lower, upper = secants(node.curve, z.value, z.error, z.lower, z.upper)
    zero = torch.zeros_like(lower)
    return Slopes(torch.where(z.movable, lower, zero), torch.where(z.movable, upper, zero))


def slope_bounds(z: ValueBounds, negative_slope: float, scope: Scope) -> Slopes:
    """Intervals of the slopes that the units of a ReLU node can take over X.

    Args:
        z: pre-activations: y at the reference point, bounds l <= z <= u over X with l <= y <= u, and whether they can move
            at all; a flat unit passes nothing on and gets slope 0.
        negative_slope: slope a of the negative side, 0 for the plain ReLU.
        scope: "regional": the derivative is a where u <= 0, 1 where l >= 0, else in [a, 1].
            "pointed": the secant from y, which grows with y and with z because the function is convex; so its extremes are
            the secants at l from the least y, and at u from the largest, that rounding allows.
    """
    lower, upper = z.lower, z.upper
    one, zero, flat = torch.ones_like(upper), torch.zeros_like(upper), torch.full_like(upper, negative_slope)
    if scope == "regional":
        high = torch.where(upper > 0, one, flat)
        low = torch.where(
            (lower >= 0) & (upper > 0), one, flat
        )  # a unit that stays at its kink is flat, and on one side
    else:
        least, most = z.at
        # a quotient of computed differences, rounded away from the secant
        share = 0.0 if z.error is None else 4 * EPS
        # ends at infinity leave the quotients before they are formed: the gradient of inf / inf is none, whatever picks it
        span = upper - most
        rising = (most < 0) & (upper > 0) & torch.isfinite(span)  # the secant at u crosses the kink
        high = (
            (torch.where(rising, upper, one) - negative_slope * most) / torch.where(rising, span, one) * (1.0 + share)
        )
        beside = torch.where((most >= 0) | (upper > 0), one, flat)  # far out it is the slope of that side
        high = torch.where(rising, torch.minimum(high, one), beside)
        span = least - lower
        falling = (lower < 0) & (least > 0) & torch.isfinite(span)  # the secant at l crosses the kink
        low = (
            (least - negative_slope * torch.where(falling, lower, zero))
            / torch.where(falling, span, one)
            * (1.0 - share)
        )
        low = torch.where(falling, torch.maximum(low, flat), torch.where(lower >= 0, one, flat))
        # where nothing lies above y (or below), one side of the kink is out of reach
        high = torch.where((most >= 0) & (upper <= 0), low, high)
    return Slopes(torch.where(z.movable, low, zero), torch.where(z.movable, high, zero))
