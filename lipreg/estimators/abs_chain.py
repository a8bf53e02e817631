"""The absolute chain: magnitudes multiplied through all layers before any norm is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lipreg.bounds import Analysis, absolute_chain, output_gradients
from lipreg.estimators.base import BoundEstimator, register
from lipreg.graph import Affine, Forward, MaxPool, Relu


@register("abs_chain")
class AbsChain(BoundEstimator):
    """L <= norm of |C A_K| S |A_{K-1}| ... S |A_1|, S the upper slope bounds of the scope.

    Never looser than the affine-ReLU bound for p = inf and 1 at about its cost (one backward pass with the functional's
    rows; for p = inf and separate rows one forward pass of vectors), because a norm of a product of non-negative matrices
    is at most the product of their norms. For p = 2 neither dominates: magnitudes lose the cancellation inside a layer
    that a spectral norm keeps.
    """

    masked = True
    source = "norm of the entrywise magnitudes of the chain rule"

    def bound(self, analysis: Analysis) -> Tensor:
        problem = analysis.placed.problem
        rows_apart = problem.q is None or problem.q == math.inf
        if problem.p == math.inf and rows_apart:
            return _largest_row_sum(analysis)
        return analysis.placed.combine(absolute_chain(analysis))


def _largest_row_sum(analysis: Analysis) -> Tensor:
    """The chain's largest row sum, ``(batch,)``: the matrices meet the vector of moving inputs one after the other."""
    graph = analysis.graph
    flowing = graph.forward({0: analysis.placed.region.moves.to(graph.dtype)}, _RowSums(analysis))
    rows = analysis.placed.rows.to(graph.dtype)
    sums = torch.zeros_like(rows[..., 0])
    for source, folded, loss in output_gradients(analysis):
        size = folded.abs() if loss is None else folded.abs() + loss
        sums = sums + (size * flowing[source].unsqueeze(1)).flatten(2).sum(-1)
    return sums.amax(-1)


class _RowSums(Forward[Tensor]):
    """Magnitudes of maps and upper slopes times the vector of moving inputs."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def affine(self, index: int, node: Affine, values: Mapping[int, Tensor]) -> Tensor:
        zero = torch.zeros_like(self.analysis.reach[index].value)
        return sum((map.abs()(values[source]) for source, map in node.terms()), start=zero)

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        return self.analysis.slopes[index].upper * value

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        return (self.analysis.shares[index].upper * node.members(value)).sum(-1).reshape(-1, *node.shape)
