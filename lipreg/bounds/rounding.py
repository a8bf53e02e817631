"""The chain of magnitudes, and how far rounding may put off products of layers, however they are multiplied out.

However a product of matrices and slopes in [0, s] is bracketed, each entry of the float64 result is off by at most

    N u (|c| |A_K| S |A_{K-1}| S ... )  (entry by entry),      N the lengths of all sums on the way,

the same chain of magnitudes (Higham 2002, section 3.5). That holds for every choice of slopes, so a bound on the norm of
computed Jacobians under all slopes, plus the norm of this chain, bounds the norm of the true ones. It is far below them
unless weights cancel by many orders, or layers are very many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.induced import rounding_share
from lipreg.graph import Affine, Backward, Curved, Graph, MaxPool, Relu, magnitudes
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS, SPARE, TINY

FLOOR = 1e-150
"""More than what underflow, of products or of squares, can take from a norm of the Jacobian: a sum loses less than 1e-300,
and layers in a row, as far as ``check_magnitudes`` lets them, do not make more than 1e-150 of it."""


def lengths(graph: Graph) -> int:
    """N: the lengths of the sums of all layers, forward and backward."""
    return sum(SPARE + node.lengths for _, node in graph.affines())


def output_gradients(analysis: Analysis) -> list[tuple[int, Tensor, Tensor | None]]:
    """c A_K for each term of the output: its source, the rows ``(batch, rows, *shape)``, and a bound on their rounding.

    Rows of the functional are differences, so large weights may cancel here. The bound is None where rounding is left out.
    """
    rows = analysis.placed.rows.to(analysis.graph.dtype)
    gradients = []
    for source, map in analysis.graph.output.terms():
        loss = rounding_share(map) * map.sizes().transpose(rows.abs()) if analysis.outward else None
        gradients.append((source, map.transpose(rows), loss))
    return gradients


def carried(
    analysis: Analysis,
    start: Iterable[tuple[int, Tensor]],
    change: Callable[[LinearMap], LinearMap],
    scale: Callable[[Tensor], Tensor],
) -> dict[int, Tensor]:
    """Rows carried back through changed maps and upper slopes.

    Args:
        analysis: whose maps and slopes these are.
        start: the rows at each source of the output, ``(batch, rows, *shape)``.
        change: the map in whose place a map is taken.
        scale: the factors in whose place upper slopes are taken.

    Returns:
        The rows at the Input, every Relu, MaxPool and Curved that they reach, ``(batch, rows, *shape)``.
    """
    graph, rows = analysis.graph, analysis.placed.rows
    rules = _Carried(analysis, change, scale)
    at_input = graph.backward(start, rules)
    if at_input is None:
        at_input = torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=graph.dtype, device=graph.device)
    return {0: at_input, **rules.gradients}


class _Carried(Backward[Tensor]):
    def __init__(
        self, analysis: Analysis, change: Callable[[LinearMap], LinearMap], scale: Callable[[Tensor], Tensor]
    ) -> None:
        self.analysis, self.change, self.scale = analysis, change, scale
        self.gradients: dict[int, Tensor] = {}

    def back(self, map: LinearMap, value: Tensor) -> Tensor:
        return self.change(map).transpose(value)

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        self.gradients[index] = value
        return value * self.scale(self.analysis.upper_slopes[index]).unsqueeze(1)

    def curved(self, index: int, node: Curved, value: Tensor) -> Tensor:
        self.gradients[index] = value
        return value * self.scale(self.analysis.upper_slopes[index]).unsqueeze(1)

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        self.gradients[index] = value
        weights = self.scale(self.analysis.shares[index].upper).unsqueeze(1)
        return node.scatter(value.flatten(2).unsqueeze(-1) * weights)


def absolute_chain(analysis: Analysis) -> Tensor:
    """|c J| <= |c A_K| S_hi |A_{K-1}| ... S_hi |A_1| entry by entry; ``(batch, rows, *input_shape)``."""
    sizes = (
        (source, folded.abs() if loss is None else folded.abs() + loss)
        for source, folded, loss in output_gradients(analysis)
    )
    return carried(analysis, sizes, LinearMap.abs, lambda slopes: slopes)[0]


def gradient_rounding(analysis: Analysis) -> dict[int, Tensor]:
    """Bounds on the rounding of the gradients at the Input, every Relu, MaxPool and Curved, ``(batch, rows, *shape)``."""
    return analysis.memoised(_gradient_rounding)


def form_rounding(analysis: Analysis) -> dict[int, Tensor]:
    """Bounds on the rounding of every Affine node as an affine form over d and the outputs of unstable units.

    They hold for forms multiplied out through units of any phases, at any point of X, ``(batch, *shape)``.
    """
    return analysis.memoised(_form_rounding)


def norm_rounding(analysis: Analysis) -> Tensor:
    """Bounds on the rounding of the norm of the Jacobian, ``(batch,)``."""
    return analysis.placed.combine(gradient_rounding(analysis)[0]) + underflow(analysis).amax(1)


def underflow(analysis: Analysis) -> Tensor:
    """Bounds on underflow in the gradients of each row, ``(batch, rows)``: ``FLOOR``, and 0 where no path reaches an input.

    Where there are so many outputs that nothing is computed for each, they are ``(batch, 1)``.
    """
    return analysis.memoised(_underflow)


def _underflow(analysis: Analysis) -> Tensor:
    if analysis.placed.without_rows:
        return torch.full((analysis.placed.batch, 1), FLOOR, dtype=torch.float64)
    return FLOOR * _has_path(analysis).to(torch.float64)


def _gradient_rounding(analysis: Analysis) -> dict[int, Tensor]:
    rows = analysis.placed.rows.to(analysis.graph.dtype).abs()
    count = rows.shape[1]
    if bool((rows == rows[:, :1]).all()):  # as of all signed sums of the outputs
        rows = rows[:, :1]
    start = ((source, map.sizes().transpose(rows)) for source, map in analysis.graph.output.terms())
    chains = carried(analysis, start, LinearMap.sizes, lambda slopes: slopes)
    share = lengths(analysis.graph) * EPS
    return {index: (share * gradient).expand(-1, count, *gradient.shape[2:]) for index, gradient in chains.items()}


def _has_path(analysis: Analysis) -> Tensor:
    """Whether a path of weights and slopes other than 0 leads from each row to an input that can move, ``(batch, rows)``."""
    reached = analysis.placed.row_norms(gradient_rounding(analysis)[0]) > 0
    if bool(reached.all()):
        return reached
    # or all that came of it were underflows
    rows = (analysis.placed.rows != 0).to(analysis.graph.dtype)
    start = ((source, _paths(map).transpose(rows)) for source, map in analysis.graph.output.terms())
    ones = carried(analysis, start, _paths, _ones)
    return analysis.placed.row_norms(ones[0]) > 0


def _paths(map: LinearMap) -> LinearMap:
    return map.exact_form.with_entries(_ones)


def _ones(x: Tensor) -> Tensor:
    return (x != 0).to(x)


def _form_rounding(analysis: Analysis) -> dict[int, Tensor]:
    graph, region = analysis.graph, analysis.placed.region

    def constant_size(index: int, node: Affine) -> Tensor:
        anchored = analysis.anchors[index]
        size = anchored.constant.abs() + TINY / EPS
        # the constant's error is carried on like roundings of this size
        return size if anchored.off is None else size + anchored.off / EPS

    down, up = region.displacement_ends
    sizes = magnitudes(graph, torch.maximum(-down, up).reshape(region.center.shape), constant_size)
    losses, length = {}, 0
    for index, node in graph.affines():
        length += SPARE + node.lengths
        losses[index] = length * (EPS * sizes[index] + TINY)
    return losses
