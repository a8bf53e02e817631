"""CROWN: linear relaxations of the units, carried backward to the input (Zhang et al. 2018, Theorem 3.2; with lower lines
chosen for each bound, Xu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

import torch
from torch import Tensor

from lipreg.bounds.lines import Lines
from lipreg.bounds.lower_slopes import COPIES, STEPS, LowerSlopes
from lipreg.bounds.unit_bounds import unit_bounds
from lipreg.bounds.value_bounds import Anchors
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Backward, Graph, MaxPool, Relu, UnitsAlike, node_size
from lipreg.linalg import LinearMap, Rows, WholeRows, entries
from lipreg.regions import PlacedRegion

ALL_UNITS = 256
"""Entries up to which a node is bounded as a whole."""


Relaxations = Mapping[int, Lines]


def linear_upper_bound(
    graph: Graph, index: int, rows: Tensor, anchors: Anchors, relaxations: Relaxations, region: PlacedRegion
) -> Tensor:
    """An upper bound on sup over X of rows . (node ``index``), for an Affine node.

    What a step loses to rounding is charged to the true values of the node where it happens, so nothing grows on the way.

    Args:
        graph: live or frozen.
        index: of the node.
        rows: ``(batch, k, *shape of the node)``.
        anchors: of that node and every Affine before it.
        relaxations: of every Relu, MaxPool and Curved before the node.
        region: the regions of the batch, bounded.

    Returns:
        ``(batch, k)``. Costs one backward pass with k rows.
    """
    return _Forms(graph, index, anchors, relaxations).bounds(WholeRows(rows), region)[0]


class _Forms(UnitsAlike[Rows], Backward[Rows]):
    """Rows carried back to the input through the lines that bound them.

    Every row that reaches an Affine node adds its constant and its rounding: the first rows and pools by themselves, ReLUs
    and curves in the offsets of their lines.
    """

    def __init__(self, graph: Graph, index: int, anchors: Anchors, relaxations: Relaxations) -> None:
        self.graph, self.index, self.anchors, self.relaxations = graph, index, anchors, relaxations

    @cached_property
    def lines(self) -> Relaxations:
        """Those of the nodes before, anchored at the constants; made with the first rows, if there is time for any."""
        lines = {i: self.relaxations[i] for i in self.relaxations if i < self.index}
        for i, node in self.graph.entrywise():
            if i in lines:
                anchored = self.anchors[node.source]
                lines[i] = lines[i].anchored(anchored.constant, anchored.rounding)
        return lines

    def bounds(self, rows: Rows, region: PlacedRegion) -> tuple[Tensor, int]:
        """Upper bounds on rows of the node, ``(batch, k)``, and the most numbers that these took at a node."""
        self.total, self.numbers = self._constants(self.index, rows), rows.values.numel()
        at_input = self.graph.backward([(self.index, rows)], self)
        if at_input is None:
            return self.total, self.numbers
        ends = at_input.read(entries(*(end.reshape(region.center.shape) for end in region.displacement_ends)))
        down, up = (at_input.flat(end) for end in ends)
        return self.total + region.support(at_input.flat(at_input.values), (down, up)).flatten(1), self.numbers

    def back(self, map: LinearMap, value: Rows) -> Rows:
        value = value.back(map)
        self.numbers = max(self.numbers, value.values.numel())
        return value

    def max_pool(self, index: int, node: MaxPool, value: Rows) -> Rows:
        members, offset = self.lines[index].above(WholeRows(value.whole().flatten(2).unsqueeze(-1)))
        self.numbers = max(self.numbers, members.values.numel())
        value = WholeRows(node.scatter(members.values))
        self.total = self.total + offset + self._constants(node.source, value)
        return value

    def unit(self, index: int, value: Rows) -> Rows:
        value, offset = self.lines[index].above(value)
        self.total = self.total + offset
        return value

    def _constants(self, index: int, value: Rows) -> Tensor:
        anchored = self.anchors[index]
        parts = value.values * value.read(entries(anchored.constant))[0]
        if anchored.rounding is not None:
            parts = parts + value.values.abs() * value.read(entries(anchored.rounding))[0]
        return value.sums(parts)


class _Ascending(_Forms):
    """The pass with lower lines of ReLUs that are chosen for each row; see ``LowerSlopes``."""

    def __init__(self, graph: Graph, index: int, anchors: Anchors, relaxations: Relaxations) -> None:
        super().__init__(graph, index, anchors, relaxations)
        self.copies = COPIES * (1 + sum(isinstance(graph.nodes[i], Relu) for i in relaxations if i < index))

    def bounds(self, rows: Rows, region: PlacedRegion) -> tuple[Tensor, int]:
        """The least bound over all steps; where a gradient is kept, over the first and the last step, which have one."""
        self.slopes = LowerSlopes()
        least, numbers = super().bounds(rows, region)
        graded = least.requires_grad and torch.is_grad_enabled()
        for _ in range(STEPS if self.slopes.slopes else 0):
            with torch.enable_grad():
                bounds = super().bounds(rows, region)[0]
                self.slopes.step(bounds.sum())
            if not graded:
                least = torch.minimum(least, bounds.detach())
        if self.slopes.slopes:
            least = torch.minimum(least, super().bounds(rows, region)[0])
        return least, numbers * self.copies

    def relu(self, index: int, node: Relu, value: Rows) -> Rows:
        anchored = self.anchors[node.source]
        lines = self.slopes.lines(index, value, self.relaxations[index], node.slope)
        at_rows = [
            None if part is None else value.read(entries(part))[0] for part in (anchored.constant, anchored.rounding)
        ]
        assert at_rows[0] is not None
        value, offset = lines.anchored(at_rows[0], at_rows[1]).above_read(value)
        self.total = self.total + offset
        return value


def crown(
    graph: Graph,
    index: int,
    anchors: Anchors,
    relaxations: Relaxations,
    region: PlacedRegion,
    wanted: Tensor | None = None,
    budget: Budget | None = None,
    ascending: bool = False,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds on the entries of an Affine node over X, ``(batch, *shape)`` each.

    Matrix-free: rows are carried back through the maps' transposes, those of images in the windows that they touch, as many
    at once as the budget's memory allows.

    Args:
        graph: live or frozen.
        index: of the node.
        anchors, relaxations: as of ``linear_upper_bound``.
        region: the regions of the batch, bounded.
        wanted: what bounding each entry is worth, ``(batch, *shape)``: the largest first, those of 0 not at all; they get
            -inf and inf. None bounds all. Nodes of up to ``ALL_UNITS`` entries are always bounded as a whole.
        budget: entries for which it has no time get -inf and inf; None for no limit of time.
        ascending: whether lower lines are chosen for each row by ascent, at about fifty times the cost.
    """
    budget = budget or UNLIMITED
    shape, batch = graph.nodes[index].shape, region.batch
    size = torch.Size(shape).numel()
    if wanted is None or size <= ALL_UNITS:
        wanted = torch.ones(batch, *shape, dtype=graph.dtype, device=graph.device)
    largest = max(map(node_size, graph.nodes[: index + 1]))
    forms = (_Ascending if ascending else _Forms)(graph, index, anchors, relaxations)
    bound = partial(forms.bounds, region=region)
    units, lower, upper, _ = unit_bounds(wanted, graph.output.bias, largest, bound, budget)
    unbounded = torch.full((batch, size), torch.inf, dtype=graph.dtype, device=graph.device)
    lower, upper = (-unbounded).scatter(1, units, lower), unbounded.scatter(1, units, upper)
    return lower.reshape(-1, *shape), upper.reshape(-1, *shape)
