"""Gradients over the switched gradients of the unstable units: one pass back through a network with stable units folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import UNLIMITED, Budget
from lipreg.errors import LipregError
from lipreg.folding.arithmetic import DIGIT_FACTORS, column_blocks, column_maker, is_accurate, needs_digits
from lipreg.folding.units import UnstableUnits, phase_slopes, stably_active
from lipreg.graph import Relu
from lipreg.graph.passes import Backward, WithoutCurves, WithoutPools
from lipreg.linalg import LinearMap, Numbers


@dataclass(frozen=True)
class GradientForms:
    """Gradients of functionals r over w, the switched gradients of the n unstable units.

    Attributes:
        g_unit, g_offset: with respect to the output of each unstable unit, g = g_unit w + g_offset[r]; ``(n, n)`` and
            ``(rows, n)``.
        j_unit, j_offset: with respect to each of the k inputs that are measured, times its weight, j_unit w + j_offset[r];
            ``(k, n)`` and ``(rows, k)``.
    """

    g_unit: Tensor
    g_offset: Tensor
    j_unit: Tensor
    j_offset: Tensor


def gradient_forms(analysis: Analysis, units: UnstableUnits, budget: Budget | None = None) -> GradientForms:
    """The gradients of every row of a single-point analysis.

    A unit with slope a on its negative side passes on a g + (1 - a) w, where w = g when it is active and 0 when not. The
    entries are as float64 has them, or, where digits are taken, accurate to a few units in the last place.

    Args:
        analysis: of a single point.
        units: its unstable units.
        budget: started; columns are made in blocks that its memory holds. None for no limit.

    Raises:
        LipregError: entries are too many orders of magnitude apart for that.
        OutOfBudget: the budget ended first.
    """
    rows = analysis.placed.rows[0].double()
    # of rows that are more than the outputs the gradients are combinations of those of the outputs; not where digits are
    # taken, because what is accurate to the last place may cancel
    apart = needs_digits(analysis) or len(rows) <= rows.shape[1]
    seed = rows if apart else torch.eye(rows.shape[1], dtype=torch.float64)
    for more in DIGIT_FACTORS:
        forms = _gradient_forms(analysis, units, seed, column_maker(analysis, more), budget)
        if forms is None:
            continue
        if apart:
            return forms
        return GradientForms(forms.g_unit, rows @ forms.g_offset, forms.j_unit, rows @ forms.j_offset)
    raise LipregError(
        "weights are too many orders of magnitude apart to be multiplied out",
        where="folding a network",
        todo="Rescale the layers",
    )


def _gradient_forms(
    analysis: Analysis,
    units: UnstableUnits,
    seed: Tensor,
    make: Callable[[Tensor], Numbers],
    budget: Budget | None,
) -> GradientForms | None:
    """The gradients of functionals ``(k, outputs)`` in one arithmetic; None where it has not enough digits."""
    graph, count, budget = analysis.graph, len(units), budget or UNLIMITED
    start = torch.cat([torch.zeros(count, seed.shape[1], dtype=torch.float64), seed])
    weights = analysis.placed.weights[0].flatten().double()
    g = torch.zeros(len(start), count, dtype=torch.float64)
    entries = torch.zeros(len(start), int((weights > 0).sum()), dtype=torch.float64)
    for block in column_blocks(analysis, len(start), budget):
        rules = _Gradients(analysis, units, range(*block.indices(len(start))), make, budget)
        columns = make(start[block].reshape(-1, *graph.output.shape))
        at_input = graph.backward([(len(graph.nodes) - 1, columns)], rules)
        g[block] = rules.g
        if at_input is not None:
            entries[block] = (rules.as_float64(at_input) * weights)[:, weights > 0]
        if not rules.sharp:
            return None
    return GradientForms(g[:count].T.contiguous(), g[count:], entries[:count].T.contiguous(), entries[count:])


class _Gradients(WithoutCurves, WithoutPools, Backward[Numbers]):
    """Carries some columns of gradients back, one a switched gradient and one a functional; ``g`` has those of the units."""

    def __init__(
        self,
        analysis: Analysis,
        units: UnstableUnits,
        columns: range,
        make: Callable[[Tensor], Numbers],
        budget: Budget,
    ) -> None:
        self.analysis, self.units, self.columns, self.make, self.budget = analysis, units, columns, make, budget
        # stays 0 where the output does not depend on a unit
        self.g = torch.zeros(len(columns), len(units), dtype=torch.float64)
        self.sharp = True

    def back(self, map: LinearMap, value: Numbers) -> Numbers:
        self.budget.check()
        return value.back(map)

    def relu(self, index: int, node: Relu, value: Numbers) -> Numbers:
        self.budget.check()
        at = torch.from_numpy(self.units.of(index))
        positions = torch.from_numpy(self.units.position)[at]
        self.g[:, at] = self.as_float64(value)[:, positions]
        # fixed units pass nothing on to a movable input
        movable = self.analysis.value_bounds[node.source].movable[0].flatten()
        scale = phase_slopes(stably_active(self.analysis, node), node) * movable
        scale[positions] = node.slope
        switched = torch.zeros(len(self.g), len(scale), dtype=torch.float64)
        here = (at >= self.columns.start) & (at < self.columns.stop)
        switched[at[here] - self.columns.start, positions[here]] = 1.0 - node.slope
        return value.times(scale.reshape(node.shape)) + self.make(switched.reshape(-1, *node.shape))

    def as_float64(self, value: Numbers) -> Tensor:
        """The entries as float64 has them, ``(columns, entries)``; ``sharp`` records whether they are accurate."""
        entries, error = (part.flatten(1) for part in value.rounded())
        self.sharp = self.sharp and is_accurate(entries, error)
        return entries
