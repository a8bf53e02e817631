"""The chain of magnitudes, and what rounding may do to products of layers, however they are multiplied out.

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
from lipreg.graph import Affine, Graph, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS, SPARE, TINY

FLOOR = 1e-150
"""More than what underflow, of products or of squares, can take from a norm of the Jacobian: a sum loses less than 1e-300,
and layers in a row, as far as ``check_magnitudes`` lets them, do not make more than 1e-150 of it."""


def lengths(graph: Graph) -> int:
    """N: the lengths of the sums of all layers, forward and backward."""
    nodes = [node for node in graph.nodes if isinstance(node, Affine)]
    return sum(SPARE + sum(map.roundings for map in node.maps) for node in nodes)


def output_gradients(analysis: Analysis) -> list[tuple[int, Tensor, Tensor | None]]:
    """c A_K for each term of the output: its source, the rows ``(batch, rows, *shape)``, and what rounding may have done.

    Rows of the functional are differences, so large weights may cancel here. None where rounding is left out.
    """
    rows = analysis.placed.rows.to(analysis.graph.dtype)
    found = []
    for source, map in analysis.graph.output.terms():
        share = (map.roundings + SPARE) * EPS
        loss = share * map.abs().transpose(rows.abs()) if analysis.outward else None
        found.append((source, map.transpose(rows), loss))
    return found


def carried(
    analysis: Analysis,
    start: Iterable[tuple[int, Tensor]],
    change: Callable[[LinearMap], LinearMap],
    scale: Callable[[Tensor], Tensor],
) -> dict[int, Tensor]:
    """Rows carried back by changed maps and upper slopes: at the Input, every Relu and every MaxPool.

    Args:
        start: what flows into each source of the output, ``(batch, rows, *shape)``.
    """
    graph, rows = analysis.graph, analysis.placed.rows
    flowing: dict[int, Tensor] = {}
    found: dict[int, Tensor] = {}

    def pour(index: int, part: Tensor) -> None:
        flowing[index] = flowing[index] + part if index in flowing else part

    for source, part in start:
        pour(source, part)
    for index in range(len(graph.nodes) - 2, 0, -1):
        node = graph.nodes[index]
        if index not in flowing:
            continue
        gradient = flowing.pop(index)
        if isinstance(node, Affine):
            for source, map in node.terms():
                pour(source, change(map).transpose(gradient))
            continue
        found[index] = gradient
        if isinstance(node, Relu):
            pour(node.source, gradient * scale(analysis.slopes[index].upper).unsqueeze(1))
        elif isinstance(node, MaxPool):
            weights = scale(analysis.shares[index].upper).unsqueeze(1)
            pour(node.source, node.scatter(gradient.flatten(2).unsqueeze(-1) * weights))
    zero = torch.zeros(*rows.shape[:2], *graph.input_shape, dtype=graph.dtype, device=graph.device)
    found[0] = flowing.get(0, zero)
    return found


def absolute_chain(analysis: Analysis) -> Tensor:
    """|c J| <= |c A_K| S_hi |A_{K-1}| ... S_hi |A_1| entry by entry; ``(batch, rows, *input_shape)``."""
    sizes = (
        (source, folded.abs() if loss is None else folded.abs() + loss)
        for source, folded, loss in output_gradients(analysis)
    )
    return carried(analysis, sizes, LinearMap.abs, lambda slopes: slopes)[0]


def gradient_rounding(analysis: Analysis) -> dict[int, Tensor]:
    """What rounding may do to the gradients at the Input and every Relu and MaxPool, ``(batch, rows, *shape)``."""
    return analysis.derived("gradient rounding", lambda: _gradient_rounding(analysis))


def form_rounding(analysis: Analysis) -> dict[int, Tensor]:
    """For every Affine node: what rounding may do to it as an affine form over d and the outputs of unstable units.

    Of forms multiplied out through units of any phases, at any point of X, ``(batch, *shape)``.
    """
    return analysis.derived("form rounding", lambda: _form_rounding(analysis))


def norm_rounding(analysis: Analysis) -> Tensor:
    """What rounding may do to the norm of the Jacobian, ``(batch,)``."""
    return analysis.placed.combine(gradient_rounding(analysis)[0]) + underflow(analysis).amax(1)


def underflow(analysis: Analysis) -> Tensor:
    """What underflow may do to the gradients of each row, ``(batch, rows)``: FLOOR, and 0 where no path reaches an input."""
    return analysis.derived("underflow", lambda: FLOOR * _reaches(analysis).to(torch.float64))


def _gradient_rounding(analysis: Analysis) -> dict[int, Tensor]:
    rows = analysis.placed.rows.to(analysis.graph.dtype).abs()
    start = ((source, map.abs().transpose(rows)) for source, map in analysis.graph.output.terms())
    found = carried(analysis, start, LinearMap.abs, lambda slopes: slopes)
    share = lengths(analysis.graph) * EPS
    return {index: share * gradient for index, gradient in found.items()}


def _reaches(analysis: Analysis) -> Tensor:
    """Whether a path of weights and slopes other than 0 leads from each row to an input with room, ``(batch, rows)``."""
    reached = analysis.placed.row_norms(gradient_rounding(analysis)[0]) > 0
    if bool(reached.all()):
        return reached
    # or all that came of it were underflows
    rows = (analysis.placed.rows != 0).to(analysis.graph.dtype)
    start = ((source, map.with_entries(_ones).transpose(rows)) for source, map in analysis.graph.output.terms())
    ones = carried(analysis, start, lambda map: map.with_entries(_ones), _ones)
    return analysis.placed.row_norms(ones[0]) > 0


def _ones(x: Tensor) -> Tensor:
    return (x != 0).to(x)


def _form_rounding(analysis: Analysis) -> dict[int, Tensor]:
    graph, region = analysis.graph, analysis.placed.region
    down, up = region.room
    sizes: dict[int, Tensor] = {0: torch.maximum(-down, up).reshape(region.center.shape)}
    found: dict[int, Tensor] = {}
    length = 0
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Affine):
            length += SPARE + sum(map.roundings for map in node.maps)
            anchored = analysis.anchors[index]
            own = anchored.constant.abs() + TINY / EPS
            if anchored.off is not None:
                own = own + anchored.off / EPS  # its error is carried on like roundings of this size
            sizes[index] = sum((map.abs()(sizes[i]) for i, map in node.terms()), start=own)
            found[index] = length * (EPS * sizes[index] + TINY)
        elif isinstance(node, Relu | MaxPool):
            sizes[index] = sizes[node.source] if isinstance(node, Relu) else node(sizes[node.source])
    return found
