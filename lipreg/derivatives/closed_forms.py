"""Closed-form bounds on all entries of a Jacobian at once: intervals, linear bounds, and signs of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import (
    Analysis,
    gradient_rounding,
    gradient_signs,
    interval_jacobian,
    linear_jacobian,
    underflow,
)
from lipreg.budget import Budget
from lipreg.estimators.naming import cut_name
from lipreg.linalg.floats import EPS

INTERVALS, LINEAR = "interval Jacobian", "linear bounds on the Jacobian"
CHARGED = 8.0
"""How many times the rounding of a gradient linear bounds are widened by: they go through chords on the way."""


@dataclass(frozen=True)
class ClosedFormBounds:
    """Proved bounds on every entry in units of the inputs, ``(batch, rows, inputs)``, rounded outward.

    Attributes:
        low, high: the ends.
        proof: the name of what proves them.
        left_out: what there was no time for.
    """

    low: Tensor
    high: Tensor
    proof: str
    left_out: str = ""


def closed_forms(analysis: Analysis, budget: Budget, signs_alone: bool) -> ClosedFormBounds:
    """Bounds on every entry, of a batch.

    They cost two passes of intervals; linear bounds a forward pass an entry, as many as there is time for.

    Args:
        analysis: of a frozen graph, in regional scope. With p = inf linear bounds are of entries of undecided sign alone.
        budget: started, of linear bounds.
        signs_alone: whether entries whose signs are decided need no more.
    """
    bounds = interval_jacobian(analysis)
    below, above = gradient_signs(analysis, bounds)
    low, high = _rounded(analysis, *bounds[0], below, above)
    wanted = (analysis.placed.weights > 0).flatten(1).unsqueeze(1)
    unfinished = (low < 0) & (high > 0) if signs_alone else high > low
    if not bool((unfinished & wanted).any()) or budget.stop_reason() is not None:
        return ClosedFormBounds(low, high, INTERVALS)
    linear = linear_jacobian(analysis, budget)
    loss = CHARGED * gradient_rounding(analysis)[0]
    least, most = _rounded(analysis, linear.lower - loss, linear.upper + loss, below, above)
    proof = cut_name(LINEAR) if linear.left_out else LINEAR
    return ClosedFormBounds(torch.maximum(low, least), torch.minimum(high, most), proof, linear.left_out)


def _rounded(analysis: Analysis, low: Tensor, high: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """The ends in units of the inputs, rounded outward; 0 where the signs of weights exclude anything beyond it."""
    lost = underflow(analysis).reshape(*low.shape[:2], *(1,) * (low.dim() - 2))
    units = analysis.placed.counts.unsqueeze(1).to(low)
    low, high = -_above(units, lost - low), _above(units, high + lost)
    low = torch.where(below, low, low.clamp(min=0.0))
    high = torch.where(above, high, high.clamp(max=0.0))
    return low.flatten(2), high.flatten(2)


def _above(units: Tensor, end: Tensor) -> Tensor:
    """units * end, and a hair more."""
    product = units * end
    return torch.nextafter(product + 4 * EPS * product.abs(), torch.full_like(end, torch.inf))
