"""Entrywise bounds on the Jacobian over X from slope bounds: the interval Jacobian."""

from __future__ import annotations

import torch

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import C, DigitIntervals, Ends, Float64Intervals, Intervals, Tighten
from lipreg.bounds.rounding import gradient_rounding

LOST = 1e-6
"""Share of a bound that may be rounding before digits are taken."""


def interval_jacobian(analysis: Analysis, tighten: Tighten | None = None) -> dict[int, Ends]:
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
    bounds = _swept(Float64Intervals(analysis, tighten, losses))
    if losses is None:
        return bounds
    lost, size = (analysis.placed.combine(part) for part in (losses[0], torch.maximum(*map(torch.abs, bounds[0]))))
    if not bool((lost > LOST * size).any()):
        return bounds
    sharper = _swept(DigitIntervals(analysis, tighten))
    return {
        i: (torch.maximum(low, sharper[i][0]), torch.minimum(high, sharper[i][1])) for i, (low, high) in bounds.items()
    }


def _swept(rules: Intervals[C]) -> dict[int, Ends]:
    graph, rows = rules.analysis.graph, rules.analysis.placed.rows
    at_input = graph.backward(rules.start(), rules)
    if at_input is None:
        zero = torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=graph.dtype, device=graph.device)
        return {**rules.bounds, 0: (zero, zero)}
    rules.tightened(0, at_input)
    return rules.bounds
