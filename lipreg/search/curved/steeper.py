"""A network of linear pieces that is at least as steep as one that ends in curves, everywhere in a region.

Where every row of the output reads one unit of the last curves alone, J = E D J_h: h what the curves read, D their
derivatives, and E of one number a row. With f replaced by a g of linear pieces, g' >= |f'|, D = S D' with |S| <= 1 on the
diagonal, which no row's norm and no operator's norm can grow by. On each piece g' is the largest |f'| there, so that with
one piece L(g o h) is that of h times the largest |f'|, with many nearly L(f o h), and all that is left to search are phases.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.curves import Curve
from lipreg.graph import Copying, Curved, Graph, Symbol, WithoutPools
from lipreg.linalg import Dense, gather
from lipreg.linalg.floats import EPS, SPARE
from lipreg.problem import PlacedProblem
from lipreg.search.curved.enclosure import Ball

START = 4
"""Pieces of each unit at first."""
PARTS = 4
"""Into which the piece is divided in which a point lies."""


@dataclass(frozen=True)
class LastCurves:
    """The curves at the end of a network, one for each row of the question.

    Attributes:
        local: the analysis, without max pools.
        index: the node of the curves.
        curve: f.
        unit, factor: of these that each row reads, and |E|, rounded up, ``(rows,)``.
        lower, upper: over the region what each reads, ``(rows,)``.
    """

    local: Analysis
    index: int
    curve: Curve
    unit: Tensor
    factor: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, local: Analysis) -> LastCurves | None:
        """Those of a single point's analysis; None where curves are elsewhere too, a row reads several of them, or nothing
        before them is a ReLU."""
        graph, index = local.graph, len(local.graph.nodes) - 2
        node = graph.nodes[index]
        alone = [i for i, _ in graph.curves()] == [index] and graph.output.sources == (index,)
        if not alone or not isinstance(node, Curved) or not graph.relus():
            return None
        rows = local.placed.rows.to(graph.dtype)
        sizes = Ball(rows, torch.zeros_like(rows)).through(graph.output.maps[0], back=True).size[0].flatten(1)
        if bool(((sizes > 0).sum(1) > 1).any()):
            return None
        factor, unit = sizes.max(1)
        bounds = local.value_bounds[node.source]
        lower, upper = (end[0].flatten()[unit] for end in (bounds.lower, bounds.upper))
        return cls(local, index, node.curve, unit, factor, lower, upper)

    def start(self) -> list[Tensor]:
        """Where the first pieces of each row meet."""
        share = torch.arange(1, START, dtype=self.lower.dtype) / START
        return [low + (high - low) * share for low, high in zip(self.lower, self.upper, strict=True)]

    def refined(self, meets: list[Tensor], x: Tensor) -> list[Tensor]:
        """The same with the pieces divided in which what is read at a point ``(1, *shape)`` lies."""
        node = self.local.graph.nodes[self.index]
        assert isinstance(node, Curved)
        read = self.local.graph.values(x)[node.source][0].flatten()[self.unit]
        share = torch.arange(1, PARTS, dtype=read.dtype) / PARTS
        finer = []
        for row, old in enumerate(meets):
            ends = torch.cat([self.lower[row : row + 1], old, self.upper[row : row + 1]])
            at = int((old < read[row]).sum())
            finer.append(torch.cat([old[:at], ends[at] + (ends[at + 1] - ends[at]) * share, old[at:]]))
        return finer

    def steeper(self, meets: list[Tensor], budget: Budget | None = None) -> Analysis:
        """The analysis of a network of Affine and Relu nodes whose regional constant is not below.

        Args:
            meets: where the pieces of each row meet, in ascending order.
            budget: of its pre-activation bounds.
        """
        placed = self.local.placed
        slopes = [self._slopes(row, at) for row, at in enumerate(meets)]
        graph = _Writer(self, meets, slopes).write()
        eye = torch.eye(len(self.unit), dtype=self.lower.dtype).unsqueeze(0)
        question = PlacedProblem(placed.problem, placed.region, eye, placed.functional_names, placed.outside)
        return analyse(graph, question, budget=budget)

    def _slopes(self, row: int, at: Tensor) -> Tensor:
        """The steepest of each piece times the row's factor, rounded up."""
        ends = torch.cat([self.lower[row : row + 1], at, self.upper[row : row + 1]])
        slack = SPARE * EPS * ends.abs()
        least, most = self.curve.slopes((ends - slack)[:-1], (ends + slack)[1:])
        return torch.maximum(least.abs(), most.abs()) * self.factor[row] * (1.0 + SPARE * EPS)


class _Writer(WithoutPools, Copying):
    """Copies a graph up to its last curves, and ends it with linear pieces.

    Args:
        curves: in whose place they are.
        meets, slopes: where the pieces of each row meet, and their own.
    """

    def __init__(self, curves: LastCurves, meets: list[Tensor], slopes: list[Tensor]) -> None:
        super().__init__(curves.local.graph)
        self.curves, self.meets, self.slopes = curves, meets, slopes

    def write(self) -> Graph:
        """The graph: an output a row."""
        last = self.curves.index
        return self.context.graph(
            self.graph.forward({0: self.context.input()}, self, until=last)[last], self.graph.name
        )

    def curved(self, index: int, node: Curved, value: Symbol) -> Symbol:
        rows, kinks = len(self.meets), [len(at) for at in self.meets]
        read = value.then(gather(self.curves.unit, value.shape, (rows,), self.context.like))
        # sums of changes are the slopes but for rounding, which the first makes up for
        most = torch.stack([slopes.amax() for slopes in self.slopes])
        total = read.scaled(torch.stack([slopes[0] for slopes in self.slopes]) + (max(kinks) + SPARE) * 8 * EPS * most)
        if not sum(kinks):
            return total
        every = torch.arange(rows).repeat_interleave(torch.tensor(kinks))
        ahead = read.then(gather(every, (rows,), (len(every),), self.context.like)).shifted(-torch.cat(self.meets))
        self.context.call = f"pieces of {node.name}"
        units = self.context.relu(ahead)
        changes = torch.block_diag(*(slopes.diff().unsqueeze(0) for slopes in self.slopes))
        return total.plus(units.then(Dense(changes, (len(every),), (rows,))))
