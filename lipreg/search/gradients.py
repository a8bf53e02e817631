"""Upper bounds on the gradient's norm within a node, from its phases.

An unstable unit passes w = a g on with a in {0, 1}, so w lies between 0 and g. The gradient is bounded in both orders of
multiplication, and each entry lies in both results:

- ``interval``: from the output to the input, level by level, in intervals. Cheapest: it also judges children in branching.
- ``fold_phases``: from the input to the output, with units of fixed phase multiplied out exactly, so that the gradient is
  affine in the unstable w, where ``semidefinite`` takes over.

Nodes come as their phases ``(N, n)``, 1 active, -1 not, 0 unstable, and the functional of each, ``(N,)``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.intervals import Ends
from lipreg.bounds.semidefinite import norm_bound
from lipreg.folding import FoldedNetwork
from lipreg.search.operators import entrywise_bound


@dataclass(frozen=True)
class GradientIntervals:
    """Intervals of every unit's gradient g, and of w = a g, what the unit passes on.

    Attributes:
        center, radius: w lies in center +- radius, ``(N, n)``.
        g_lower, g_upper: bounds on g, ``(N, n)``.
    """

    center: Tensor
    radius: Tensor
    g_lower: Tensor
    g_upper: Tensor

    def __getitem__(self, index: Tensor) -> GradientIntervals:
        return GradientIntervals(self.center[index], self.radius[index], self.g_lower[index], self.g_upper[index])


def interval(network: FoldedNetwork, phase: Tensor, row: Tensor) -> GradientIntervals:
    """Intervals of g and w, from the output to the input.

    Args:
        network: the folded network.
        phase: ``(N, n)``.
        row: the functional of each node, ``(N,)``.
    """
    return passed_back(network, row, lambda low, high, level: _switched(low, high, phase[:, level]))


def passed_back(
    network: FoldedNetwork, row: Tensor, passed: Callable[[Tensor, Tensor, Tensor | slice], Ends]
) -> GradientIntervals:
    """Intervals of g and w = a g, from the output to the input.

    Args:
        network: the folded network.
        row: the functional of each node, ``(N,)``.
        passed: from the ends of g and the units of a level to the ends of w.
    """
    center = network.g_offset.new_zeros(len(row), network.count)
    radius, g_lower, g_upper = (torch.zeros_like(center) for _ in range(3))
    for level, offset, unit, size in network.backward_steps:
        middle, spread = offset.index_select(0, row) + center @ unit, radius @ size
        low, high = middle - spread, middle + spread
        g_lower[:, level], g_upper[:, level] = low, high
        low, high = passed(low, high, level)
        center[:, level], radius[:, level] = (low + high) / 2, (high - low) / 2
    return GradientIntervals(center, radius, g_lower, g_upper)


def interval_entries(network: FoldedNetwork, row: Tensor, w: GradientIntervals) -> tuple[Tensor, Tensor]:
    """Center and radius of every entry of the gradient, ``(N, m)`` each.

    Args:
        network: the folded network.
        row: the functional of each node, ``(N,)``.
        w: intervals of what the units pass on.
    """
    return network.j_offset.index_select(0, row) + w.center @ network.j_unit.T, w.radius @ network.entry_sizes


def entry_ranges(network: FoldedNetwork, phase: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper ends of every entry of the gradient, ``(N, m)`` each.

    Args:
        network: the folded network.
        phase: ``(N, n)``.
        row: the functional of each node, ``(N,)``.
    """
    center, radius = interval_entries(network, row, interval(network, phase, row))
    return center - radius, center + radius


def interval_bound(network: FoldedNetwork, phase: Tensor, row: Tensor) -> Tensor:
    """The norm of the entries' larger magnitudes, an upper bound with the network's rounding, ``(N,)``.

    Args:
        network: the folded network.
        phase: ``(N, n)``.
        row: the functional, or family, of each node, ``(N,)``.
    """
    if network.q is not None:
        return entrywise_bound(network, *_every_row(network, phase, row)) + network.rounding[row]
    center, radius = interval_entries(network, row, interval(network, phase, row))
    return network.norm(center.abs() + radius) + network.rounding[row]


def gradient_bounds(network: FoldedNetwork, phase: Tensor, row: Tensor) -> Generator[Tensor, Tensor, None]:
    """Bounds on the norm within nodes, one after another, each tighter and dearer than the one before.

    Without the network's rounding. After each it is sent which of its nodes are still open, ``(N,)``, and goes on with them.

    Args:
        network: the folded network.
        phase: ``(N, n)``.
        row: the functional, or family, of each node, ``(N,)``.
    """
    if network.q is not None:
        yield entrywise_bound(network, *_every_row(network, phase, row))
        return
    w = interval(network, phase, row)
    center, radius = interval_entries(network, row, w)
    kept = yield network.norm(center.abs() + radius)
    phase, row, w, center, radius = phase[kept], row[kept], w[kept], center[kept], radius[kept]
    folded = fold_phases(network, phase, row, w)
    around = folded.generators.abs().sum(-1)
    low = torch.maximum(center - radius, folded.center - around)
    high = torch.minimum(center + radius, folded.center + around)
    kept = yield network.norm(torch.maximum(-low, high).clamp(min=0.0))
    if network.p != 1.0:
        yield norm_bound(folded.center[kept], folded.generators[kept], network.p)


def _every_row(network: FoldedNetwork, phase: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Center and radius of the entries of an operator's families, ``(N, rows, columns)`` each."""
    count, rows = len(phase), network.rows
    every = torch.arange(rows, device=row.device).repeat(count)
    w = interval(network, phase.repeat_interleave(rows, 0), every)
    parts = [part.reshape(count, rows, len(network.j_unit)) for part in interval_entries(network, every, w)]
    if network.p == 1.0:
        parts = [part.gather(2, row.reshape(-1, 1, 1).expand(-1, rows, 1)) for part in parts]
    return parts[0], parts[1]


@dataclass(frozen=True)
class GradientZonotope:
    """The gradient as center + generators t, t in [-1, 1]^n, with fixed phases multiplied out.

    Attributes:
        center: ``(N, m)``.
        generators: one column a unit, 0 where its phase is fixed, ``(N, m, n)``.
    """

    center: Tensor
    generators: Tensor

    def __getitem__(self, index: Tensor) -> GradientZonotope:
        return GradientZonotope(self.center[index], self.generators[index])


def fold_phases(network: FoldedNetwork, phase: Tensor, row: Tensor, w: GradientIntervals) -> GradientZonotope:
    """The gradient over the unstable w alone, w itself bounded by the folded g where that is tighter.

    Args:
        network: the folded network.
        phase: ``(N, n)``.
        row: the functional of each node, ``(N,)``.
        w: intervals of what the units pass on.
    """
    center, radius = _folded_switched(network, phase, row, w)
    active, unstable = (phase == 1).to(center), (phase == 0).to(center)
    weight = network.j_unit.expand(len(phase), -1, -1)
    offset = network.j_offset[row]
    for level in network.levels:
        passed = weight[:, :, level] * active[:, None, level]
        offset = offset + (passed @ network.g_offset[:, level][row].unsqueeze(-1)).squeeze(-1)
        weight = weight + passed @ network.g_unit[level]
    weight = weight * unstable.unsqueeze(1)
    return GradientZonotope(offset + (weight @ center.unsqueeze(-1)).squeeze(-1), weight * radius.unsqueeze(1))


def _folded_switched(network: FoldedNetwork, phase: Tensor, row: Tensor, w: GradientIntervals) -> tuple[Tensor, Tensor]:
    """Center and radius of w where g is also bounded as an affine function of the unstable w."""
    count, n = phase.shape
    eye = torch.eye(n).to(w.center)
    active, unstable = (phase == 1).to(w.center), (phase == 0).to(w.center)
    weight, offset = w.center.new_zeros(count, n, n), torch.zeros_like(w.center)  # w over the unstable w
    center, radius = torch.zeros_like(offset), torch.zeros_like(offset)
    for level in reversed(network.levels):
        g_weight = network.g_unit[level] @ weight
        g_offset = network.g_offset[:, level][row] + offset @ network.g_unit[level].T
        middle = g_offset + (g_weight @ center.unsqueeze(-1)).squeeze(-1)
        spread = (g_weight.abs() @ radius.unsqueeze(-1)).squeeze(-1)
        low = torch.maximum(w.g_lower[:, level], middle - spread)
        high = torch.maximum(torch.minimum(w.g_upper[:, level], middle + spread), low)  # rounding may cross them
        low, high = _switched(low, high, phase[:, level])
        center[:, level], radius[:, level] = (low + high) / 2, (high - low) / 2
        weight[:, level] = active[:, level, None] * g_weight + unstable[:, level, None] * eye[level]
        offset[:, level] = active[:, level] * g_offset
    return center, radius


def _switched(low: Tensor, high: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """[low, high] times a: as it is for a = 1, 0 for a = 0, with 0 put in where a is unstable."""
    on, off = phase == 1, phase == -1
    low = torch.where(on, low, low.clamp(max=0.0))
    high = torch.where(on, high, high.clamp(min=0.0))
    zero = torch.zeros_like(low)
    return torch.where(off, zero, low), torch.where(off, zero, high)
