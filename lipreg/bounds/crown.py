"""CROWN: linear relaxations of the ReLUs, carried backward to the input (Zhang et al. 2018, Theorem 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lipreg.bounds.lines import Lines
from lipreg.bounds.reach import Anchors
from lipreg.budget import Budget
from lipreg.graph import Affine, Backward, Graph, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.regions import PlacedRegion

ALL_UNITS = 256
"""Entries up to which a node is bounded as a whole."""
ROOM = 2**22
"""Numbers that the rows of one backward pass may take."""


Relaxations = Mapping[int, Lines]


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
    rules = _Forms(anchors, relaxations, rows.new_zeros(rows.shape[:2]))
    at_input = graph.backward([(index, rows)], rules)
    return rules.total if at_input is None else rules.total + region.support(at_input)


class _Forms(Backward[Tensor]):
    """Rows carried back through the lines that bound them; ``total`` is their constants so far, ``(batch, k)``."""

    def __init__(self, anchors: Anchors, relaxations: Relaxations, total: Tensor) -> None:
        self.anchors, self.relaxations, self.total = anchors, relaxations, total

    def affine(self, index: int, node: Affine, value: Tensor) -> Iterable[tuple[int, Tensor]]:
        anchored = self.anchors[index]
        self._add(value * anchored.constant.unsqueeze(1))
        if anchored.rounding is not None:
            self._add(value.abs() * anchored.rounding.unsqueeze(1))
        return super().affine(index, node, value)

    def back(self, map: LinearMap, value: Tensor) -> Tensor:
        return map.transpose(value)

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        value, offset = self.relaxations[index].above(value, 1)
        self._add(offset)
        return value

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        lines = self.relaxations[index]
        value, offset = lines.above(value.flatten(2).unsqueeze(-1), 1)
        self._add(offset)
        return node.scatter(value)

    def _add(self, parts: Tensor) -> None:
        self.total = self.total + parts.flatten(2).sum(-1)


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
