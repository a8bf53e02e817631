"""The largest row sum of a weighted map, with the gradient of that one row: the others have none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lipreg.graph.layers import Layer, flat, layer_of
from lipreg.linalg import LinearMap


def largest_row_sum(map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
    """|diag(rows) A diag(columns)|_{inf->inf} for each point: ``map.largest_sum``, whose gradient goes through all rows.

    Args:
        map: A.
        rows: weights >= 0 of the outputs, ``(batch or 1, *out_shape)``.
        columns: weights >= 0 of the inputs, ``(batch or 1, *in_shape)``, constants.

    Returns:
        ``(batch,)``.
    """
    trained = torch.is_grad_enabled() and any(entries.requires_grad for entries in map.entries)
    layer = layer_of(map, None) if trained and not rows.requires_grad else None
    if layer is None:
        return map.largest_sum(math.inf, rows, columns)
    return _LargestRow.apply(layer.weight, layer, rows, columns)  # type: ignore[return-value]


class _LargestRow(torch.autograd.Function):
    """One pass of |A|, and of its gradient the entries that the largest row reads."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: Layer, rows: Tensor, columns: Tensor) -> Tensor:
        layer.measure()
        sums = layer.forward(columns, absolute=True)
        layer.size = weight.new_empty(0)
        largest, index = flat(sums.mul(rows)).max(1)
        ctx.layer = layer
        ctx.save_for_backward(weight, index, flat(rows).expand(len(index), -1).gather(1, index.unsqueeze(1)), columns)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        _, index, slope, columns = ctx.saved_tensors
        return ctx.layer.rows(index, columns, gradients[0] * slope.squeeze(1)), None, None, None
