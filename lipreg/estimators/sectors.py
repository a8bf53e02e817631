"""Differences of a network as linear maps with sector-bounded units: what semidefinite programs see of it.

Between two points of X (pointed: between a point and x0) every unit's output moves by a slope in [alpha, beta] times its
pre-activation, Delta h = s Delta z. With w = (s - alpha) Delta z, and units whose slope is decided folded away,

    Delta z = M d + T w,      Delta f = C d + G w,      0 <= w_u / ((beta_u - alpha_u) Delta z_u) <= 1,

d the displacement of the inputs that can move, T strictly lower triangular in the graph's order. A window of a max pool
with k candidates moves by their mean plus the sum of (share_i - 1/k)(Delta z_i - mean) and so, as those differences add up
to 0, by mean + sum w_i with w_i = share_i (Delta z_i - mean): a unit for each candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Shares, Slopes
from lipreg.graph import Affine, Graph, Input, MaxPool, Relu

COLUMNS = 2**24
"""Numbers that the widest node may take while forms are carried through a graph."""


@dataclass(frozen=True)
class Sectors:
    """Delta z = M d + T w and Delta f = C d + G w, the rows of M and T scaled so that 0 <= w_u / Delta z_u <= 1.

    Attributes:
        unit_input: M, ``(units, inputs)``.
        unit_unit: T, ``(units, units)``, strictly lower triangular.
        row_input: C, ``(rows, inputs)``.
        row_unit: G, ``(rows, units)``.
    """

    unit_input: Tensor
    unit_unit: Tensor
    row_input: Tensor
    row_unit: Tensor

    def of_row(self, row: int) -> Sectors:
        """The same units with one functional."""
        return Sectors(self.unit_input, self.unit_unit, self.row_input[row : row + 1], self.row_unit[row : row + 1])


def open_units(slopes: dict[int, Slopes], shares: dict[int, Shares]) -> int:
    """How many units ``sectors`` would have, from the slopes and shares of one point."""
    units = sum(int((s.upper > s.lower).sum()) for s in slopes.values())
    return units + sum(int(_open(s).sum()) for s in shares.values())


def fits(graph: Graph, units: int, moves: Tensor) -> bool:
    """Whether the forms of so many units can be carried through the graph."""
    widest = max(torch.Size(node.shape).numel() for node in graph.nodes)
    return (units + int(moves.sum())) * widest <= COLUMNS


def sectors(graph: Graph, slopes: dict[int, Slopes], shares: dict[int, Shares], moves: Tensor, rows: Tensor) -> Sectors:
    """The sectors of a frozen graph at one point: one forward pass with a column for each moving input and open unit.

    Args:
        graph: any; its biases play no role.
        slopes, shares: of every Relu and MaxPool, with a batch axis of one.
        moves: which inputs can move, ``(*input_shape)``.
        rows: the functionals, ``(rows, outputs)``.
    """
    free = moves.flatten().nonzero().flatten()
    inputs, width = len(free), len(free) + open_units(slopes, shares)
    size = torch.Size(graph.input_shape).numel()
    eye = torch.zeros(width, size, dtype=graph.dtype)
    eye[torch.arange(inputs), free] = 1.0
    values: dict[int, Tensor] = {}
    units: list[Tensor] = []  # rows of [M T], as columns over (d, w): ``(width, units of the node)``
    used = inputs

    def admit(found: Tensor) -> slice:
        nonlocal used
        units.append(found)
        used += found.shape[1]
        return slice(used - found.shape[1], used)

    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                values[index] = eye.reshape(width, *graph.input_shape)
            case Affine():
                start = torch.zeros(width, *node.shape, dtype=graph.dtype)
                values[index] = sum((map(values[i]) for i, map in node.terms()), start=start)
            case Relu(source=source):
                low, high = (end[0].flatten() for end in (slopes[index].lower, slopes[index].upper))
                at = (high > low).nonzero().flatten()
                z = values[source].flatten(1)
                columns = admit(z[:, at] * (high - low)[at])
                h = z * low
                h[torch.arange(width)[columns], at] += 1.0
                values[index] = h.reshape(width, *node.shape)
            case MaxPool(source=source):
                able = shares[index].able[0].to(graph.dtype)
                z = node.members(values[source])
                mean = (z * (able / able.sum(-1, keepdim=True))).sum(-1)
                window, member = _open(shares[index]).nonzero(as_tuple=True)
                columns = admit(z[:, window, member] - mean[:, window])
                mean[torch.arange(width)[columns], window] += 1.0
                values[index] = mean.reshape(width, *node.shape)
    found = torch.cat(units, 1).T if units else eye.new_zeros(0, width)
    ends = rows.to(graph.dtype) @ values[len(graph.nodes) - 1].flatten(1).T
    return Sectors(found[:, :inputs], found[:, inputs:], ends[:, :inputs], ends[:, inputs:])


def _open(shares: Shares) -> Tensor:
    """Candidates of windows that have several, ``(outputs, window)``."""
    able = shares.able[0]
    return able & (able.sum(-1, keepdim=True) > 1) & (shares.upper[0].amax(-1, keepdim=True) > 0)
