"""The Jacobian of a difference of networks around its centre: units of a pair deviate together, and apart where they can.

Let D = d + h e, |e| <= 1, be the slope of a pair's second unit and D + m + k e', |e'| <= 1, that of its first one, with
m - k and m + k the bounds on how far the two are apart (``joint_slopes``). With M, M' the rows of the two pre-activations,
centre slopes below them, g and g' the gradients with respect to their outputs, and s = g + g', they add to the centre of c J

    g (h e + k e') M + g' h e M'  =  h e (s M' + g (M - M')) + k e' g M,

three deviations of bounds h |s|, h |g| and k |g|, of which the first two are small where the networks nearly agree. Bounds
on g, g' and s follow from later units as in ``deviation``, s from the sums of the gradients at both units, where those of
two networks cancel. Units that are apart in both directions, k as large as the half widths of both, deviate one by one.

The rows of one network meet bounds of the other, so rounding is not in a chain of magnitudes of either: a magnitude is
carried along beside every row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.deviation import (
    CentreSlopesPass,
    DeviatingUnits,
    Deviations,
    deviating_units,
    middle_slopes,
    unit_row_blocks,
)
from lipreg.bounds.joint_slopes import slopes_apart
from lipreg.bounds.pairs import LayerPair, layer_pairs
from lipreg.bounds.rounding import lengths, underflow
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Curved, MaxPool, Relu
from lipreg.linalg import LinearMap
from lipreg.linalg.floats import EPS

Sized = tuple[Tensor, Tensor]
"""Rows, and the sums of magnitudes that they are made of."""


@dataclass(frozen=True)
class _Together:
    """The units of one pair that deviate together: flat positions, h and k, ``(units,)`` each."""

    position: Tensor
    half: Tensor
    half_difference: Tensor


@dataclass(frozen=True)
class _Rows:
    """The rows of the unstable units of one node, at the inputs and at all earlier units; units of pairs come first."""

    at: dict[int, Sized]
    input_rows: Sized


@dataclass(frozen=True)
class _Plan:
    """The deviations: centre slopes and unstable units of every node, by its index; of every pair, by that of its first
    node, the units that deviate together."""

    centres: dict[int, Tensor]
    units: dict[int, DeviatingUnits]
    together: dict[int, _Together]
    pairs: dict[int, LayerPair]

    @property
    def count(self) -> int:
        """How many deviations there are."""
        return sum(len(units.position) for units in self.units.values()) + sum(
            len(pair.position) for pair in self.together.values()
        )


def joint_count(analysis: Analysis) -> int:
    """The number of deviations that ``joint_deviations`` carries for a single-point analysis; 0 without pairs."""
    return analysis.memoised(_plan).count if layer_pairs(analysis) else 0


def joint_deviations(analysis: Analysis, budget: Budget | None = None) -> Deviations:
    """The deviations of a single-point analysis with pairs; a backward pass with two rows for each unstable unit.

    Args:
        analysis: of a single point, with pairs of layers.
        budget: of these passes; None for no limit of time.

    Raises:
        OutOfBudget: the budget ends first; a bound needs every unit.
    """
    return _JointDeviations(analysis, budget or UNLIMITED).run()


def _plan(analysis: Analysis) -> _Plan:
    plan = _Plan(middle_slopes(analysis), deviating_units(analysis), {}, layer_pairs(analysis))
    for index, pair in plan.pairs.items():
        low, high = (end[0].flatten() for end in slopes_apart(analysis, pair))
        middle, apart = (low + high) / 2, (high - low) / 2
        halves = [
            ((s.upper - s.lower) / 2)[0].flatten() for s in (analysis.slopes[i] for i in (pair.first, pair.second))
        ]
        at = ((apart < halves[0] + halves[1]) & ((halves[1] > 0) | (apart > 0))).nonzero().flatten()
        # what rounding makes of a middle and a half width, where these are not the ends themselves
        spare = 4 * EPS * ((apart > 0) | (middle != 0))
        plan.together[index] = _Together(at, (halves[1] + spare)[at], (apart + spare)[at])
        shape = plan.centres[index].shape
        first = plan.centres[index].flatten().scatter(0, at, (plan.centres[pair.second].flatten() + middle)[at])
        plan.centres[index] = first.reshape(shape)
        for i, half in zip((pair.first, pair.second), halves, strict=True):
            alone = half.scatter(0, at, 0.0).nonzero().flatten()
            both = torch.cat([at, alone])
            plan.units[i] = DeviatingUnits(
                both, both.unsqueeze(1), torch.cat([torch.ones_like(half[at]), half[alone]]).unsqueeze(1)
            )
    return plan


class _JointDeviations:
    """Bounds on the gradients at unstable units, from the output back, and the deviations that these make."""

    def __init__(self, analysis: Analysis, budget: Budget) -> None:
        self.analysis, self.graph, self.budget = analysis, analysis.graph, budget
        self.plan = analysis.memoised(_plan)
        self.share = lengths(self.graph) * EPS if analysis.outward else 0.0
        self.firsts = {i: pair.first for pair in self.plan.pairs.values() for i in (pair.first, pair.second)}
        self.rows: dict[int, _Rows] = {}
        self.gradients: dict[int, Tensor] = {}  # bounds on them, of each node's units
        self.sums: dict[int, Tensor] = {}  # bounds on those of a pair's units together, by the first node
        self.deviations: list[tuple[Tensor, Tensor, Tensor]] = []  # bounds, rows and their errors

    def run(self) -> Deviations:
        placed, graph, pairs = self.analysis.placed, self.graph, self.plan.pairs
        output = placed.rows[0].to(graph.dtype).reshape(-1, *graph.output.shape)
        self.output = self._carried(len(graph.nodes) - 1, output)
        for index in sorted(self.plan.units, reverse=True):
            self.rows[index] = self._node_rows(index)
        # a pair goes by its first node: whatever depends on one of its units comes later
        for index in sorted((i for i in self.plan.units if self.firsts.get(i, i) == i), reverse=True):
            if index in pairs:
                self._pair(pairs[index])
            else:
                self.gradients[index] = self._gradient(index)
                self._deviate(self.gradients[index], *self._own(index, slice(None)))
        weights = placed.weights[0].flatten().to(graph.dtype)
        none = output.new_zeros(0, len(weights))
        self.deviations.append((output.new_zeros(len(output), 0), none, none))
        bounds, rows, errors = (torch.cat([part[i] for part in self.deviations], int(i == 0)) for i in range(3))
        centre, error = self.output.input_rows[0], self.share * self.output.input_rows[1]
        lost = placed.combine_flat((error + bounds @ errors) * weights) + underflow(self.analysis).amax()
        return Deviations(centre * weights, rows * weights, bounds, float(lost) if self.share else 0.0)

    def _pair(self, pair: LayerPair) -> None:
        together, count = self.plan.together[pair.first], self._together(pair.first)
        first, second = self._gradient(pair.first), self._gradient(pair.second)
        both = torch.minimum(self._gradient(pair.first, pair.second), first[:, :count] + second[:, :count])
        self.gradients |= {pair.first: first, pair.second: second}
        self.sums[pair.first] = both
        for index, bounds in ((pair.first, first), (pair.second, second)):
            self._deviate(bounds[:, count:], *self._own(index, slice(count, None)))
        (rows, lost), (others, other_lost) = (self._own(i, slice(count)) for i in (pair.first, pair.second))
        bound = first[:, :count]
        self._deviate(both * together.half, others, other_lost)
        self._deviate(bound * together.half, rows - others, lost + other_lost)
        self._deviate(bound * together.half_difference, rows, lost)

    def _deviate(self, bounds: Tensor, rows: Tensor, errors: Tensor) -> None:
        used = bounds.amax(0) > 0
        self.deviations.append((bounds[:, used], rows[used], errors[used]))

    def _gradient(self, index: int, other: int | None = None) -> Tensor:
        """Bounds on the gradients at a node's units, ``(rows, units)``, or on their sums with those of another node."""
        total = self._size(self._read(self.output, index, other))
        for later, gradients in self.gradients.items():
            alone = slice(self._together(later), None)
            total = total + gradients[:, alone] @ self._size(self._read(self.rows[later], index, other, alone))
        for first in self.sums:
            total = total + self._from_pair(self.plan.pairs[first], index, other)
        return total

    def _together(self, index: int) -> int:
        """How many of a node's units deviate together with those of another; they come first."""
        first = self.firsts.get(index)
        return 0 if first is None else len(self.plan.together[first].position)

    def _from_pair(self, pair: LayerPair, index: int, other: int | None) -> Tensor:
        together = self.plan.together[pair.first]
        some = slice(len(together.position))
        first, second = (self._read(self.rows[i], index, other, some) for i in (pair.first, pair.second))
        g, others = (self.gradients[i][:, some] for i in (pair.first, pair.second))
        sums = self.sums[pair.first]
        between = first[0] - second[0], first[1] + second[1]
        near = (sums * together.half) @ self._size(second) + (g * together.half) @ self._size(between)
        one_by_one = (g * together.half) @ self._size(first) + (others * together.half) @ self._size(second)
        return torch.minimum(near, one_by_one) + (g * together.half_difference) @ self._size(first)

    def _size(self, value: Sized) -> Tensor:
        return value[0].abs() + self.share * value[1]

    def _read(self, rows: _Rows, index: int, other: int | None, some: slice = slice(None)) -> Sized:
        """Rows at the units of a node, or their sums with those at another's."""
        values, sizes = rows.at[index] if index in rows.at else self._nothing(rows, index)
        if other is None:
            return values[some], sizes[some]
        more = rows.at[other] if other in rows.at else self._nothing(rows, other)
        count = self._together(index)
        return (values[some, :count] + more[0][some, :count]), (sizes[some, :count] + more[1][some, :count])

    def _nothing(self, rows: _Rows, index: int) -> Sized:
        zero = rows.input_rows[0].new_zeros(len(rows.input_rows[0]), len(self.plan.units[index].position))
        return zero, zero

    def _own(self, index: int, some: slice) -> Sized:
        values, sizes = self.rows[index].input_rows
        return values[some], self.share * sizes[some]

    def _node_rows(self, index: int) -> _Rows:
        """The rows of a node's units, as many at once as the budget's memory allows."""
        node, units = self.graph.nodes[index], self.plan.units[index]
        assert isinstance(node, Relu | MaxPool | Curved)
        every = unit_row_blocks(self.graph, node.source, units, self.budget, copies=2)
        blocks = [self._carried(node.source, rows) for rows in every]
        if not blocks:
            inputs = torch.Size(self.graph.input_shape).numel()
            empty = torch.zeros(0, inputs, dtype=self.graph.dtype, device=self.graph.device)
            return _Rows({}, (empty, empty))
        at = {i: _stacked([block.at[i] for block in blocks]) for i in blocks[0].at}
        return _Rows(at, _stacked([block.input_rows for block in blocks]))

    def _carried(self, index: int, rows: Tensor) -> _Rows:
        centres, units = self.plan.centres, self.plan.units
        own, sizes = CentreSlopesPass(centres, units), _Magnitudes({i: c.abs() for i, c in centres.items()}, units)
        ends = [self.graph.backward([(index, part)], rules) for part, rules in ((rows, own), (rows.abs(), sizes))]
        zero = rows.new_zeros(len(rows), torch.Size(self.graph.input_shape).numel())
        value, size = (zero if end is None else end.flatten(1) for end in ends)
        return _Rows({i: (at, sizes.at[i]) for i, at in own.at.items()}, (value, size))


class _Magnitudes(CentreSlopesPass):
    """The magnitudes that rows are made of: those of a functional carried back with those of maps and centre slopes."""

    def back(self, map: LinearMap, value: Tensor) -> Tensor:
        return map.sizes().transpose(value)


def _stacked(parts: list[Sized]) -> Sized:
    rows, sizes = (torch.cat(part) for part in zip(*parts, strict=True))
    return rows, sizes
