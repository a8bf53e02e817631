"""The absolute chain: magnitudes multiplied through all layers before any norm is taken."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis, absolute_chain, gains, output_gradients
from lipreg.bounds.chain import ChainMasks
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.closed_form import (
    LabelRows,
    PenaltyQuestion,
    Pull,
    by_hand,
    flattened,
    largest_row,
    output_gradient,
)
from lipreg.graph import Affine, Curved, MaxPool, Relu, ReluChain
from lipreg.linalg import vector_norm


@register("abs_chain")
class AbsChain(BoundEstimator):
    """L <= norm of |C A_K| S |A_{K-1}| ... S |A_1|, S the upper slope bounds of the scope.

    Never looser than the affine-ReLU bound for p = inf and 1 at about its cost (one backward pass with the functional's
    rows; for p = inf one forward pass of vectors, in which a window of a max pool is its largest member), because a norm of
    a product of non-negative matrices is at most the product of their norms. For p = 2 neither dominates: magnitudes lose
    the cancellation inside a layer that a spectral norm keeps.
    """

    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    reads_masks_only = True
    layer_norms = False
    by_rows = True
    source = "norm of the entrywise magnitudes of the chain rule"

    def bound(self, analysis: Analysis) -> Tensor:
        problem = analysis.placed.problem
        if problem.p == math.inf:  # without negative entries the largest image is that of the weights
            return vector_norm(_row_sums(analysis), math.inf if problem.q is None else problem.q)
        return analysis.placed.combine(absolute_chain(analysis))

    def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        return by_hand(step, _by_vectors) if step.problem.p == math.inf else None


def _row_sums(analysis: Analysis) -> Tensor:
    """The chain's row sums, ``(batch, rows)``: the matrices meet the vector of weights one after the other."""
    flowing = gains(analysis)
    rows = analysis.placed.rows.to(analysis.graph.dtype)
    sums = torch.zeros_like(rows[..., 0])
    for source, folded, loss in output_gradients(analysis):
        size = folded.abs() if loss is None else folded.abs() + loss
        sums = sums + (size * flowing[source].unsqueeze(1)).flatten(2).sum(-1)
    return sums


def _by_vectors(chain: ReluChain, masks: ChainMasks, rows: LabelRows) -> tuple[Tensor, Pull]:
    """max over rows of |C W_K| S |W_{K-1}| ... S |W_1| d: for p = inf a chain of vectors, not of matrices."""
    hidden = chain.layers[:-1]
    assert masks.row_sums is not None
    flowing = [masks.columns[0]]  # bounds on the changes of every layer's inputs; None for ones
    for k, (layer, active) in enumerate(zip(hidden, masks.active, strict=True)):
        before = flowing[-1]
        through = masks.row_sums[0] if k == 0 or before is None else layer.forward(before, absolute=True)
        flowing.append(active * through)
    folded, entries = rows.table @ chain.weights[-1], flattened(flowing[-1])
    top, index = largest_row(folded.abs(), entries, rows)

    def pull(gradient: Tensor) -> list[Tensor]:
        row, share = folded.index_select(0, index), gradient.unsqueeze(1)
        signed = row.sign().mul_(share)
        gradients = [output_gradient(rows, index, signed if entries is None else signed.mul_(entries))]
        back = row.abs_().mul_(share)
        for layer, active, before in list(zip(hidden, masks.active, flowing, strict=False))[::-1]:
            back = back.reshape(active.shape).mul_(active)
            inputs = layer.weight.new_ones(1, *layer.in_shape) if before is None else before
            gradients.append(layer.outer(back, inputs).mul_(layer.weight.sign()))
            if layer is not hidden[0]:
                back = layer.back(back, absolute=True)
        return gradients[::-1]

    return top, pull
