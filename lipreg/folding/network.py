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
from lipreg.folding.arithmetic import needs_digits
from lipreg.folding.displacements import Displacements
from lipreg.folding.forms import AffineForm, value_forms
from lipreg.folding.gradients import gradient_forms
from lipreg.folding.ties import tied_units
from lipreg.folding.unit_pairs import UnitPairs, unit_pairs
from lipreg.folding.units import UnstableUnits, unstable_units
from lipreg.folding.work import fold_work, values_work
from lipreg.linalg import attained_norm, dual_norm, vector_norm
from lipreg.linalg.floats import EPS, SPARE


@dataclass(frozen=True)
class FoldedValues:
    """The forward half: one point's n unstable units, with stable units folded away as affine maps.

    With d the displacement of the m movable inputs, and h the units' outputs:

        z = z.on_input d + z.on_unit h + z.constant        (z.on_unit is strictly lower triangular by level)

    Attributes:
        units: the unstable units.
        domain: the displacements of the region.
        z: pre-activations of the units.
        output: the network's outputs over the same variables.
        levels: indices of the units of each Relu node, from the input to the output.
        negative_slope: slope of each unit's negative side, ``(n,)``.
        z_lower, z_upper: pre-activation bounds over the region, ``(n,)``.
        tied, sign: pairs of units on one hyperplane, ``(2, t)``, and whether they are active together (1) or in turn (-1).
        pairs: units of two networks that belong together.
    """

    units: UnstableUnits
    domain: Displacements
    z: AffineForm
    output: AffineForm
    levels: tuple[Tensor, ...]
    negative_slope: Tensor
    z_lower: Tensor
    z_upper: Tensor
    tied: Tensor
    sign: Tensor
    pairs: UnitPairs

    def to(self, device: torch.device | str) -> Self:
        """The network on another device; the unstable units stay numpy arrays."""
        return replace(self, **{f.name: _moved(getattr(self, f.name), device) for f in fields(self)})

    @property
    def count(self) -> int:
        """n, the number of unstable units."""
        return len(self.units)

    @property
    def inputs(self) -> int:
        """m, the number of movable inputs."""
        return len(self.domain)

    def before(self, node: int) -> FoldedValues:
        """The part of it before a Relu node, whose units come first."""
        units = self.units.before(node)
        first, tied = slice(len(units)), (self.tied < len(units)).all(0)
        z, levels = self.z[first].over_first(len(units)), tuple(level for level in self.levels if level[0] < len(units))
        slope, lower, upper = self.negative_slope[first], self.z_lower[first], self.z_upper[first]
        output = self.output.over_first(len(units))
        ties = self.tied[:, tied], self.sign[tied], self.pairs.before(len(units))
        return FoldedValues(units, self.domain, z, output, levels, slope, lower, upper, *ties)

    def leading(self, phase: Tensor, partly: int) -> Tensor:
        """The phases of those units alone whose pre-activations they make affine, 0 for the others, ``(k, n)``.

        They are those of levels up to the first with a unit that has no phase.

        Args:
            phase: 1 active, -1 not, 0 for a unit without a phase, ``(k, n)``.
            partly: the phases of that first level count too where with them there are at least so many.
        """
        whole, leading = torch.ones(len(phase), 1, dtype=torch.bool, device=phase.device), torch.zeros_like(phase)
        for level in self.levels:
            more = leading.clone()
            more[:, level] = phase[:, level] * whole
            whole = whole & (phase[:, level] != 0).all(-1, keepdim=True)
            enough = whole | ((more != 0).sum(-1, keepdim=True) >= partly)
            leading = torch.where(enough, more, leading)
        return leading

    def phases(self, displacements: Tensor) -> Tensor:
        """The phase of every unit at displacements ``(k, m)``: 1 active, -1 not; ``(k, n)`` int8."""
        z = displacements @ self.z.on_input.T + self.z.constant
        h = torch.zeros_like(z)
        for level in self.levels:
            at_level = z[:, level] + h @ self.z.on_unit[level].T
            z[:, level] = at_level
            h[:, level] = torch.where(at_level > 0, at_level, at_level * self.negative_slope[level])
        return torch.where(z > 0, 1, -1).to(torch.int8)


@dataclass(frozen=True)
class FoldedNetwork(FoldedValues):
    """Pre-activations and gradients of one point's n unstable units.

    With a in {0, 1} the units' phases and w = a g their switched gradients, for each functional r:

        g = g_unit w + g_offset[r]                   (g_unit is strictly upper triangular by level)
        c_r^T J = j_unit w + j_offset[r]

    Attributes:
        g_unit, g_offset: of g, ``(n, n)`` and ``(rows, n)``.
        j_unit, j_offset: of the gradient by the k inputs that are measured, each times its weight, ``(k, n)`` and
            ``(rows, k)``.
        row_rounding: what a bound on the norm of each row's gradient must be widened by for float64, ``(rows,)``: of layers
            multiplied out, of these tensors' own entries wherever the phases take them, and of sums over them.
        z_rounding: what a bound on a pre-activation must be widened by, ``(n,)``.
        p: norm of input distances; gradients are measured in its dual.
        q: norm of output distances where all rows are one operator; None where the question is the largest of the rows.
        exclusive: pairs of sides that no point of the region has together, ``(2, e)``: side i < n is unit i active, side
            n + i that it is not. None until a search looks for them.

    The constant is the largest norm over families: a row each; of an operator its columns where p = 1, else all in one.
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
    def family_count(self) -> int:
        """How many norms there are of which the constant is the largest."""
        return self.rows if self.q is None else len(self.j_unit) if self.p == 1.0 else 1

    @cached_property
    def backward_steps(self) -> tuple[tuple[Tensor | slice, Tensor, Tensor, Tensor], ...]:
        """What a pass over g reads of each level, the output's first, made once for all nodes of a search.

        These are the units of the level, as a slice where they follow each other; of g there the offsets, ``(rows, k)``, and
        the map of w and its magnitudes, transposed, ``(n, k)``.
        """
        steps = []
        for level in reversed(self.levels):
            first, last, unit = int(level[0]), int(level[-1]), self.g_unit[level]
            at = slice(first, last + 1) if last - first + 1 == len(level) else level
            steps.append((at, self.g_offset[:, level], unit.T, unit.abs().T))
        return tuple(steps)

    @cached_property
    def entry_sizes(self) -> Tensor:
        """The magnitudes of ``j_unit``, transposed, ``(n, k)``."""
        return self.j_unit.abs().T

    @cached_property
    def rounding(self) -> Tensor:
        """What a bound on the norm of each family must be widened by, ``(families,)``."""
        if self.q is None:
            return self.row_rounding
        # the norm of the rows' errors, which no column's exceeds
        return vector_norm(self.row_rounding, self.q).expand(self.family_count)

    def norm(self, gradients: Tensor) -> Tensor:
        """|gradients|_{p*} over the last dimension."""
        return vector_norm(gradients, dual_norm(self.p))

    def gradient_norms(self, phase: Tensor) -> Tensor:
        """The norm of every family where all phases are fixed, ``(k, families)``; of an operator an attained lower bound.

        Args:
            phase: 1 active, -1 not, ``(k, n)``.
        """
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
    """The forward half of a single-point analysis's folded network, which is made once and dropped with the analysis.

    Args:
        analysis: of a single point.
        budget: started; folding stops within one map of its end. None for that of the analysis.

    Raises:
        OutOfBudget: it ended first, or is far from enough; a network that is half folded is dropped.
    """
    return analysis.within(budget).memoised(_fold_values)


def fold(analysis: Analysis, budget: Budget | None = None) -> FoldedNetwork:
    """The folded network of a single-point analysis in regional scope, which is made once and dropped with it.

    Args and errors are those of ``fold_values``.
    """
    return analysis.within(budget).memoised(_fold)


def _fold_values(analysis: Analysis) -> FoldedValues:
    analysis.budget.require(values_work(analysis))
    units, domain = unstable_units(analysis), Displacements.within(analysis.placed.region)
    z, output = value_forms(analysis, units, domain, analysis.budget)
    levels = tuple(torch.from_numpy(units.of(node)) for node in np.unique(units.node))
    slope, lower, upper = (torch.from_numpy(column) for column in (units.negative_slope, units.lower, units.upper))
    ties = *tied_units(analysis, units), unit_pairs(analysis, units)[0]
    return FoldedValues(units, domain, z, output, levels, slope, lower, upper, *ties)


def _fold(analysis: Analysis) -> FoldedNetwork:
    analysis.budget.require(fold_work(analysis))
    values, placed = fold_values(analysis), analysis.placed
    gradients = gradient_forms(analysis, values.units, analysis.budget)
    network = FoldedNetwork(
        **vars(values),
        **vars(gradients),
        row_rounding=placed.row_norms(gradient_rounding(analysis)[0])[0] * (not needs_digits(analysis)),
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
    """The sums of magnitudes behind each functional's gradient, in norm ``(rows,)``, and each pre-activation ``(n,)``."""
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
    return part.to(device) if isinstance(part, Tensor | AffineForm | Displacements | UnitPairs) else part
