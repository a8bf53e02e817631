"""FastLip: an interval backward pass, then the norm of the larger magnitudes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds import Analysis, jacobian_sizes, row_bounds_within, within_shared
from lipreg.bounds.chain import ChainMasks
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.closed_form import LabelRows, PenaltyQuestion, Pull, by_hand, output_gradient
from lipreg.graph import Affine, Curved, MaxPool, Relu, ReluChain, node_size
from lipreg.graph.layers import Layer, flat
from lipreg.linalg import vector_norm

LAYER_NUMBERS = 2**18
"""Numbers of one layer in a pass with all rows: few enough for a processor's cache."""

GRAPH_NUMBERS = 2**21
"""The same for a graph, whose calls are to be few, and its memory small."""


@register("fastlip")
class FastLip(BoundEstimator):
    """L <= norm of max(|G_lo|, |G_hi|), [G_lo, G_hi] the interval Jacobian over the slope bounds of the scope.

    Stable units keep the signs of their contributions, which may cancel: never looser than the absolute chain. Behind max
    pools, for p = inf, the smaller of that and of intervals that end at undecided windows (see ``bounds/pooled.py``).

    Source: Weng et al. 2018 (Fast-Lip, section 3.4), with slope intervals so that both scopes are covered.
    """

    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    reads_masks_only = True
    layer_norms = False
    by_rows = True
    few_passes = True
    source = "Weng et al. 2018 (Fast-Lip)"

    def bound(self, analysis: Analysis) -> Tensor:
        if torch.is_grad_enabled() and analysis.placed.problem.q in (None, math.inf):
            analysis = _worst_rows(analysis)
        return within_shared(analysis, jacobian_sizes(analysis))

    def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        return by_hand(step, partial(_by_rows, dual=step.problem.dual), sure=True)


def _worst_rows(analysis: Analysis) -> Analysis:
    """The analysis of the row that is the largest at each point: the others have no gradient."""
    analysis.find()  # with gradient, where slopes have one
    placed, graph = analysis.placed, analysis.graph
    widest = max(map(node_size, graph.nodes))
    norms = []
    with torch.no_grad():
        for some in placed.rows.split(max(1, GRAPH_NUMBERS // (widest * placed.batch)), 1):
            part = analysis.for_question(replace(placed, coefficients=some))
            norms.append(row_bounds_within(part, jacobian_sizes(part)))
        worst = torch.cat(norms, 1).argmax(1)
        index = worst.reshape(-1, 1, 1).expand(-1, 1, placed.rows.shape[2])
    return analysis.for_question(replace(placed, coefficients=placed.rows.gather(1, index)))


def _by_rows(chain: ReluChain, masks: ChainMasks, rows: LabelRows, dual: float) -> tuple[Tensor, Pull]:
    """max over rows of the norm of |c| + r, with [c - r, c + r] the interval Jacobian of a row.

    All rows are carried back for their norms alone; the largest at each point, once more for its gradient.
    """
    folded = rows.table @ chain.weights[-1]
    apart, points = folded.unflatten(0, (-1, rows.count)), len(rows.labels)
    step = max(1, LAYER_NUMBERS // (max(math.prod(layer.in_shape) for layer in chain.layers) * rows.count))
    parts = [slice(i, i + step) for i in range(0, points, step)] if points > step else [slice(None)]
    norms = [_Intervals(chain, masks, dual, i).norms(apart.index_select(0, rows.labels[i])) for i in parts]
    bounds, worst = torch.cat(norms).max(1)
    index = torch.add(worst, rows.labels, alpha=rows.count)

    def pull(gradient: Tensor) -> list[Tensor]:
        gradients, row = _Intervals(chain, masks, dual, slice(None)).pull(folded.index_select(0, index), gradient)
        return [*gradients, output_gradient(rows, index, row)]

    return bounds, pull


class _Intervals:
    """Rows of some of the points, carried back through the layers of a chain as intervals [c - r, c + r].

    Active units keep an interval, inactive ones make it 0, and unstable ones [min(c - r, 0), max(c + r, 0)]: the end that
    points away from 0 stays and the other one moves to 0. In l1 the radius of the inputs is never formed: its sum is
    r |W_1| 1.
    """

    def __init__(self, chain: ReluChain, masks: ChainMasks, dual: float, some: slice) -> None:
        assert masks.sure is not None
        self.hidden, self.dual = chain.layers[:-1], dual
        self.active = [active[some] for active in masks.active]
        self.sure = [sure[some] for sure in masks.sure]
        self.columns = None if masks.columns[0] is None else masks.columns[0][some]
        self.sums = None
        if dual == 1.0 and masks.row_sums:
            sums = flat(masks.row_sums[0])
            self.sums = sums if len(sums) == 1 else sums[some]

    def norms(self, rows: Tensor) -> Tensor:
        """The norms of rows ``(points, rows, n)`` carried back to the inputs, ``(points, rows)``."""
        count, center, radius = rows.shape[1], rows.flatten(0, 1), None
        for layer, active, sure in self._back():
            active, half = active.unsqueeze(1), (active - sure).unsqueeze_(1).mul_(0.5)
            center = center.reshape(-1, count, *layer.out_shape)
            if radius is None:
                beyond = center * half
                center, radius = torch.sub(center, beyond).mul_(active), beyond.abs_()
            else:
                radius = radius.reshape(center.shape)
                beyond = torch.sub(center, torch.clamp(center, -radius, radius)).mul_(half)
                center, radius = center.sub_(beyond).mul_(active), radius.add_(beyond.abs_()).mul_(active)
            center, radius = center.flatten(0, 1), radius.flatten(0, 1)
            if layer is self.hidden[0] and self.sums is not None:
                radius = _inner(flat(radius), self.sums, count)
            else:
                radius = layer.back(radius, absolute=True)
            center = layer.back(center)
        size = center.abs_() if self.hidden else center.abs()
        if self.sums is None and radius is not None:
            size = size.add_(radius)
        size = flat(size).unflatten(0, (-1, count))
        size = size if self.columns is None else size.mul_(flat(self.columns).unsqueeze(1))
        norms = size.sum(2) if self.dual == 1.0 else vector_norm(size, self.dual)
        return norms if self.sums is None or radius is None else norms.add_(radius)

    def pull(self, row: Tensor, share: Tensor) -> tuple[list[Tensor], Tensor]:
        """The gradient of sum_i share_i norm_i for one row of each point.

        Both ends are multiplied by a slope of their own, which makes center and radius a c + b r and a r + b c: for their
        gradients the same.

        Args:
            row: one row of each point, ``(points, n)``.
            share: ``(points,)``.

        Returns:
            Gradients of the weights of all layers but the last, and that of ``row``.
        """
        center, radius = row, torch.zeros_like(row)
        passed = []
        for layer, active, sure in self._back():
            center, radius = center.reshape(active.shape), radius.reshape(active.shape)
            unstable = active - sure
            low = torch.addcmul(sure, unstable, (center < radius).to(unstable))
            high = torch.addcmul(sure, unstable, (center > -radius).to(unstable))
            same, other = (high + low).mul_(0.5), (high - low).mul_(0.5)
            center, radius = _mixed(same, other, center, radius)
            passed.append((layer, same, other, center, radius))
            center = layer.back(center)
            if layer is not self.hidden[0] or self.sums is None:
                radius = layer.back(radius, absolute=True)
        size = flat(center.abs())
        if self.sums is None:
            size = size.add_(flat(radius))
        size = size if self.columns is None else size.mul_(flat(self.columns))
        by_entry = _norm_gradient(size, self.dual).mul_(share.unsqueeze(1))
        by_entry = by_entry if self.columns is None else by_entry.mul_(flat(self.columns))
        at_radius = by_entry.reshape(center.shape)
        at_center = at_radius * center.sign()
        gradients = []
        for layer, same, other, center, radius in passed[::-1]:
            gradient = layer.outer(center, at_center)
            if layer is self.hidden[0] and self.sums is not None:
                inputs = gradient.new_ones(1, *layer.in_shape) if self.columns is None else self.columns
                shared = radius * share.reshape(-1, *(1,) * (radius.dim() - 1))
                gradient.add_(layer.outer(shared, inputs).mul_(layer.weight.sign()))
                radii = (share.unsqueeze(1) * self.sums).reshape(radius.shape)
            else:
                gradient.add_(layer.outer(radius, at_radius).mul_(layer.weight.sign()))
                radii = layer.forward(at_radius, absolute=True)
            gradients.append(gradient)
            at_center, at_radius = _mixed(same, other, layer.forward(at_center), radii)
        return gradients, flat(at_center)

    def _back(self) -> list[tuple[Layer, Tensor, Tensor]]:
        return list(zip(self.hidden, self.active, self.sure, strict=True))[::-1]


def _mixed(same: Tensor, other: Tensor, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    return torch.addcmul(same * one, other, two), torch.addcmul(same * two, other, one)


def _inner(of_rows: Tensor, of_points: Tensor, count: int) -> Tensor:
    """Products of the rows of each point with its own vector, or the one of all points, ``(points, rows)``."""
    if len(of_points) == 1:
        return (of_rows @ of_points[0]).unflatten(0, (-1, count))
    return (of_rows.unflatten(0, (-1, count)) @ of_points.unsqueeze(2)).squeeze(2)


def _norm_gradient(size: Tensor, dual: float) -> Tensor:
    """The gradient of the norm of non-negative rows ``(points, n)``."""
    if dual == 1.0:
        return torch.ones_like(size)
    if dual == 2.0:
        return size / size.square().sum(1, keepdim=True).sqrt_().clamp_(min=torch.finfo(size.dtype).tiny)
    return torch.zeros_like(size).scatter_(1, size.argmax(1, keepdim=True), 1.0)
