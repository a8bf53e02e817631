"""CROWN: linear relaxations of the ReLUs, carried backward to the input (Zhang et al. 2018, Theorem 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.graph import Affine, Graph, Relu
from lipreg.regions import PlacedRegion


@dataclass(frozen=True)
class Relaxation:
    """lower_slope z <= relu(z) <= upper_slope z + offset over [l, u], each ``(batch, *shape)``."""

    lower_slope: Tensor
    upper_slope: Tensor
    offset: Tensor


def relax(lower: Tensor, upper: Tensor, leak: float) -> Relaxation:
    """The relaxation of max(z, leak z) over [l, u].

    Stable units are exact. An unstable one has the chord above and, below, the line through the origin that loses the
    smaller area: slope 1 where u >= -l, the leak otherwise.
    """
    unstable = (lower < 0) & (upper > 0)
    span = torch.where(unstable, upper - lower, torch.ones_like(upper))
    active = (lower >= 0).to(upper.dtype)
    stable = leak + (1.0 - leak) * active
    chord = torch.where(unstable, (upper - leak * lower) / span, stable)
    # the leak as a tensor of the graph's own dtype: where() with two numbers would round it to float32
    one, flat = torch.ones_like(upper), torch.full_like(upper, leak)
    below = torch.where(unstable, torch.where(upper >= -lower, one, flat), stable)
    offset = torch.where(unstable, (leak - chord) * lower, torch.zeros_like(upper))
    return Relaxation(below, chord, offset)


def linear_upper_bound(
    graph: Graph, index: int, rows: Tensor, relaxations: dict[int, Relaxation], region: PlacedRegion
) -> Tensor:
    """An upper bound on sup over X of rows . (node ``index``), for an Affine node.

    Args:
        rows: ``(batch, k, *shape of the node)``.
        relaxations: of every Relu before the node.

    Returns:
        ``(batch, k)``. Costs one backward pass with k rows.
    """
    flowing: dict[int, Tensor] = {index: rows}
    total = rows.new_zeros(rows.shape[:2])
    for at in range(index, 0, -1):
        if at not in flowing:
            continue
        row, node = flowing.pop(at), graph.nodes[at]
        match node:
            case Affine():
                total = total + (row * node.bias).flatten(2).sum(-1)
                parts = [(source, map.transpose(row)) for source, map in node.terms()]
            case Relu(source=source):
                line = relaxations[at]
                rising = row > 0
                slope = torch.where(rising, line.upper_slope.unsqueeze(1), line.lower_slope.unsqueeze(1))
                total = total + (row.clamp(min=0) * line.offset.unsqueeze(1)).flatten(2).sum(-1)
                parts = [(source, row * slope)]
            case _:
                graph.require(Affine, Relu, who="CROWN")
                parts = []
        for source, part in parts:
            flowing[source] = flowing[source] + part if source in flowing else part
    if 0 in flowing:
        row = flowing[0]
        total = total + (row * region.center.unsqueeze(1)).flatten(2).sum(-1) + region.support(row)
    return total


def crown(graph: Graph, index: int, relaxations: dict[int, Relaxation], region: PlacedRegion) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds on every entry of an Affine node over X, ``(batch, *shape)`` each."""
    shape = graph.nodes[index].shape
    size = torch.Size(shape).numel()
    eye = torch.eye(size, dtype=graph.dtype, device=graph.device).reshape(size, *shape)
    rows = torch.cat([eye, -eye]).expand(region.batch, -1, *shape)
    ends = linear_upper_bound(graph, index, rows, relaxations, region)
    upper, lower = ends[:, :size], -ends[:, size:]
    return lower.reshape(-1, *shape), upper.reshape(-1, *shape)
