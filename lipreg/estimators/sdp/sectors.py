"""Differences of a network as linear maps with sector-bounded units, the data of semidefinite programs.

Between two points of X (pointed: between a point and x0) every unit's output moves by a slope in [alpha, beta] times its
pre-activation, Delta h = s Delta z. With w = (s - alpha) Delta z, and stable units folded away,

    Delta z = M d + T w,      Delta f = C d + G w,      0 <= w_u / ((beta_u - alpha_u) Delta z_u) <= 1,

d the displacement of the inputs that count, in their units, T strictly lower triangular in the graph's order. A window of a
max pool with k candidates moves by their mean plus the sum of (share_i - 1/k)(Delta z_i - mean) and so, as those differences
add up to 0, by mean + sum w_i with w_i = share_i (Delta z_i - mean): a unit for each candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import PoolWeights, Slopes
from lipreg.graph import Affine, Forward, Graph, MaxPool, UnitsAlike, node_size

COLUMNS = 2**24
"""The most numbers of the widest node while linear forms are carried through a graph."""


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


def unstable_count(slopes: dict[int, Slopes], shares: dict[int, PoolWeights]) -> int:
    """The number of units of ``sectors``, from the slopes and shares of one point."""
    units = sum(int((s.upper > s.lower).sum()) for s in slopes.values())
    return units + sum(int(_contending(s).sum()) for s in shares.values())


def fits(graph: Graph, units: int, columns: Tensor) -> bool:
    """Whether the linear forms of so many units can be carried through the graph in ``COLUMNS`` numbers.

    Args:
        graph: the graph.
        units: the number of units of the sectors.
        columns: the weights of the inputs; those above 0 count.
    """
    widest = max(map(node_size, graph.nodes))
    return (units + int((columns > 0).sum())) * widest <= COLUMNS


def sectors(
    graph: Graph, slopes: dict[int, Slopes], shares: dict[int, PoolWeights], columns: Tensor, rows: Tensor
) -> Sectors:
    """The sectors of a frozen graph at one point: one forward pass, a column for each input and unstable unit.

    Args:
        graph: the graph; its biases play no role.
        slopes, shares: those of every Relu and Curved, and of every MaxPool, with a batch axis of one.
        columns: the weight of each input, ``(*input_shape)``; 0 for those that cannot move.
        rows: the functionals, ``(rows, outputs)``.
    """
    weights = columns.flatten().to(graph.dtype)
    free = weights.nonzero().flatten()
    inputs, width = len(free), len(free) + unstable_count(slopes, shares)
    size = torch.Size(graph.input_shape).numel()
    eye = torch.zeros(width, size, dtype=graph.dtype)
    eye[torch.arange(inputs), free] = weights[free]
    rules = _Differences(slopes, shares, inputs, width, graph.dtype)
    values = graph.forward({0: eye.reshape(width, *graph.input_shape)}, rules)
    forms = torch.cat(rules.units, 1).T if rules.units else eye.new_zeros(0, width)
    ends = rows.to(graph.dtype) @ values[len(graph.nodes) - 1].flatten(1).T
    return Sectors(forms[:, :inputs], forms[:, inputs:], ends[:, :inputs], ends[:, inputs:])


class _Differences(UnitsAlike[Tensor], Forward[Tensor]):
    """Differences of nodes as columns over (d, w), ``(width, *shape)``.

    ``units`` are rows of [M T], as columns, ``(width, units of the node)``.
    """

    def __init__(
        self, slopes: dict[int, Slopes], shares: dict[int, PoolWeights], inputs: int, width: int, dtype: torch.dtype
    ) -> None:
        self.slopes, self.shares, self.used, self.width, self.dtype = slopes, shares, inputs, width, dtype
        self.units: list[Tensor] = []

    def affine(self, index: int, node: Affine, values: Mapping[int, Tensor]) -> Tensor:
        zero = torch.zeros(self.width, *node.shape, dtype=self.dtype)
        return sum((map(values[source]) for source, map in node.terms()), start=zero)

    def unit(self, index: int, value: Tensor) -> Tensor:
        low, high = (end[0].flatten() for end in (self.slopes[index].lower, self.slopes[index].upper))
        at = (high > low).nonzero().flatten()
        z = value.flatten(1)
        columns = self._admit(z[:, at] * (high - low)[at])
        h = z * low
        h[columns, at] += 1.0
        return h.reshape(value.shape)

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        contending = self.shares[index].candidates[0].to(self.dtype)
        z = node.members(value)
        mean = (z * (contending / contending.sum(-1, keepdim=True))).sum(-1)
        window, member = _contending(self.shares[index]).nonzero(as_tuple=True)
        columns = self._admit(z[:, window, member] - mean[:, window])
        mean[columns, window] += 1.0
        return mean.reshape(self.width, *node.shape)

    def _admit(self, forms: Tensor) -> Tensor:
        """The columns of new units."""
        self.units.append(forms)
        self.used += forms.shape[1]
        return torch.arange(self.used - forms.shape[1], self.used)


def _contending(shares: PoolWeights) -> Tensor:
    """Candidates of windows that have several, ``(outputs, window)``."""
    contending = shares.candidates[0]
    return contending & (contending.sum(-1, keepdim=True) > 1) & (shares.upper[0].amax(-1, keepdim=True) > 0)
