"""The unstable units of one reference point: those that take a variable and a binary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Relu


@dataclass(frozen=True)
class Units:
    """The unstable units of one reference point, in order of the graph, and bounds on them.

    Attributes:
        node: Relu node of each unit.
        position: flat position in the node.
        lower, upper: pre-activation bounds l < 0 < u.
        leak: slope of the negative side.
    """

    node: np.ndarray
    position: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    leak: np.ndarray

    def __len__(self) -> int:
        return len(self.node)

    @property
    def size(self) -> np.ndarray:
        """The largest magnitude of each unit's output."""
        return np.maximum(-self.lower, self.upper)

    def before(self, node: int) -> Units:
        """The units of the nodes before one, which come first."""
        kept = slice(int((self.node < node).sum()))
        return Units(*(column[kept] for column in (self.node, self.position, self.lower, self.upper, self.leak)))

    def of(self, node: int) -> np.ndarray:
        """Indices of the units of one Relu node."""
        return np.flatnonzero(self.node == node)


def unstable_units(analysis: Analysis) -> Units:
    """The unstable units of a single-point analysis."""
    analysis.graph.require(Affine, Relu, who="the exact program")
    parts: list[list[np.ndarray]] = [[] for _ in range(5)]
    for index, node in analysis.graph.relus():
        reach = analysis.reach[node.source]
        found = reach.unstable[0].flatten().nonzero().flatten().numpy()
        columns = (
            np.full(len(found), index),
            found,
            reach.lower[0].flatten().numpy()[found],
            reach.upper[0].flatten().numpy()[found],
            np.full(len(found), node.slope),
        )
        for part, column in zip(parts, columns, strict=True):
            part.append(column)
    if not parts[0]:
        return Units(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), np.empty(0))
    return Units(*(np.concatenate(part) for part in parts))


def slopes(on: Tensor, node: Relu) -> Tensor:
    """1 where a unit is on, else the slope of its negative side; in float64, flat."""
    return torch.where(on, torch.ones((), dtype=torch.float64), node.slope)


def active(analysis: Analysis, node: Relu) -> Tensor:
    """Whether a stable unit is on its active side. By its upper bound: at the reference point it may touch the kink."""
    reach = analysis.reach[node.source]
    return torch.where(reach.moves, reach.upper, reach.value)[0].flatten() > 0
