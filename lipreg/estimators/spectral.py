"""The spectral product: a global bound from the layers' norms alone."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis, pool_factor
from lipreg.estimators.base import BoundEstimator, register
from lipreg.graph import Affine, MaxPool, Relu


@register("spectral")
class Spectral(BoundEstimator):
    r"""L <= prod_k |A_k|_{p->p}, the last map with the output functional folded in.

    Global, so valid for every region and both scopes; blind to where the reference point lies. On graphs with sums the
    factors of parallel branches add up. p = inf and 1 are one pass of |A|; p = 2 is an SVD of each layer.

    Source: Szegedy et al. 2014, section 4.3; Virmaux & Scaman 2018 (AutoLip).
    """

    source = "Szegedy et al. 2014; Virmaux & Scaman 2018 (AutoLip)"

    def bound(self, analysis: Analysis) -> Tensor:
        columns = {i: reach.value.new_ones(1, *reach.value.shape[1:]) for i, reach in enumerate(analysis.reach)}
        rows = {
            i: columns[node.source] for i, node in enumerate(analysis.graph.nodes) if isinstance(node, Relu | MaxPool)
        }
        return layer_product(analysis, rows, columns).expand(analysis.placed.batch)


def layer_product(analysis: Analysis, rows: dict[int, Tensor], columns: dict[int, Tensor]) -> Tensor:
    """prod_k |diag(rows_k) A_k diag(columns_k)|_{p->p} through the graph, branches added; ``(batch,)``.

    Args:
        rows: for each Relu or MaxPool node, weights of the outputs of its Affine, ``(batch, *shape)``.
        columns: for each Input, Relu and MaxPool node, weights of its entries as inputs of the next map.
    """
    graph, placed = analysis.graph, analysis.placed
    p = placed.problem.p
    factors: dict[int, Tensor] = {0: columns[0].new_ones(columns[0].shape[0])}

    def through(index: int, weights: Tensor) -> Tensor:
        affine = graph.nodes[index]
        assert isinstance(affine, Affine)
        parts = [
            analysis.norms(index, term, p, weights, columns[i]) * factors[i] for term, i in enumerate(affine.sources)
        ]
        return torch.stack(parts).sum(0) if parts else weights.new_zeros(weights.shape[0])

    for index, node in enumerate(graph.nodes):
        if isinstance(node, Relu | MaxPool):
            factor = pool_factor(node, p) if isinstance(node, MaxPool) else 1.0
            factors[index] = factor * through(node.source, rows[index])
    total = placed.rows.new_zeros(()).to(graph.dtype)
    for i, map in graph.output.terms():
        folded = map.transpose(placed.rows.to(graph.dtype)) * columns[i].unsqueeze(1)
        total = total + placed.combine_flat(folded.flatten(2)) * factors[i]
    return total
