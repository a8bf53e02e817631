"""The affine-ReLU bound: the product of layer norms, with the slopes that the region allows in place of ones."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.estimators.base import BoundEstimator, register
from lipreg.estimators.spectral import layer_product


@register("affine_relu")
class AffineRelu(BoundEstimator):
    r"""L <= |C A_K D_K|_{p} prod_{k<K} |diag(s_k) A_k D_k|_{p->p}.

    s_k are the upper slope bounds of the scope: in pointed scope relu(u) - relu(y) over u - y, in regional scope 1 for a
    unit that can be active and 0 otherwise. D_k drops the inputs that cannot move. C is the output functional. With ball
    pre-activation bounds alone, pointed scope and p = 2 this is the papers' own bound; tighter pre-activation bounds
    only lower it.

    Guarantee: an upper bound in exact arithmetic; batched; differentiable almost everywhere.

    Source: Avant & Morgansen 2020 (arXiv 2008.06141); 2023 (arXiv 2104.14672), Theorem 1 and section IV.
    """

    source = "Avant & Morgansen 2020, 2023"

    layered = True
    masked = True

    def bound(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *_weights(analysis))[0]

    def factors(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *_weights(analysis))[1]


def _weights(analysis: Analysis) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Slopes of the outputs and motion of the inputs of every map, as weights of its rows and columns."""
    columns = {i: reach.moves.to(reach.value.dtype) for i, reach in enumerate(analysis.reach)}
    rows = {i: slopes.upper for i, slopes in analysis.slopes.items()}
    for i, node in analysis.graph.pools():
        rows[i] = torch.ones_like(analysis.reach[node.source].value)
    return rows, columns
