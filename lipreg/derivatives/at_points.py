"""Derivatives at points: all entries of a Jacobian, each within what rounding may have done to it."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.intervals import Ends
from lipreg.budget import Budget
from lipreg.estimators.witnesses.jacobians import jacobians
from lipreg.estimators.witnesses.witness import most_points
from lipreg.linalg.floats import EPS, TINY, add_above, add_below

SHARP = 1e-10
"""Error at which the entries at a point need no more digits, relative to the largest of them."""


def derivatives_at(local: Analysis, x: Tensor, budget: Budget) -> Ends:
    """The entries at points x ``(k, *shape)`` of a single point's region, in units of the inputs.

    In float64 where that shows whether the network is differentiable there and what its derivatives are; single points in
    as many digits as that takes.

    Args:
        local: of a single point.
        x: the points.
        budget: its memory says how many points are looked at together, its time how many digits there are.

    Returns:
        Lower and upper ends of each derivative, ``(k, rows, inputs)``; -inf and inf at points outside of the region and
        at those where the network is not proved to be differentiable.
    """
    ends = [_at(local, part, budget) for part in x.split(most_points(local, budget))]
    low, high = (torch.cat(part) for part in zip(*ends, strict=True))
    return low, high


def _at(local: Analysis, x: Tensor, budget: Budget) -> Ends:
    graph, placed, points = local.graph, local.placed, x.unsqueeze(0)
    several = len(x) > 1
    inside, smooth = placed.region.contains(points)[0], torch.zeros(len(x), dtype=torch.bool)
    low = torch.full((len(x), placed.rows.shape[1], placed.counts[0].numel()), -torch.inf, dtype=graph.dtype)
    high = -low
    if not bool(inside.all() if not several else inside.any()):
        return low, high
    value = error = low
    rows = placed.rows.to(graph.dtype).unsqueeze(1).expand(-1, len(x), -1, -1)
    for pattern, jacobian in jacobians(local, points, rows, budget, at_once=several):
        smooth = pattern.smooth[0] & inside
        value, error = (part[0].flatten(2) for part in jacobian.rounded())
        if several or bool((error.amax() <= SHARP * value.abs().amax()) | (error == 0).all()):
            break
    least, most = _in_units(value, error, placed.counts.flatten().to(value))
    return torch.where(smooth[:, None, None], least, low), torch.where(smooth[:, None, None], most, high)


def _in_units(value: Tensor, error: Tensor, units: Tensor) -> Ends:
    """(value -+ error) * units, rounded outward; a value that is 0 without error stays 0."""
    size = value * units
    scaled = torch.where(units == 1.0, error, error * units * (1.0 + 4 * EPS) + EPS * size.abs() + TINY)
    scaled = torch.where((value == 0) & (error == 0), 0.0, scaled)
    return add_below(size, -scaled), add_above(size, scaled)
