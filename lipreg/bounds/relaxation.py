"""CROWN: linear relaxations of the ReLUs, carried backward to the input (Zhang et al. 2018, Theorem 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.pooling import PoolRelaxation
from lipreg.bounds.reach import Anchors
from lipreg.budget import Budget
from lipreg.graph import Affine, Graph, MaxPool, Relu
from lipreg.regions import PlacedRegion

ALL_UNITS = 256
"""Entries up to which a node is bounded as a whole."""
ROOM = 2**22
"""Numbers that the rows of one backward pass may take."""


@dataclass(frozen=True)
class Relaxation:
    """lower_slope z <= relu(z) <= upper_slope z + offset over [l, u], each ``(batch, *shape)``."""

    lower_slope: Tensor
    upper_slope: Tensor
    offset: Tensor


Relaxations = Mapping[int, Relaxation | PoolRelaxation]


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
    graph: Graph, index: int, rows: Tensor, anchors: Anchors, relaxations: Relaxations, region: PlacedRegion
) -> Tensor:
    """An upper bound on sup over X of rows . (node ``index``), for an Affine node.

    What a step loses to rounding is charged to the true values of the node where it happens, so nothing grows on the way.

    Args:
        rows: ``(batch, k, *shape of the node)``.
        anchors: of that node and every Affine before it.
        relaxations: of every Relu and MaxPool before the node.

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
                anchored = anchors[at]
                total = total + (row * anchored.constant.unsqueeze(1)).flatten(2).sum(-1)
                if anchored.rounding is not None:
                    total = total + (row.abs() * anchored.rounding.unsqueeze(1)).flatten(2).sum(-1)
                parts = [(source, map.transpose(row)) for source, map in node.terms()]
            case Relu(source=source):
                line = relaxations[at]
                assert isinstance(line, Relaxation)
                rising = row > 0
                slope = torch.where(rising, line.upper_slope.unsqueeze(1), line.lower_slope.unsqueeze(1))
                total = total + (row.clamp(min=0) * line.offset.unsqueeze(1)).flatten(2).sum(-1)
                parts = [(source, row * slope)]
            case MaxPool(source=source):
                pool = relaxations[at]
                assert isinstance(pool, PoolRelaxation)
                flat = row.flatten(2)
                total = total + (flat.clamp(min=0) * pool.offset.unsqueeze(1)).sum(-1)
                weights = torch.where(
                    (flat > 0).unsqueeze(-1), pool.upper_weights.unsqueeze(1), pool.lower_weights.unsqueeze(1)
                )
                parts = [(source, node.scatter(flat.unsqueeze(-1) * weights))]
            case _:
                raise AssertionError(node)
        for source, part in parts:
            flowing[source] = flowing[source] + part if source in flowing else part
    if 0 in flowing:
        row = flowing[0]
        total = total + region.support(row)
    return total


def crown(
    graph: Graph,
    index: int,
    anchors: Anchors,
    relaxations: Relaxations,
    region: PlacedRegion,
    wanted: Tensor | None = None,
    budget: Budget | None = None,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds on the entries of an Affine node over X, ``(batch, *shape)`` each.

    Matrix-free: rows are carried back through the maps' transposes, as many at once as ``ROOM`` allows.

    Args:
        wanted: the entries to bound, ``(batch, *shape)`` bool; the others get -inf and inf. None bounds all. Nodes of up
            to ``ALL_UNITS`` entries are always bounded as a whole.
        budget: entries that are not reached by its end get -inf and inf; None for no limit.
    """
    shape, batch = graph.nodes[index].shape, region.batch
    size = torch.Size(shape).numel()
    if wanted is None or size <= ALL_UNITS:
        units = torch.arange(size, device=graph.device).expand(batch, -1)
    else:  # as many slots as the busiest point needs; the others bound some further entries in theirs
        slots = int(wanted.flatten(1).sum(-1).max())
        units = wanted.flatten(1).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :slots]
    largest = max(torch.Size(node.shape).numel() for node in graph.nodes[: index + 1])
    at_once = max(1, ROOM // (2 * batch * largest))
    lowers, uppers = [], []
    for some in units.split(at_once, dim=1):
        if budget is not None and budget.ended() is not None:
            units = units[:, : sum(ends.shape[1] for ends in lowers)]
            break
        rows = torch.zeros(batch, some.shape[1], size, dtype=graph.dtype, device=graph.device)
        rows = rows.scatter_(2, some.unsqueeze(2), 1.0).reshape(batch, -1, *shape)
        ends = linear_upper_bound(graph, index, torch.cat([rows, -rows], 1), anchors, relaxations, region)
        uppers.append(ends[:, : some.shape[1]])
        lowers.append(-ends[:, some.shape[1] :])
    if units.shape[1] == size and units.stride(0) == 0:
        return tuple(torch.cat(ends, 1).reshape(-1, *shape) for ends in (lowers, uppers))  # type: ignore[return-value]
    whole = torch.full((batch, size), torch.inf, dtype=graph.dtype, device=graph.device)
    if not lowers:
        return (-whole).reshape(-1, *shape), whole.reshape(-1, *shape)
    lower = (-whole).scatter(1, units, torch.cat(lowers, 1))
    return lower.reshape(-1, *shape), whole.scatter(1, units, torch.cat(uppers, 1)).reshape(-1, *shape)
