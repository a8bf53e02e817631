"""Entrywise bounds on the Jacobian over X from slope bounds: the absolute chain and the interval Jacobian."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.graph import Affine, MaxPool, Relu

Tighten = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Node index and bounds on its gradients, lower and upper -> tighter ones."""


def absolute_chain(analysis: Analysis) -> Tensor:
    """|c J| <= |c A_K| S_hi |A_{K-1}| ... S_hi |A_1| entry by entry; ``(batch, rows, *input_shape)``."""
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype)
    flowing: dict[int, Tensor] = {}
    for source, map in graph.output.terms():
        _pour(flowing, source, map.transpose(rows).abs())
    for index in range(len(graph.nodes) - 2, 0, -1):
        if index not in flowing:
            continue
        gradient, node = flowing.pop(index), graph.nodes[index]
        if isinstance(node, Relu):
            _pour(flowing, node.source, gradient * analysis.slopes[index].upper.unsqueeze(1))
        elif isinstance(node, MaxPool):
            share = analysis.shares[index].upper.unsqueeze(1)
            _pour(flowing, node.source, node.scatter(gradient.flatten(2).unsqueeze(-1) * share))
        elif isinstance(node, Affine):
            for source, map in node.terms():
                _pour(flowing, source, map.abs().transpose(gradient))
    return _at_input(flowing, rows, graph.input_shape)


def interval_jacobian(analysis: Analysis, tighten: Tighten | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Interval backward pass: bounds on the gradient of every row with respect to every node but the Affine ones.

    Weng et al. 2018 (FastLip) with slope intervals in place of activation sets, so it serves both scopes; in pointed
    scope the "gradient" is the product of secant slopes.

    Args:
        tighten: proves tighter bounds at a node, from which the pass goes on; None to go on as it is.

    Returns:
        For the Input, every Relu and every MaxPool: lower and upper, ``(batch, rows, *shape)``.
    """
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype)
    # center and radius of each interval; the output's own rows are known exactly
    flowing: dict[int, tuple[Tensor, Tensor]] = {}
    bounds: dict[int, tuple[Tensor, Tensor]] = {}

    def pour(index: int, center: Tensor, radius: Tensor) -> None:
        if index in flowing:
            center, radius = flowing[index][0] + center, flowing[index][1] + radius
        flowing[index] = center, radius

    for source, map in graph.output.terms():
        part = map.transpose(rows)
        pour(source, part, torch.zeros_like(part))
    for index in range(len(graph.nodes) - 2, -1, -1):
        if index not in flowing:
            continue
        center, radius = flowing.pop(index)
        node = graph.nodes[index]
        if isinstance(node, Affine):
            for source, map in node.terms():
                pour(source, map.transpose(center), map.abs().transpose(radius))
            continue
        low, high = center - radius, center + radius
        if tighten is not None:
            low, high = tighten(index, low, high)
        bounds[index] = low, high
        if isinstance(node, MaxPool):
            share = analysis.shares[index]
            w_low, w_high = share.lower.unsqueeze(1), share.upper.unsqueeze(1)
            low, high = low.flatten(2).unsqueeze(-1), high.flatten(2).unsqueeze(-1)
            low, high = torch.minimum(low * w_low, low * w_high), torch.maximum(high * w_low, high * w_high)
            pour(node.source, node.scatter((low + high) / 2), node.scatter((high - low) / 2))
            continue
        if isinstance(node, Relu):
            slopes = analysis.slopes[index]
            s_low, s_high = slopes.lower.unsqueeze(1), slopes.upper.unsqueeze(1)
            low = torch.where(low < 0, low * s_high, low * s_low)
            high = torch.where(high > 0, high * s_high, high * s_low)
            pour(node.source, (low + high) / 2, (high - low) / 2)
    if 0 not in bounds:
        zero = rows.new_zeros(*rows.shape[:2], *graph.input_shape)
        bounds[0] = zero, zero
    return bounds


def _pour(flowing: dict[int, Tensor], index: int, part: Tensor) -> None:
    flowing[index] = flowing[index] + part if index in flowing else part


def _at_input(flowing: dict[int, Tensor], rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    return flowing[0] if 0 in flowing else rows.new_zeros(*rows.shape[:2], *shape)
