"""The network over its unstable units alone: small dense tensors, which searches and programs share."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, gradient_rounding, underflow
from lipreg.budget import Budget
from lipreg.folding.arithmetic import exactly
from lipreg.folding.displacements import Displacements
from lipreg.folding.forms import Form, value_forms
from lipreg.folding.gradients import gradient_forms
from lipreg.folding.ties import tied_units
from lipreg.folding.unit_pairs import UnitPairs, unit_pairs
from lipreg.folding.units import Units, unstable_units
from lipreg.folding.work import fold_work, values_work
from lipreg.linalg import attained_norm, dual_norm, vector_norm
from lipreg.linalg.floats import EPS, SPARE


@dataclass(frozen=True)
class FoldedValues:
    """The forward half: one point's n unstable units, with stable units folded away as affine maps.

    With d the displacement of the m inputs that can move, and h the units' outputs:

        z = z.on_input d + z.on_unit h + z.constant        (z.on_unit is strictly lower triangular by level)

    Attributes:
        units: the unstable units.
        domain: the displacements of the region.
        z: pre-activations of the units.
        output: the network's outputs over the same variables.
        levels: indices of the units of each Relu node, from the input to the output.
        leak: slope of each unit's negative side, ``(n,)``; a stands for what exceeds it.
        z_lower, z_upper: pre-activation bounds over the region, ``(n,)``.
        tied, sign: pairs of units on one hyperplane, ``(2, t)``, and whether they are active together (1) or in turn (-1).
        pairs: units of two networks that belong together.
    """

    units: Units
    domain: Displacements
    z: Form
    output: Form
    levels: tuple[Tensor, ...]
    leak: Tensor
    z_lower: Tensor
    z_upper: Tensor
    tied: Tensor
    sign: Tensor
    pairs: UnitPairs

    def to(self, device: torch.device | str) -> Self:
        """The same with the tensors that nodes are bounded with on another device."""
        return replace(self, **{f.name: _moved(getattr(self, f.name), device) for f in fields(self)})

    @property
    def count(self) -> int:
        """n, the number of unstable units."""
        return len(self.units)

    @property
    def inputs(self) -> int:
        """m, the number of inputs that can move."""
        return len(self.domain)

    def before(self, node: int) -> FoldedValues:
        """The part of it before a Relu node, whose units come first."""
        units = self.units.before(node)
        kept, tied = slice(len(units)), (self.tied < len(units)).all(0)
        z, levels = self.z[kept].over_first(len(units)), tuple(level for level in self.levels if level[0] < len(units))
        leak, lower, upper = self.leak[kept], self.z_lower[kept], self.z_upper[kept]
        output = self.output.over_first(len(units))
        ties = self.tied[:, tied], self.sign[tied], self.pairs.before(len(units))
        return FoldedValues(units, self.domain, z, output, levels, leak, lower, upper, *ties)

    def leading(self, phase: Tensor, partly: int) -> Tensor:
        """Phases ``(k, n)`` of those units alone whose pre-activations they make affine: of levels up to the first that is
        not decided throughout. Of that one only where with it there are at least ``partly`` of them."""
        known, found = torch.ones(len(phase), 1, dtype=torch.bool, device=phase.device), torch.zeros_like(phase)
        for level in self.levels:
            more = found.clone()
            more[:, level] = phase[:, level] * known
            known = known & (phase[:, level] != 0).all(-1, keepdim=True)
            enough = known | ((more != 0).sum(-1, keepdim=True) >= partly)
            found = torch.where(enough, more, found)
        return found

    def phases(self, displacements: Tensor) -> Tensor:
        """The phase of every unit at displacements ``(k, m)``: 1 active, -1 not; ``(k, n)`` int8."""
        z = displacements @ self.z.on_input.T + self.z.constant
        h = torch.zeros_like(z)
        for level in self.levels:
            own = z[:, level] + h @ self.z.on_unit[level].T
            z[:, level] = own
            h[:, level] = torch.where(own > 0, own, own * self.leak[level])
        return torch.where(z > 0, 1, -1).to(torch.int8)


@dataclass(frozen=True)
class FoldedNetwork(FoldedValues):
    """Pre-activations and gradients of one point's n unstable units.

    With a in {0, 1} the units' phases and w = a g their switched gradients, for each functional r:

        g = g_unit w + g_offset[r]                   (g_unit is strictly upper triangular by level)
        c_r^T J = j_unit w + j_offset[r]

    Attributes:
        g_unit, g_offset: ``(n, n)`` and ``(rows, n)``.
        j_unit, j_offset: over the k inputs that are measured, each times its weight, ``(k, n)`` and ``(rows, k)``.
        row_rounding: what a bound on the norm of each row's gradient must be widened by for float64, ``(rows,)``: of layers
            multiplied out, of these tensors' own entries wherever the phases take them, and of sums over them.
        z_rounding: what a bound on a pre-activation must be widened by, ``(n,)``.
        p: norm of input distances; gradients are measured in its dual.
        q: norm of output distances where all rows are one operator; None where the largest of the rows is asked for.
        exclusive: pairs of sides that no point of the region has together, ``(2, e)``: side i < n is unit i active, side
            n + i that it is not. None of them until a search looks for them.

    What is bounded is the largest over families: a row each; of an operator its columns where p = 1, else all in one.
    """

    g_unit: Tensor
    g_offset: Tensor
    j_unit: Tensor
    j_offset: Tensor
    row_rounding: Tensor
    z_rounding: Tensor
    p: float
    q: float | None
    exclusive: Tensor = field(default_factory=lambda: torch.zeros(2, 0, dtype=torch.long))

    @property
    def rows(self) -> int:
        """How many functionals there are."""
        return len(self.g_offset)

    @property
    def families(self) -> int:
        """How many norms there are of which the largest is sought."""
        return self.rows if self.q is None else len(self.j_unit) if self.p == 1.0 else 1

    @cached_property
    def rounding(self) -> Tensor:
        """What a bound on each family's norm must be widened by, ``(families,)``."""
        if self.q is None:
            return self.row_rounding
        # the norm of the rows' errors, which no column's exceeds
        return vector_norm(self.row_rounding, self.q).expand(self.families)

    def norm(self, gradients: Tensor) -> Tensor:
        """|gradients|_{p*} over the last dimension."""
        return vector_norm(gradients, dual_norm(self.p))

    def gradient_norms(self, phase: Tensor) -> Tensor:
        """The norm of every family where all phases are fixed, ``(k, families)``; of an operator what it attains."""
        active = (phase > 0).to(self.j_unit).unsqueeze(1)
        w = active.new_zeros(len(phase), self.rows, self.count)
        for level in reversed(self.levels):
            w[..., level] = active[..., level] * (self.g_offset[:, level] + w @ self.g_unit[level].T)
        gradients = self.j_offset + w @ self.j_unit.T
        if self.q is None:
            return self.norm(gradients)
        if self.p == 1.0:
            return vector_norm(gradients.mT, self.q)
        return attained_norm(gradients, self.p, self.q).unsqueeze(-1)


def fold_values(analysis: Analysis, budget: Budget | None = None) -> FoldedValues:
    """The forward half of a single-point analysis's folded network, which is made once and ends with the analysis.

    Args:
        budget: started; folding goes on to its end, and no further than the map at hand. None for no limit.

    Raises:
        OutOfBudget: it ended first, or is far from enough; nothing is kept of a network that is half folded.
    """
    return analysis.derived(_fold_values, budget)


def fold(analysis: Analysis, budget: Budget | None = None) -> FoldedNetwork:
    """The folded network of a single-point analysis in regional scope, which is made once and ends with the analysis.

    Args and errors are those of ``fold_values``.
    """
    return analysis.derived(_fold, budget)


def _fold_values(analysis: Analysis, budget: Budget | None) -> FoldedValues:
    if budget is not None:
        budget.require(values_work(analysis))
    units, domain = unstable_units(analysis), Displacements.within(analysis.placed.region)
    z, output = value_forms(analysis, units, domain, budget)
    levels = tuple(torch.from_numpy(units.of(node)) for node in np.unique(units.node))
    leak, lower, upper = (torch.from_numpy(column) for column in (units.leak, units.lower, units.upper))
    ties = *tied_units(analysis, units), unit_pairs(analysis, units)[0]
    return FoldedValues(units, domain, z, output, levels, leak, lower, upper, *ties)


def _fold(analysis: Analysis, budget: Budget | None) -> FoldedNetwork:
    if budget is not None:
        budget.require(fold_work(analysis))
    values, placed = fold_values(analysis, budget), analysis.placed
    gradients = gradient_forms(analysis, values.units, values.domain, budget)
    network = FoldedNetwork(
        **vars(values),
        **vars(gradients),
        row_rounding=placed.row_norms(gradient_rounding(analysis)[0])[0] * (not exactly(analysis)),
        z_rounding=values.z.error,
        p=placed.problem.p,
        q=placed.problem.q,
    )
    size, z_size = _magnitudes(network)
    length = EPS * (1 + len(network.levels)) * (network.count + network.inputs + SPARE)
    return replace(
        network,
        row_rounding=network.row_rounding + length * size + underflow(analysis)[0],
        z_rounding=2.0 * (network.z_rounding + length * z_size),
    )


def _magnitudes(network: FoldedNetwork) -> tuple[Tensor, Tensor]:
    """The sums of magnitudes that make up each functional's gradient, in norm ``(rows,)``, and each unit ``(n,)``."""
    w = torch.zeros_like(network.g_offset)
    for level in reversed(network.levels):
        w[:, level] = network.g_offset[:, level].abs() + w @ network.g_unit[level].abs().T
    z = network.z.constant.abs() + network.z.on_input.abs() @ network.domain.size
    for level in network.levels:
        z[level] = z[level] + network.z.on_unit[level].abs() @ z
    return network.norm(network.j_offset.abs() + w @ network.j_unit.abs().T), z


def _moved(part: Any, device: torch.device | str) -> Any:
    """A field of a folded network on another device; what is no tensor stays."""
    if isinstance(part, tuple):
        return tuple(level.to(device) for level in part)
    return part.to(device) if isinstance(part, Tensor | Form | Displacements | UnitPairs) else part
