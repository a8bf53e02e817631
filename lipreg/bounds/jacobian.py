"""Entrywise bounds on the Jacobian over X from slope bounds: the interval Jacobian."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import DigitIntervals, Float64Intervals
from lipreg.bounds.rounding import gradient_rounding
from lipreg.graph import Affine, MaxPool, Relu

LOST = 1e-6
"""Share of a bound that may be rounding before digits are taken."""
Tighten = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Node index and bounds on its gradients, lower and upper -> tighter ones."""


def interval_jacobian(analysis: Analysis, tighten: Tighten | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Interval backward pass: bounds on the gradient of every row with respect to every node but the Affine ones.

    Weng et al. 2018 (FastLip) with slope intervals in place of activation sets, so it serves both scopes; in pointed
    scope the "gradient" is the product of secant slopes. Where rounding would be a good part of the bounds they are found
    again in multiple precision.

    Args:
        tighten: proves tighter bounds at a node, from which the pass goes on; None to go on as it is.

    Returns:
        For the Input, every Relu and every MaxPool: lower and upper, ``(batch, rows, *shape)``.
    """
    losses = gradient_rounding(analysis) if analysis.outward else None
    bounds = _swept(analysis, Float64Intervals(analysis, losses), tighten)
    if losses is None:
        return bounds
    lost, size = (analysis.placed.combine(part) for part in (losses[0], torch.maximum(*map(torch.abs, bounds[0]))))
    if not bool((lost > LOST * size).any()):
        return bounds
    sharper = _swept(analysis, DigitIntervals(analysis), tighten)
    return {
        i: (torch.maximum(low, sharper[i][0]), torch.minimum(high, sharper[i][1])) for i, (low, high) in bounds.items()
    }


def _swept(
    analysis: Analysis, intervals: Float64Intervals | DigitIntervals, tighten: Tighten | None
) -> dict[int, tuple[Tensor, Tensor]]:
    graph = analysis.graph
    bounds: dict[int, tuple[Tensor, Tensor]] = {}
    intervals.start()
    for index in range(len(graph.nodes) - 2, -1, -1):
        if index not in intervals.flowing:
            continue
        node = graph.nodes[index]
        if isinstance(node, Affine):
            intervals.through(index, node)
            continue
        low, high = intervals.ends(index)
        if tighten is not None:
            low, high = tighten(index, low, high)
        bounds[index] = low, high
        if isinstance(node, Relu):
            slopes = analysis.slopes[index]
            intervals.scaled(index, node, low, high, slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1))
        elif isinstance(node, MaxPool):
            share = analysis.shares[index]
            intervals.scaled(index, node, low, high, share.lower.unsqueeze(1), share.upper.unsqueeze(1))
    if 0 not in bounds:
        rows = analysis.placed.rows.to(graph.dtype)
        zero = rows.new_zeros(*rows.shape[:2], *graph.input_shape)
        bounds[0] = zero, zero
    return bounds
