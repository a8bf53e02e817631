"""Entrywise bounds on the Jacobian over X from slope bounds: the interval Jacobian, by ends or around its centers."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import C, DigitIntervals, Ends, Float64Intervals, Intervals, Tighten, between, times
from lipreg.bounds.joint_jacobian import joint_jacobian
from lipreg.bounds.pairs import layer_pairs
from lipreg.bounds.pooling import sorting
from lipreg.bounds.rounding import gradient_rounding, output_gradients
from lipreg.graph import Backward, Curved, MaxPool, Relu
from lipreg.graph.accurate import DEARER, has_time
from lipreg.linalg import LinearMap

LOST = 1e-6
"""Share of a bound that may be rounding before digits are taken."""
NO_DIGITS = "There was no time for more digits of the gradients, of whose bounds rounding is a good part"


def interval_jacobian(analysis: Analysis, tighten: Tighten | None = None) -> dict[int, Ends]:
    """Interval backward pass: bounds on the gradient of every row with respect to every node but the Affine ones.

    Weng et al. 2018 (FastLip) with slope intervals in place of activation sets, so it serves both scopes; in pointed
    scope the "gradient" is the product of secant slopes. Where rounding would be a good part of the bounds they are
    computed again in multiple precision, while there is time. At the inputs layers in pairs, of two networks that nearly
    agree, are taken together.

    Args:
        analysis: live or frozen; rounding is bounded where it is ``outward``.
        tighten: proves tighter bounds at a node, from which the pass goes on; None to go on as it is.

    Returns:
        For the Input, every Relu, MaxPool and Curved: lower and upper, ``(batch, rows, *shape)``.
    """
    return timed_interval_jacobian(analysis, tighten)[0]


def timed_interval_jacobian(analysis: Analysis, tighten: Tighten | None = None) -> tuple[dict[int, Ends], str]:
    """``interval_jacobian``, and what there was no time for in the budget of the analysis, in words."""
    bounds, left_out = _one_by_one(analysis, tighten)
    return ({**bounds, 0: joint_jacobian(analysis, bounds)} if layer_pairs(analysis) else bounds), left_out


def _one_by_one(analysis: Analysis, tighten: Tighten | None) -> tuple[dict[int, Ends], str]:
    losses = gradient_rounding(analysis) if analysis.outward else None
    budget, _ = analysis.budget, analysis.slopes  # computed before, and not in the time of the pass
    tightening = 0.0

    def timed(index: int, low: Tensor, high: Tensor) -> Ends:
        nonlocal tightening
        assert tighten is not None
        began = budget.clock()
        ends = tighten(index, low, high)
        tightening += budget.clock() - began
        return ends

    began = budget.clock()
    bounds = _swept(Float64Intervals(analysis, tighten and timed, losses))
    if losses is None:
        return bounds, ""
    # with digits the pass itself is dearer, and what tightens its bounds is as dear as before
    seconds = DEARER * (budget.clock() - began - tightening) + tightening
    lost, size = (analysis.placed.combine(part) for part in (losses[0], torch.maximum(*map(torch.abs, bounds[0]))))
    if not bool((lost > LOST * size).any()):
        return bounds, ""
    if not has_time(budget, seconds):
        return bounds, NO_DIGITS
    sharper = _swept(DigitIntervals(analysis, tighten))
    both = {
        i: (torch.maximum(low, sharper[i][0]), torch.minimum(high, sharper[i][1])) for i, (low, high) in bounds.items()
    }
    return both, ""


def _swept(rules: Intervals[C]) -> dict[int, Ends]:
    graph, rows = rules.analysis.graph, rules.analysis.placed.rows
    at_input = graph.backward(rules.start(), rules)
    if at_input is None:
        zero = torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=graph.dtype, device=graph.device)
        return {**rules.bounds, 0: (zero, zero)}
    rules.tightened(0, at_input)
    return rules.bounds


def jacobian_sizes(analysis: Analysis) -> Tensor:
    """max(|G_lo|, |G_hi|) for the interval Jacobian at the inputs, ``(batch, rows, *input_shape)``.

    Where rounding is left out these are computed as center and radius, at half the cost of the ends at every node.
    """
    if analysis.outward or layer_pairs(analysis):
        low, high = interval_jacobian(analysis)[0]
        return torch.maximum(low.abs(), high.abs())
    start = ((source, (center, torch.zeros_like(center))) for source, center, _ in output_gradients(analysis))
    at_input = analysis.graph.backward(start, CenterRadiusPass(analysis))
    if at_input is None:
        rows, graph = analysis.placed.rows, analysis.graph
        return torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=graph.dtype, device=graph.device)
    center, radius = at_input
    return center.abs() + radius


class CenterRadiusPass(Backward[tuple[Tensor, Tensor]]):
    """The interval Jacobian as center and radius, where rounding is left out and no node's bounds are read.

    For a slope in [m - h, m + h], m - h >= 0, an end e of [c - r, c + r] goes outward to m e + h |e| above and m e - h |e|
    below, which makes the center m c + h clamp(c, -r, r) and the radius m r + h max(|c|, r). Slopes
    of curves may be below 0: there products of ends are compared.

    Args:
        analysis: whose slopes and shares these are.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def back(self, map: LinearMap, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        center, radius = value
        return map.transpose(center), map.abs().transpose(radius)

    def join(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return one[0] + other[0], one[1] + other[1]

    def relu(self, index: int, node: Relu, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        slopes = self.analysis.slopes[index]
        return _scaled(*value, slopes.lower, slopes.upper)

    def curved(self, index: int, node: Curved, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        slopes, (center, radius) = self.analysis.slopes[index], value
        if not bool((slopes.lower < 0).any()):
            return _scaled(*value, slopes.lower, slopes.upper)
        low, high = times(
            center - radius, center + radius, slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1), signed=True
        )
        return (low + high) / 2, (high - low) / 2

    def max_pool(self, index: int, node: MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        share = self.analysis.shares[index]
        order = sorting(node, share)
        center, radius = (part.flatten(2).unsqueeze(-1) for part in value)
        if order is None:
            center, radius = _scaled(center, radius, share.lower, share.upper)
            return node.scatter(center), node.scatter(radius)
        passed = map(node.scatter, _scaled(center, radius, share.lower * order.alone, share.upper * order.alone))
        low, high = center - radius, center + radius
        ends = order.larger(low), order.larger(high), -order.smaller(high), -order.smaller(low)
        low, high = between(ends, order.least.unsqueeze(1), order.most.unsqueeze(1))
        mixed = order.scatter((low + high) / 2), order.scatter((high - low) / 2)
        return self.join((next(passed), next(passed)), mixed)


def _scaled(center: Tensor, radius: Tensor, least: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    middle, half = ((most + least) / 2).unsqueeze(1), ((most - least) / 2).unsqueeze(1)
    inside = torch.minimum(torch.maximum(center, -radius), radius)
    return middle * center + half * inside, middle * radius + half * torch.maximum(center.abs(), radius)
