"""The affine-ReLU bound: the product of layer norms, with the slopes that the region allows in place of ones."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds import Analysis, source_weights
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
from lipreg.estimators.products.spectral import layer_product
from lipreg.graph import Affine, Curved, MaxPool, Relu, ReluChain
from lipreg.graph.layers import flat
from lipreg.linalg.power import PowerIteration


@register("affine_relu")
class AffineRelu(BoundEstimator):
    r"""L <= |C A_K D_K|_{p} prod_{k<K} |diag(s_k) A_k D_k|_{p->p}.

    s_k are the upper slope bounds of the scope: in pointed scope relu(u) - relu(y) over u - y, in regional scope 1 for a
    unit that can be active and 0 otherwise. D_k drops the inputs that cannot move, and D_1 weighs them as the question does.
    C is the output functional. With ball pre-activation bounds alone, pointed scope and p = 2 this is the papers' own bound;
    tighter pre-activation bounds only lower it.

    Guarantee: an upper bound in exact arithmetic; batched; differentiable almost everywhere.

    Source: Avant & Morgansen 2020 (arXiv 2008.06141); 2023 (arXiv 2104.14672), Theorem 1 and section IV.
    """

    source = "Avant & Morgansen 2020, 2023"
    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    layered = True
    reads_masks_only = True
    few_passes = True

    def bound(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *_weights(analysis))[0]

    def factors(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *_weights(analysis))[1]

    def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        if step.problem.p == math.inf:
            return by_hand(step, _product)
        if step.problem.p == 2.0 and step.power is not None:  # an estimate from below
            return by_hand(step, partial(_spectral, power=step.power))
        return None


def _weights(analysis: Analysis) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The weights of the rows and columns of every map: slopes of its outputs, and weights of its inputs."""
    columns = dict(analysis.columns)
    rows = dict(analysis.upper_slopes)
    for i, node in analysis.graph.pools():
        rows[i] = source_weights(node, columns[i]).expand(analysis.placed.batch, *node.in_shape)
    return rows, columns


def _product(chain: ReluChain, masks: ChainMasks, rows: LabelRows) -> tuple[Tensor, Pull]:
    """max over rows of |C W_K D_K| times prod_k max over rows of |diag(s) W_k D_k|, for p = inf."""
    assert masks.row_sums is not None
    folded, entries = rows.table @ chain.weights[-1], flattened(masks.columns[-1])
    top, top_index = largest_row(folded.abs(), entries, rows)
    largest = [flat(s * r).max(1) for s, r in zip(masks.active, masks.row_sums, strict=True)]
    factors = [*(values for values, _ in largest), top]
    bounds = math.prod(factors[1:], start=factors[0])

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        gradients = [
            layer.rows(index, columns, share)
            for layer, columns, (_, index), share in zip(
                chain.layers[:-1], masks.columns, largest, shares, strict=False
            )
        ]
        row = folded.index_select(0, top_index).sign_().mul_(share.unsqueeze(1))
        return [*gradients, output_gradient(rows, top_index, row if entries is None else row.mul_(entries))]

    return bounds, pull


def _spectral(chain: ReluChain, masks: ChainMasks, rows: LabelRows, power: PowerIteration) -> tuple[Tensor, Pull]:
    """|C W_K D_K|_2 prod_k |diag(s) W_k D_k|_2, the norms by a step of power iteration."""
    folded, entries = rows.table @ chain.weights[-1], flattened(masks.columns[-1])
    entries = entries if entries is None or masks.active else entries.square()  # else they are 0 and 1
    squared, index = largest_row(folded.square(), entries, rows)
    top = squared.sqrt()
    sides, factors = [], []
    for k, (layer, s) in enumerate(zip(chain.layers[:-1], masks.active, strict=True)):
        weights = masks.columns[k]
        columns = s.new_ones(()).expand(1, *layer.in_shape) if weights is None else weights
        sigma, u, v = power.iterate(str(k), s, columns, layer.forward, layer.back)
        sides.append((u, v if k or weights is None else v * weights))
        factors.append(sigma)
    factors = [*factors, top]
    bounds = math.prod(factors[1:], start=factors[0])

    def pull(gradient: Tensor) -> list[Tensor]:
        *shares, share = _shares(gradient, bounds, factors)
        gradients = [
            layer.outer(share.reshape(-1, *(1,) * (u.dim() - 1)) * u, v)
            for layer, share, (u, v) in zip(chain.layers[:-1], shares, sides, strict=True)
        ]
        row = folded.index_select(0, index)
        row.mul_((share / top.clamp(min=torch.finfo(top.dtype).tiny)).unsqueeze(1))
        return [*gradients, output_gradient(rows, index, row if entries is None else row.mul_(entries))]

    return bounds, pull


def _shares(gradient: Tensor, product: Tensor, factors: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of every factor, ``(batch,)`` each.

    Where the product is 0 they all are 0, that of a factor 0 too: no unit of its layer is active, so no entry counts.
    """
    return ((gradient * product) / torch.stack(factors).clamp_(min=torch.finfo(product.dtype).tiny)).unbind()
