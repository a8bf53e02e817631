"""Affine forms of pre-activations: one pass through a network with its stable units folded away.

Over the region a stable unit, whose sign is the same everywhere, is affine, so it needs no variable: pre-activations are
written over the displacement d of the movable inputs and the outputs h of the unstable units alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, form_rounding
from lipreg.budget import UNLIMITED, Budget
from lipreg.folding.arithmetic import column_blocks, column_maker, needs_digits
from lipreg.folding.displacements import Displacements
from lipreg.folding.units import UnstableUnits, phase_slopes, stably_active
from lipreg.graph import Affine, Relu
from lipreg.graph.passes import Forward, WithoutCurves, WithoutPools
from lipreg.linalg import Numbers


@dataclass(frozen=True)
class AffineForm:
    """on_input d + on_unit h + constant, one row an entry.

    Attributes:
        on_input: slopes by the displacement d of the m movable inputs, ``(entries, m)``.
        on_unit: slopes by the outputs h of the n unstable units, ``(entries, n)``.
        constant: at d = 0 and h = 0, ``(entries,)``.
        error: how far the true entry may be from the form anywhere in the region, ``(entries,)``.
    """

    on_input: Tensor
    on_unit: Tensor
    constant: Tensor
    error: Tensor

    def __getitem__(self, index: np.ndarray | Tensor | slice) -> AffineForm:
        return AffineForm(self.on_input[index], self.on_unit[index], self.constant[index], self.error[index])

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields as numpy arrays, in their order."""
        return self.on_input.numpy(), self.on_unit.numpy(), self.constant.numpy(), self.error.numpy()

    def over_first(self, units: int) -> AffineForm:
        """The form over the first units alone, where the later ones have no entries."""
        return AffineForm(self.on_input, self.on_unit[:, :units], self.constant, self.error)

    def to(self, device: torch.device | str) -> AffineForm:
        """The form on another device."""
        return AffineForm(*(part.to(device) for part in (self.on_input, self.on_unit, self.constant, self.error)))

    @staticmethod
    def stacked(forms: list[AffineForm], inputs: int, units: int) -> AffineForm:
        """The rows of several forms over the same variables, one form after another.

        Args:
            forms: any number of them, also none.
            inputs: m.
            units: n.
        """
        empty = torch.zeros(0, dtype=torch.float64)
        parts = [(f.on_input, f.on_unit, f.constant, f.error) for f in forms]
        parts.append((empty.reshape(0, inputs), empty.reshape(0, units), empty, empty))
        return AffineForm(*(torch.cat(part) for part in zip(*parts, strict=True)))


def value_forms(
    analysis: Analysis, units: UnstableUnits, domain: Displacements, budget: Budget | None = None
) -> tuple[AffineForm, AffineForm]:
    """Pre-activations of the unstable units over (d, h), one row a unit, and the network's outputs over the same.

    Args:
        analysis: of a single point.
        units: its unstable units.
        domain: the displacements of its region.
        budget: started; columns are made in blocks that its memory holds. None for no limit.

    Raises:
        OutOfBudget: the budget ended first.
    """
    graph, budget, parts = analysis.graph, budget or UNLIMITED, []
    wanted = [(node.source, units.position[at]) for i, node in graph.relus() if len(at := units.of(i))]
    wanted.append((len(graph.nodes) - 1, np.arange(graph.output.bias.numel())))
    for block in column_blocks(analysis, len(domain) + len(units) + 1, budget):
        rules = _Forms(analysis, units, domain, budget, block=block)
        values = graph.forward({0: rules.input()}, rules)
        parts.append([rules.part(values[source], entries) for source, entries in wanted])
    forms = []
    for (source, entries), blocks in zip(wanted, zip(*parts, strict=True), strict=True):
        columns, lost = torch.cat([block for block, _ in blocks]), torch.stack([error for _, error in blocks]).sum(0)
        forms.append(_form(analysis, source, columns, lost, len(domain), entries))
    return AffineForm.stacked(forms[:-1], len(domain), len(units)), forms[-1]


def cell_forms(
    analysis: Analysis, units: UnstableUnits, domain: Displacements, pattern: np.ndarray, budget: Budget | None = None
) -> tuple[AffineForm, Tensor]:
    """Pre-activations of every movable unit, over d, on the cell where the unstable units follow ``pattern``.

    A pass of its own: a cell has rows for stable units too, which may touch their kinks at the region's boundary, and where
    digits are taken the phases have to be multiplied out in them as well.

    Args:
        analysis: of a single point.
        units: its unstable units.
        domain: the displacements of its region.
        pattern: above 0.5 where a unit is active, ``(n,)``.
        budget: started; None for no limit.

    Returns:
        One row a unit, and the sign (1 active, -1 not) that the cell demands of it.

    Raises:
        OutOfBudget: the budget ended first.
    """
    rules = _Forms(analysis, units, domain, budget, pattern)
    values = analysis.graph.forward({0: rules.input()}, rules)
    forms, signs = [], [torch.zeros(0, dtype=torch.float64)]
    for index, node in analysis.graph.relus():
        movable = analysis.value_bounds[node.source].movable[0].flatten()
        forms.append(_form(analysis, node.source, *rules.part(values[node.source], movable), len(domain), movable))
        signs.append(torch.where(rules.active(index, node)[movable], 1.0, -1.0).double())
    return AffineForm.stacked(forms, len(domain), 0), torch.cat(signs)


class _Forms(WithoutCurves, WithoutPools, Forward[Numbers]):
    """Carries affine forms from the input on, as columns: one a displacement, one an unstable unit's output, the constant.

    In float64 the constant is the analysis's own value of the layers at x0, whose error ``form_rounding`` has; in digits x0
    itself goes through the layers, without an error. With a pattern, the unstable units follow it and have no columns.

    Args:
        block: which of the columns.
    """

    def __init__(
        self,
        analysis: Analysis,
        units: UnstableUnits,
        domain: Displacements,
        budget: Budget | None,
        pattern: np.ndarray | None = None,
        block: slice = slice(None),
    ) -> None:
        self.analysis, self.units, self.domain, self.pattern = analysis, units, domain, pattern
        self.budget = budget or UNLIMITED
        self.make, self.exact = column_maker(analysis), needs_digits(analysis)
        self.outputs = len(units) if pattern is None else 0
        self.constant = len(domain) + self.outputs
        self.columns = torch.arange(self.constant + 1)[block]

    def input(self) -> Numbers:
        """The columns of the input."""
        columns = self.with_constant(self.domain.region.center[0].flatten() * self.exact)
        here = (self.columns < len(self.domain)).nonzero().flatten()
        columns[here, self.domain.movable.nonzero().flatten()[self.columns[here]]] = 1.0
        return self.make(columns.reshape(-1, *self.analysis.graph.input_shape))

    def affine(self, index: int, node: Affine, values: Mapping[int, Numbers]) -> Numbers:
        if self.exact:
            total = node.constant(lambda part: self.make(self.with_constant(part)))
        else:
            total = self.make(self.with_constant(self.analysis.anchors[index].constant[0]))
        for source, map in node.terms():
            self.budget.check()
            total = values[source].through(map) + total
        return total

    def relu(self, index: int, node: Relu, value: Numbers) -> Numbers:
        self.budget.check()
        factor = phase_slopes(self.active(index, node), node)
        if self.pattern is not None:
            return value.times(factor.reshape(node.shape))
        at = torch.from_numpy(self.units.of(index))
        positions = torch.from_numpy(self.units.position)[at]
        factor[positions] = 0.0
        variables = factor.new_zeros(len(self.columns), len(factor))
        place = len(self.domain) + at - self.columns[0]
        here = (place >= 0) & (place < len(self.columns))
        variables[place[here], positions[here]] = 1.0
        return value.times(factor.reshape(node.shape)) + self.make(variables.reshape(-1, *node.shape))

    def active(self, index: int, node: Relu) -> Tensor:
        """Which units of a Relu node are on: the stable ones by their bounds, the others by the pattern."""
        active = stably_active(self.analysis, node)
        if self.pattern is not None:
            at = self.units.of(index)
            active[self.units.position[at]] = torch.from_numpy(self.pattern[at] > 0.5)
        return active

    def with_constant(self, constant: Tensor) -> Tensor:
        """Columns of which all but that of the constant are 0."""
        columns = torch.zeros(len(self.columns), *constant.shape, dtype=torch.float64)
        columns[self.columns == self.constant] = constant.double()
        return columns

    def part(self, value: Numbers, entries: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """The columns of some entries of an Affine node, and a bound on their errors in digits, all columns together."""
        self.budget.check()
        columns, lost = (part.flatten(1)[:, entries] for part in value.rounded())
        outputs = torch.from_numpy(self.units.size[: self.outputs])
        sizes = torch.cat([self.domain.size, outputs, torch.ones(1, dtype=torch.float64)])
        return columns, sizes[self.columns] @ lost


def _form(
    analysis: Analysis, index: int, columns: Tensor, lost: Tensor, inputs: int, entries: np.ndarray | Tensor
) -> AffineForm:
    """The form of some entries of an Affine node, from their columns and what digits lost of them, with its error."""
    error = lost if needs_digits(analysis) else form_rounding(analysis)[index][0].flatten()[entries]
    return AffineForm(columns[:inputs].T, columns[inputs:-1].T, columns[-1], error)
