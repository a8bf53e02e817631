"""The unstable units of one reference point: those that take a variable and a binary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

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

    def before(self, node: int) -> Units:
        """The units of the nodes before one."""
        kept = self.node < node
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


def sizes(analysis: Analysis, units: Units | None = None) -> np.ndarray:
    """The largest magnitudes of the displacement's entries, and of the units' outputs."""
    down, up = analysis.placed.region.room
    own = torch.maximum(-down, up)[0].numpy()
    return own if units is None else np.concatenate([own, np.maximum(-units.lower, units.upper)])
