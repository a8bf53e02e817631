"""The unstable units of one reference point: those that take a variable and a binary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Relu


@dataclass(frozen=True)
class UnstableUnits:
    """The unstable units of one reference point, in order of the graph, and bounds on them.

    Attributes:
        node: Relu node of each unit.
        position: flat position in the node.
        lower, upper: pre-activation bounds l < 0 < u.
        negative_slope: slope of the negative side.
    """

    node: np.ndarray
    position: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    negative_slope: np.ndarray

    def __len__(self) -> int:
        return len(self.node)

    @property
    def size(self) -> np.ndarray:
        """The largest magnitude of each unit's output."""
        return np.maximum(-self.lower, self.upper)

    def before(self, node: int) -> UnstableUnits:
        """The units of the nodes before one, which come first."""
        first = slice(int((self.node < node).sum()))
        return UnstableUnits(
            *(column[first] for column in (self.node, self.position, self.lower, self.upper, self.negative_slope))
        )

    def of(self, node: int) -> np.ndarray:
        """Indices of the units of one Relu node."""
        return np.flatnonzero(self.node == node)


def unstable_units(analysis: Analysis) -> UnstableUnits:
    """The unstable units of a single-point analysis.

    Raises:
        UnsupportedRequest: the graph has nodes other than Affine and Relu.
    """
    analysis.graph.require(Affine, Relu, who="the exact program")
    parts: list[list[np.ndarray]] = [[] for _ in range(5)]
    for index, node in analysis.graph.relus():
        bounds = analysis.value_bounds[node.source]
        positions = bounds.unstable[0].flatten().nonzero().flatten().numpy()
        columns = (
            np.full(len(positions), index),
            positions,
            bounds.lower[0].flatten().numpy()[positions],
            bounds.upper[0].flatten().numpy()[positions],
            np.full(len(positions), node.slope),
        )
        for part, column in zip(parts, columns, strict=True):
            part.append(column)
    if not parts[0]:
        return UnstableUnits(
            np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), np.empty(0)
        )
    return UnstableUnits(*(np.concatenate(part) for part in parts))


def phase_slopes(on: Tensor, node: Relu) -> Tensor:
    """1 where a unit is active, else the slope of its negative side; in float64, flat."""
    return torch.where(on, torch.ones((), dtype=torch.float64), node.slope)


def stably_active(analysis: Analysis, node: Relu) -> Tensor:
    """Whether a stable unit is active, by its upper bound: at the reference point it may touch its kink; ``(units,)``."""
    bounds = analysis.value_bounds[node.source]
    return torch.where(bounds.movable, bounds.upper, bounds.value)[0].flatten() > 0
