"""The spectral product: a global bound from the layers' norms alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds import Analysis, output_gradients, pool_factor
from lipreg.estimators.base import BoundEstimator, register
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.linalg import LinearMap

MapNorm = Callable[[LinearMap, Tensor, Tensor], Tensor]
"""Map, weights of its rows, weights of its columns -> an upper bound on the norm of the weighted map, ``(batch,)``."""


@register("spectral")
class Spectral(BoundEstimator):
    r"""L <= prod_k |A_k|_{p->p}, the last map with the output functional folded in.

    Global, so valid for every region and both scopes; blind to where the reference point lies. On graphs with sums the
    factors of parallel branches add up. p = inf and 1 are one pass of |A|; p = 2 is an SVD of each layer.

    Source: Szegedy et al. 2014, section 4.3; Virmaux & Scaman 2018 (AutoLip).
    """

    source = "Szegedy et al. 2014; Virmaux & Scaman 2018 (AutoLip)"

    layered = True
    masked = True

    def bound(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis))[0].expand(analysis.placed.batch)

    def factors(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis))[1].expand(analysis.placed.batch, -1)


def ones(analysis: Analysis) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The weights of ``layer_product`` with which every map counts whole, for a batch of one."""
    columns = {i: reach.value.new_ones(1, *reach.value.shape[1:]) for i, reach in enumerate(analysis.reach)}
    nodes = enumerate(analysis.graph.nodes)
    return {i: columns[node.source] for i, node in nodes if isinstance(node, Relu | MaxPool)}, columns


def layer_product(
    analysis: Analysis, rows: dict[int, Tensor], columns: dict[int, Tensor], norm: MapNorm | None = None
) -> tuple[Tensor, Tensor]:
    """prod_k |diag(rows_k) A_k diag(columns_k)|_{p->p} through the graph, branches added.

    Args:
        rows: for each Relu or MaxPool node, weights of the outputs of its Affine, ``(batch, *shape)``.
        columns: for each Input, Relu and MaxPool node, weights of its entries as inputs of the next map.
        norm: in place of |.|_{p->p}, for every map but the last, and at least as large.

    Returns:
        The product ``(batch,)``, and the factor of every map ``(batch, maps)``, the output's last.
    """
    graph, placed = analysis.graph, analysis.placed
    p = placed.problem.p
    one = columns[0].new_ones(columns[0].shape[0])
    products: dict[int, Tensor] = {0: one}
    factors: list[Tensor] = []

    for index, node in enumerate(graph.nodes):
        if isinstance(node, Relu | MaxPool):
            affine = graph.nodes[node.source]
            assert isinstance(affine, Affine)
            pooled = pool_factor(node, p) if isinstance(node, MaxPool) else 1.0
            norms = []
            for term, (i, map) in enumerate(affine.terms()):
                weights = rows[index], columns[i]
                found = analysis.norms(node.source, term, p, *weights) if norm is None else norm(map, *weights)
                norms.append(pooled * found)
            paths = [norm * products[i] for norm, i in zip(norms, affine.sources, strict=True)]
            products[index] = sum(paths[1:], start=paths[0]) if paths else torch.zeros_like(one)
            factors += norms
    total = placed.rows.new_zeros(()).to(graph.dtype)
    for i, folded, loss in output_gradients(analysis):
        weights = columns[i].unsqueeze(1)
        found = placed.combine_flat((folded * weights).flatten(2))
        factors.append(found if loss is None else found + placed.combine_flat((loss * weights).flatten(2)))
        total = total + factors[-1] * products[i]
    listed = torch.stack(torch.broadcast_tensors(*factors), -1) if factors else one.unsqueeze(-1)[:, :0]
    return total, listed
