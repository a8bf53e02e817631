"""Affine forms of pre-activations: one pass through a network with its stable units folded away.

Over the region, a unit whose sign is decided is affine, so it needs no variable: pre-activations are written over the
displacement d of the inputs that can move and the outputs h of the unstable units alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, form_rounding
from lipreg.budget import FREE, Budget
from lipreg.folding.arithmetic import blocks, columns, exactly
from lipreg.folding.displacements import Displacements
from lipreg.folding.units import Units, active, slopes
from lipreg.graph import Affine, Relu
from lipreg.graph.passes import Forward, WithoutCurves, WithoutPools
from lipreg.linalg import Numbers


@dataclass(frozen=True)
class Form:
    """on_input d + on_unit h + constant, one row an entry: ``(entries, m)``, ``(entries, n)`` and ``(entries,)``.

    Attributes:
        error: how far the true entry may be from the form anywhere in the region, ``(entries,)``.
    """

    on_input: Tensor
    on_unit: Tensor
    constant: Tensor
    error: Tensor

    def __getitem__(self, chosen: np.ndarray | Tensor | slice) -> Form:
        return Form(self.on_input[chosen], self.on_unit[chosen], self.constant[chosen], self.error[chosen])

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The same for numpy, in the order of the fields."""
        return self.on_input.numpy(), self.on_unit.numpy(), self.constant.numpy(), self.error.numpy()

    def over_first(self, units: int) -> Form:
        """The same where no later unit has an entry."""
        return Form(self.on_input, self.on_unit[:, :units], self.constant, self.error)

    def to(self, device: torch.device | str) -> Form:
        """The same on another device."""
        return Form(*(part.to(device) for part in (self.on_input, self.on_unit, self.constant, self.error)))

    @staticmethod
    def stacked(forms: list[Form], inputs: int, units: int) -> Form:
        """The rows of several forms over as many variables."""
        empty = torch.zeros(0, dtype=torch.float64)
        parts = [(f.on_input, f.on_unit, f.constant, f.error) for f in forms]
        parts.append((empty.reshape(0, inputs), empty.reshape(0, units), empty, empty))
        return Form(*(torch.cat(part) for part in zip(*parts, strict=True)))


def value_forms(
    analysis: Analysis, units: Units, domain: Displacements, budget: Budget | None = None
) -> tuple[Form, Form]:
    """Pre-activations of the unstable units over (d, h), one row a unit, and the network's outputs over the same.

    As many columns of them at a time as the budget's memory holds.

    Raises:
        OutOfBudget: the budget, which is started, ended first.
    """
    graph, budget, parts = analysis.graph, budget or FREE, []
    asked = [(node.source, units.position[at]) for i, node in graph.relus() if len(at := units.of(i))]
    asked.append((len(graph.nodes) - 1, np.arange(graph.output.bias.numel())))
    for block in blocks(analysis, len(domain) + len(units) + 1, budget):
        rules = _Forms(analysis, units, domain, budget, block=block)
        found = graph.forward({0: rules.input()}, rules)
        parts.append([rules.part(found[source], chosen) for source, chosen in asked])
    forms = []
    for (source, chosen), own in zip(asked, zip(*parts, strict=True), strict=True):
        whole, lost = torch.cat([part for part, _ in own]), torch.stack([part for _, part in own]).sum(0)
        forms.append(_form(analysis, source, whole, lost, len(domain), chosen))
    return Form.stacked(forms[:-1], len(domain), len(units)), forms[-1]


def cell_forms(
    analysis: Analysis, units: Units, domain: Displacements, pattern: np.ndarray, budget: Budget | None = None
) -> tuple[Form, Tensor]:
    """Pre-activations of every unit that can move, over d, on the cell where the unstable units follow ``pattern``.

    A pass of its own: a cell has rows for stable units too, which may touch their kinks at the region's boundary, and where
    digits are taken the phases have to be multiplied out in them as well.

    Returns:
        One row a unit, and the sign (1 active, -1 not) that the cell demands of it.

    Raises:
        OutOfBudget: the budget, which is started, ended first.
    """
    rules = _Forms(analysis, units, domain, budget, pattern)
    found = analysis.graph.forward({0: rules.input()}, rules)
    forms, signs = [], [torch.zeros(0, dtype=torch.float64)]
    for index, node in analysis.graph.relus():
        moves = analysis.reach[node.source].moves[0].flatten()
        forms.append(_form(analysis, node.source, *rules.part(found[node.source], moves), len(domain), moves))
        signs.append(torch.where(rules.active(index, node)[moves], 1.0, -1.0).double())
    return Form.stacked(forms, len(domain), 0), torch.cat(signs)


class _Forms(WithoutCurves, WithoutPools, Forward[Numbers]):
    """Carries affine forms from the input on, as columns: one a displacement, one an unstable unit's output, the constant.

    The constant is in float64 what the analysis knows of the layers at x0, whose error ``form_rounding`` has; in digits x0
    itself goes through the layers, without one. Where a pattern is given, the unstable units follow it and have no columns.

    Args:
        block: which of the columns.
    """

    def __init__(
        self,
        analysis: Analysis,
        units: Units,
        domain: Displacements,
        budget: Budget | None,
        pattern: np.ndarray | None = None,
        block: slice = slice(None),
    ) -> None:
        self.analysis, self.units, self.domain, self.pattern = analysis, units, domain, pattern
        self.budget = budget or FREE
        self.make, self.exact = columns(analysis), exactly(analysis)
        self.outputs = len(units) if pattern is None else 0
        self.constant = len(domain) + self.outputs
        self.columns = torch.arange(self.constant + 1)[block]

    def input(self) -> Numbers:
        """The columns of the input."""
        own = self.with_constant(self.domain.region.center[0].flatten() * self.exact)
        here = (self.columns < len(self.domain)).nonzero().flatten()
        own[here, self.domain.moves.nonzero().flatten()[self.columns[here]]] = 1.0
        return self.make(own.reshape(-1, *self.analysis.graph.input_shape))

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
        factor = slopes(self.active(index, node), node)
        if self.pattern is not None:
            return value.times(factor.reshape(node.shape))
        at = torch.from_numpy(self.units.of(index))
        chosen = torch.from_numpy(self.units.position)[at]
        factor[chosen] = 0.0
        variables = factor.new_zeros(len(self.columns), len(factor))
        place = len(self.domain) + at - self.columns[0]
        here = (place >= 0) & (place < len(self.columns))
        variables[place[here], chosen[here]] = 1.0
        return value.times(factor.reshape(node.shape)) + self.make(variables.reshape(-1, *node.shape))

    def active(self, index: int, node: Relu) -> Tensor:
        """Which units of a Relu node are on: the stable ones by their bounds, the others by the pattern."""
        found = active(self.analysis, node)
        if self.pattern is not None:
            at = self.units.of(index)
            found[self.units.position[at]] = torch.from_numpy(self.pattern[at] > 0.5)
        return found

    def with_constant(self, constant: Tensor) -> Tensor:
        """Columns of which all but that of the constant are 0."""
        own = torch.zeros(len(self.columns), *constant.shape, dtype=torch.float64)
        own[self.columns == self.constant] = constant.double()
        return own

    def part(self, value: Numbers, chosen: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """The columns of some entries of an Affine node, and what they may be off by in digits, all together."""
        self.budget.check()
        own, lost = (part.flatten(1)[:, chosen] for part in value.rounded())
        outputs = torch.from_numpy(self.units.size[: self.outputs])
        sizes = torch.cat([self.domain.size, outputs, torch.ones(1, dtype=torch.float64)])
        return own, sizes[self.columns] @ lost


def _form(analysis: Analysis, index: int, own: Tensor, lost: Tensor, inputs: int, chosen: np.ndarray | Tensor) -> Form:
    """The form of some entries of an Affine node, with what it may be off by."""
    error = lost if exactly(analysis) else form_rounding(analysis)[index][0].flatten()[chosen]
    return Form(own[:inputs].T, own[inputs:-1].T, own[-1], error)
