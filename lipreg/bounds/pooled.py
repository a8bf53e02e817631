"""Gradients behind max pools for p = inf, where the members of a window share one gradient: exactly one passes it on.

The gradient that flows into a window, at most m in magnitude, goes on to the inputs through one member. Let v_i be the most
that a unit of gradient at entry i can become of a gradient's norm at the inputs, its sum of magnitudes: magnitudes of
weights times upper slopes from the inputs on, and of a window the largest of its members, not their sum. Then an undecided
window adds at most m max v_i. Entry by entry each member may have all of it, and a norm of entries adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.jacobian import CenterRadiusPass
from lipreg.bounds.rounding import gradient_rounding, output_gradients
from lipreg.graph import Affine, Forward, MaxPool, UnitsAlike
from lipreg.linalg import vector_norm


def gains(analysis: Analysis) -> dict[int, Tensor]:
    """v at every node before the output, ``(batch, *shape)``: magnitudes of maps and upper slopes times the inputs'
    weights."""
    last = len(analysis.graph.nodes) - 2
    return analysis.graph.forward({0: analysis.columns[0]}, _Gains(analysis), until=last)


class _Gains(UnitsAlike[Tensor], Forward[Tensor]):
    """Magnitudes of maps and upper slopes times the vector of the inputs' weights; of a window the largest."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def affine(self, index: int, node: Affine, values: Mapping[int, Tensor]) -> Tensor:
        sums = [map.abs()(values[source]) for source, map in node.terms()]
        return (
            reduce(torch.add, sums)
            if sums
            else torch.zeros_like(node.bias).expand(self.analysis.placed.batch, *node.shape)
        )

    def unit(self, index: int, value: Tensor) -> Tensor:
        return self.analysis.upper_slopes[index] * value

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        return (self.analysis.shares[index].upper * node.members(value)).amax(-1).reshape(-1, *node.shape)


def shared_row_sums(analysis: Analysis) -> Tensor:
    """Upper bounds on |c_k^T J|_1 of each row, columns times their weights, ``(batch, rows)``, for p = inf.

    The bounds are from intervals that end at undecided windows. Differentiable; costs a pass forward and one back.
    """
    rules = _Shared(analysis)
    start = ((source, (center, torch.zeros_like(center))) for source, center, _ in output_gradients(analysis))
    at_input = analysis.graph.backward(start, rules)
    placed, total = analysis.placed, rules.total
    if at_input is not None:
        center, radius = at_input
        total = total + placed.row_norms(center.abs() + radius)
    if analysis.outward:
        total = total + 2.0 * placed.row_norms(gradient_rounding(analysis)[0])
    return total


def row_bounds_within(analysis: Analysis, sizes: Tensor) -> Tensor:
    """Upper bounds on the norm of each row, ``(batch, rows)``, from those on the magnitudes of its entries.

    Behind max pools, for p = inf, each is the smaller of that and of ``shared_row_sums``.

    Args:
        analysis: whose Jacobian it is.
        sizes: upper bounds on the magnitudes of the Jacobian's entries, ``(batch, rows, *input_shape)``.
    """
    norms = analysis.placed.row_norms(sizes)
    shared = analysis.placed.problem.p == math.inf and analysis.graph.pools()
    return torch.minimum(norms, shared_row_sums(analysis)) if shared else norms


def within_shared(analysis: Analysis, sizes: Tensor) -> Tensor:
    """Upper bounds on the norm of the Jacobian ``(batch,)``, from magnitudes of its entries and ``row_bounds_within``."""
    q = analysis.placed.problem.q
    if q is None or q == math.inf:
        return row_bounds_within(analysis, sizes).amax(-1)
    whole = analysis.placed.combine(sizes)
    if analysis.placed.problem.p != math.inf or not analysis.graph.pools():
        return whole
    return torch.minimum(whole, vector_norm(row_bounds_within(analysis, sizes), q))


class _Shared(CenterRadiusPass):
    """Intervals as centers and radii; what an undecided window adds goes into ``total``, ``(batch, rows)``, and no further.

    Gradients add up: what is counted in ``total`` is left out of the intervals below, which bound the rest.
    """

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self.gains = gains(analysis)
        rows = analysis.placed.rows
        self.total = torch.zeros(rows.shape[:2], dtype=analysis.graph.dtype, device=analysis.graph.device)

    def max_pool(self, index: int, node: MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        share = self.analysis.shares[index]
        center, radius = value
        undecided = ((share.upper > share.lower).any(-1)).reshape(-1, 1, *node.shape)
        added = (center.abs() + radius) * undecided * self.gains[index].unsqueeze(1)
        self.total = self.total + added.flatten(2).sum(-1)
        passed = share.lower.unsqueeze(1)  # of a window that is decided, all to one member
        return (
            node.scatter(center.flatten(2).unsqueeze(-1) * passed),
            node.scatter(radius.flatten(2).unsqueeze(-1) * passed),
        )
