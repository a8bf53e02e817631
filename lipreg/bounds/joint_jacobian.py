"""The Jacobian of a difference of networks: intervals of what a pair of layers does together, carried backward.

Beside the gradients G, G' of a pair's outputs goes their sum S = G + G', which is small where the networks nearly agree: for
f - g it is W - W' at the last layer. With the slopes D and D' of the pair, and v = D G, v' = D' G',

    v + v' = S D + G' (D' - D) = S D' + G (D - D'),        v A + v' A' = (v + v') A - v' (A - A'),

so what flows to the layers before is small again, up to the units that can be switched apart (``joint_slopes``). G and G'
themselves are those of the interval Jacobian, and whatever it proves is intersected at every step.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import Ends, Float64Intervals, GradientBall
from lipreg.bounds.joint_slopes import slopes_apart
from lipreg.bounds.pairs import LayerPair, layer_pairs
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.linalg import LinearMap, add
from lipreg.linalg.floats import EPS, SPARE

Flow = GradientBall[Tensor]


def joint_jacobian(analysis: Analysis, bounds: dict[int, Ends]) -> Ends:
    """Bounds on the Jacobian's entries with pairs of layers taken together, inside of those of ``bounds``.

    Args:
        analysis: with pairs of layers.
        bounds: of the gradients at the Input, every Relu and every MaxPool that the output depends on, lower and upper,
            ``(batch, rows, *shape)``.

    Returns:
        Lower and upper, ``(batch, rows, *input_shape)``. Costs a backward pass.
    """
    return _JointPass(analysis, bounds).run()


class _SelfRounded(Float64Intervals):
    """Intervals within ``prior_bounds``, which are charged for rounding step by step: the chain of magnitudes of one network
    does not bound it, for differences of maps meet gradients of both."""

    def __init__(self, analysis: Analysis, prior_bounds: dict[int, Ends]) -> None:
        super().__init__(analysis, self._within, None)
        self.prior_bounds, self.unit = prior_bounds, EPS if analysis.outward else 0.0

    def back(self, map: LinearMap, value: Flow) -> Flow:
        share = self.unit * (map.lengths + SPARE)
        radius = map.abs().transpose(value.radius + share * value.center.abs()) * (1.0 + share)
        if map.rounded:
            radius = radius + share * map.sizes().transpose(value.center.abs() + value.radius)
        return GradientBall(map.transpose(value.center), radius)

    def ends(self, index: int, value: Flow) -> Ends:
        radius = value.radius + SPARE * self.unit * (value.center.abs() + value.radius)
        return value.center - radius, value.center + radius

    def _within(self, index: int, low: Tensor, high: Tensor) -> Ends:
        return _intersected((low, high), self.prior_bounds[index])


class _JointPass:
    """The backward pass; what flows to a pair flows to its first node."""

    def __init__(self, analysis: Analysis, bounds: dict[int, Ends]) -> None:
        self.analysis, self.graph, self.bounds = analysis, analysis.graph, bounds
        self.pairs, self.rules = layer_pairs(analysis), _SelfRounded(analysis, bounds)
        self.of = {i: pair.first for pair in self.pairs.values() for i in (pair.first, pair.second)}
        self.flowing: dict[int, Flow] = {}

    def run(self) -> Ends:
        rows = self.analysis.placed.rows.to(self.graph.dtype)
        output = rows.reshape(*rows.shape[:2], *self.graph.output.shape)
        self._through(self.graph.output, GradientBall(output, torch.zeros_like(output)))
        for index in range(len(self.graph.nodes) - 1, 0, -1):
            node = self.graph.nodes[index]
            if index not in self.flowing or isinstance(node, Affine):
                continue
            value = self.flowing.pop(index)
            if index in self.pairs:
                self._pair(self.pairs[index], value)
                continue
            if isinstance(node, MaxPool):
                value = self.rules.max_pool(index, node, value)
            elif isinstance(node, Relu):
                value = self.rules.relu(index, node, value)
            elif isinstance(node, Curved):
                value = self.rules.curved(index, node, value)
            self._through(self.graph.read_by(index), value)
        if 0 not in self.flowing:
            return self.bounds[0]
        return _intersected(self.rules.ends(0, self.flowing[0]), self.bounds[0])

    def _through(self, node: Affine, value: Flow) -> None:
        """What flows through one layer: both nodes of a pair that it reads are read at once."""
        merged: dict[int, LinearMap] = {}
        for source, map in node.terms():
            key = self.of.get(source, source)
            merged[key] = add(merged[key], map) if key in merged else map
        for key, map in merged.items():
            self._pour(key, self.rules.back(map, value))

    def _pair(self, pair: LayerPair, value: Flow) -> None:
        first, second = (self._gradients(i, value) for i in (pair.first, pair.second))
        total = _intersected(self.rules.ends(pair.first, value), _plus(first, second))
        slopes, others = (self._slopes(i) for i in (pair.first, pair.second))
        low, high = (end.unsqueeze(1) for end in slopes_apart(self.analysis, pair))
        products, other_products = _times(first, slopes), _times(second, others)
        both = _plus(products, other_products)
        for part in (
            _plus(_times(total, slopes), _times(second, (-high, -low))),
            _plus(_times(total, others), _times(first, (low, high))),
        ):
            both = _intersected(part, both)
        joint, apart = self._interval(both), self._interval(tuple(-end for end in reversed(other_products)))
        for term in pair.terms:
            self._pour(self.of.get(term.first, term.first), self.rules.back(term.map, joint))
            self._pour(self.of.get(term.first, term.first), self.rules.back(term.difference, apart))

    def _pour(self, key: int, value: Flow) -> None:
        self.flowing[key] = self.rules.join(self.flowing[key], value) if key in self.flowing else value

    def _gradients(self, index: int, like: Flow) -> Ends:
        zero = torch.zeros_like(like.center)
        return self.bounds.get(index, (zero, zero))

    def _slopes(self, index: int) -> Ends:
        slopes = self.analysis.slopes[index]
        return slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1)

    def _interval(self, ends: Iterable[Tensor]) -> Flow:
        low, high = ends
        rounding = SPARE * self.rules.unit * torch.maximum(low.abs(), high.abs())
        return GradientBall((low + high) / 2, (high - low) / 2 + rounding)


def _intersected(one: Ends, other: Ends) -> Ends:
    """Two intervals of one number; where rounding has them cross, the second."""
    low, high = torch.maximum(one[0], other[0]), torch.minimum(one[1], other[1])
    crossed = low > high
    return torch.where(crossed, other[0], low), torch.where(crossed, other[1], high)


def _plus(one: Ends, other: Ends) -> Ends:
    return one[0] + other[0], one[1] + other[1]


def _times(one: Ends, other: Ends) -> Ends:
    """The interval of products."""
    products = torch.stack([a * b for a in one for b in other])
    return products.amin(0), products.amax(0)
