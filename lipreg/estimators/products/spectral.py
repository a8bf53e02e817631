"""The spectral product: a global bound from the layers' norms alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from lipreg.bounds import Analysis, output_gradients, pool_factor, rounding_share, source_weights
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.graph import Affine, Curved, Forward, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.problem import PlacedProblem

MapNorm = Callable[[LinearMap, Tensor, Tensor], Tensor]
"""Map, weights of its rows, weights of its columns -> an upper bound on the norm of the weighted map, ``(batch,)``."""


@register("spectral")
class Spectral(BoundEstimator):
    r"""L <= prod_k |A_k|_{p->p}, the last map with the output functional folded in.

    A curve counts as its Lipschitz constant. Global, so valid for every region and both scopes; blind to where the
    reference point lies. On graphs with sums the factors of parallel branches add up. p = inf and 1 are one pass of |A|;
    p = 2 is an SVD of each layer.

    Source: Szegedy et al. 2014, section 4.3; Virmaux & Scaman 2018 (AutoLip).
    """

    source = "Szegedy et al. 2014; Virmaux & Scaman 2018 (AutoLip)"

    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    layered = True
    reads_masks_only = True
    of_layers_alone = True

    def bound(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis))[0].expand(analysis.placed.batch)

    def factors(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis))[1].expand(analysis.placed.batch, -1)


def ones(analysis: Analysis) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The weights of ``layer_product`` for whole maps, with the question's weights of the inputs; a batch of one."""
    graph = analysis.graph
    like = graph.output.bias.new_ones(())
    columns = {i: like.expand(1, *node.shape) for i, node in enumerate(graph.nodes)}
    columns[0] = columns[0] if analysis.placed.problem.plain else analysis.placed.counts.to(like)
    rows = {i: columns[node.source] for i, node in graph.relus()} | {
        i: source_weights(node, like) for i, node in graph.pools()
    }
    return rows | {i: columns[node.source] * node.curve.steepest for i, node in graph.curves()}, columns


def layer_product(
    analysis: Analysis, rows: dict[int, Tensor], columns: dict[int, Tensor], norm: MapNorm | None = None
) -> tuple[Tensor, Tensor]:
    """prod_k |diag(rows_k) A_k diag(columns_k)|_{p->p} through the graph, branches added.

    It is a bound of the network in real arithmetic, with all its layers: to the norm of one that was multiplied out, that of
    what rounding lost is added.

    Args:
        analysis: the analysis, whose graph, norms and functional count.
        rows: for each Relu, MaxPool or Curved node, weights of the outputs of its Affine, ``(batch, *shape)``.
        columns: for each Input, Relu, MaxPool and Curved node, weights of its entries as inputs of the next map.
        norm: a norm in place of |.|_{p->p} for every map but the last, and at least as large; None for |.|_{p->p}.

    Returns:
        The product ``(batch,)``, and the factor of every map ``(batch, maps)``, the output's last.
    """
    graph = analysis.graph
    one = columns[0].new_ones(columns[0].shape[0])
    rules = _Product(analysis, rows, columns, norm)
    products = graph.forward({0: {0: one}}, rules)[len(graph.nodes) - 1]
    total, factors = columns[0].new_zeros(()).to(graph.dtype), rules.factors
    for i, factor in _output_factors(analysis, columns):
        factors.append(factor)
        total = total + factor * products[i]
    listed = torch.stack(torch.broadcast_tensors(*factors), -1) if factors else one.unsqueeze(-1)[:, :0]
    return total, listed


def _output_factors(analysis: Analysis, columns: dict[int, Tensor]) -> Iterator[tuple[int, Tensor]]:
    """For each term of the output its source, and the norm of its map with the functional folded in.

    Where every output counts by itself and these are many, it is the map's own norm, and no rows are written down.
    """
    graph, placed, (p, q) = analysis.graph, analysis.placed, (analysis.placed.problem.p, analysis.placed.problem.q)
    if placed.without_rows and (q in (None, math.inf) or p == q):
        for term, (i, map) in enumerate(graph.output.terms()):
            if p == q:
                ones = columns[i].new_ones(()).expand(1, *map.out_shape)
                yield i, analysis.norms(len(graph.nodes) - 1, term, p, ones, columns[i])
            else:
                yield i, _largest_row_norm(analysis, map, columns[i])
        return
    for i, folded, loss in output_gradients(analysis):
        weights = columns[i].unsqueeze(1)
        norms = _combined(placed, (folded * weights).flatten(2))
        yield i, norms if loss is None else norms + _combined(placed, (loss * weights).flatten(2))


def _combined(placed: PlacedProblem, matrices: Tensor) -> Tensor:
    """The norm of each point's matrix; once where all are the same, as with q = 1 it tries all signs of the rows."""
    if len(matrices) > 1 and not matrices.requires_grad and bool((matrices == matrices[:1]).all()):
        return placed.combine_flat(matrices[:1]).expand(len(matrices))
    return placed.combine_flat(matrices)


def _largest_row_norm(analysis: Analysis, map: LinearMap, columns: Tensor) -> Tensor:
    dual = analysis.placed.problem.dual
    norm = map.row_norms(dual, columns).flatten(1).amax(-1)
    if not (analysis.outward and map.rounded):
        return norm
    return norm + rounding_share(map) * map.sizes().row_norms(dual, columns).flatten(1).amax(-1)


class _Product(Forward[dict[int, Tensor]]):
    """The product up to each node, by its index; at an Affine, which is a factor of what reads it, up to its sources."""

    def __init__(
        self, analysis: Analysis, rows: dict[int, Tensor], columns: dict[int, Tensor], norm: MapNorm | None
    ) -> None:
        self.analysis, self.rows, self.columns, self.norm = analysis, rows, columns, norm
        self.p = analysis.placed.problem.p
        self.factors: list[Tensor] = []

    def affine(self, index: int, node: Affine, values: Mapping[int, dict[int, Tensor]]) -> dict[int, Tensor]:
        return {source: value[source] for source, value in values.items()}

    def relu(self, index: int, node: Relu, value: dict[int, Tensor]) -> dict[int, Tensor]:
        return {index: self._layer(index, node.source, value, 1.0)}

    def curved(self, index: int, node: Curved, value: dict[int, Tensor]) -> dict[int, Tensor]:
        return {index: self._layer(index, node.source, value, 1.0)}

    def max_pool(self, index: int, node: MaxPool, value: dict[int, Tensor]) -> dict[int, Tensor]:
        return {index: self._layer(index, node.source, value, pool_factor(node, self.p))}

    def _layer(self, index: int, source: int, products: dict[int, Tensor], pooled: float) -> Tensor:
        total = self.columns[0].new_zeros(len(self.columns[0]))
        for term, (i, map) in enumerate(self.analysis.graph.affine(source).terms()):
            weights = self.rows[index], self.columns[i]
            norms = self.analysis.norms
            if self.norm is None:
                norm = norms(source, term, self.p, *weights)
            else:
                norm = self.norm(map, *weights) + norms.rounding(map, self.p, *weights)
            self.factors.append(pooled * norm)
            total = total + self.factors[-1] * products[i]
        return total
