"""Upper bounds on the gradient's norm within a node, from its phases.

An undecided unit passes w = a g on with a in {0, 1}, so w lies between 0 and g. The gradient is bounded in both orders of
multiplication, and each entry lies in both results:

- ``interval``: from the output to the input, level by level, in intervals. Cheapest: it also judges children in branching.
- ``fold_phases``: from the input to the output, with units of known phase multiplied out exactly, so that the gradient is
  affine in the undecided w, where ``semidefinite`` takes over.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork


@dataclass(frozen=True)
class Switched:
    """w in center +- radius for each unit, ``(N, n)``, and bounds on g, ``(N, n)``."""

    center: Tensor
    radius: Tensor
    g_lower: Tensor
    g_upper: Tensor

    def __getitem__(self, chosen: Tensor) -> Switched:
        return Switched(self.center[chosen], self.radius[chosen], self.g_lower[chosen], self.g_upper[chosen])


def interval(network: FoldedNetwork, phase: Tensor, row: Tensor) -> Switched:
    """Intervals of g and w, from the output to the input."""
    center = network.g_offset.new_zeros(len(phase), network.count)
    radius, g_lower, g_upper = (torch.zeros_like(center) for _ in range(3))
    for level in reversed(network.levels):
        middle = network.g_offset[:, level][row] + center @ network.g_unit[level].T
        spread = radius @ network.g_unit[level].abs().T
        g_lower[:, level], g_upper[:, level] = middle - spread, middle + spread
        low, high = _switched(middle - spread, middle + spread, phase[:, level])
        center[:, level], radius[:, level] = (low + high) / 2, (high - low) / 2
    return Switched(center, radius, g_lower, g_upper)


def interval_entries(network: FoldedNetwork, row: Tensor, w: Switched) -> tuple[Tensor, Tensor]:
    """Center and radius of every entry of the gradient, ``(N, m)`` each."""
    return network.j_offset[row] + w.center @ network.j_unit.T, w.radius @ network.j_unit.abs().T


def interval_bound(network: FoldedNetwork, phase: Tensor, row: Tensor) -> Tensor:
    """The norm of the larger magnitudes, ``(N,)``."""
    center, radius = interval_entries(network, row, interval(network, phase, row))
    return network.norm(center.abs() + radius) + network.rounding[row]


@dataclass(frozen=True)
class Fold:
    """The gradient as center + spread t, t in [-1, 1]^n, with known phases multiplied out: ``(N, m)`` and ``(N, m, n)``."""

    center: Tensor
    spread: Tensor

    def __getitem__(self, chosen: Tensor) -> Fold:
        return Fold(self.center[chosen], self.spread[chosen])


def fold_phases(network: FoldedNetwork, phase: Tensor, row: Tensor, w: Switched) -> Fold:
    """The gradient over the undecided w alone, w itself bounded by the folded g where that is tighter."""
    center, radius = _folded_switched(network, phase, row, w)
    active, undecided = (phase == 1).to(center), (phase == 0).to(center)
    weight = network.j_unit.expand(len(phase), -1, -1)
    offset = network.j_offset[row]
    for level in network.levels:
        passed = weight[:, :, level] * active[:, None, level]
        offset = offset + (passed @ network.g_offset[:, level][row].unsqueeze(-1)).squeeze(-1)
        weight = weight + passed @ network.g_unit[level]
    weight = weight * undecided.unsqueeze(1)
    return Fold(offset + (weight @ center.unsqueeze(-1)).squeeze(-1), weight * radius.unsqueeze(1))


def _folded_switched(network: FoldedNetwork, phase: Tensor, row: Tensor, w: Switched) -> tuple[Tensor, Tensor]:
    """Center and radius of w where g is also bounded as an affine function of the undecided w."""
    count, n = phase.shape
    eye = torch.eye(n).to(w.center)
    active, undecided = (phase == 1).to(w.center), (phase == 0).to(w.center)
    weight, offset = w.center.new_zeros(count, n, n), torch.zeros_like(w.center)  # w over the undecided w
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
        weight[:, level] = active[:, level, None] * g_weight + undecided[:, level, None] * eye[level]
        offset[:, level] = active[:, level] * g_offset
    return center, radius


def _switched(low: Tensor, high: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """[low, high] times a: as it is for a = 1, 0 for a = 0, with 0 put in where a is undecided."""
    on, off = phase == 1, phase == -1
    low = torch.where(on, low, low.clamp(max=0.0))
    high = torch.where(on, high, high.clamp(min=0.0))
    zero = torch.zeros_like(low)
    return torch.where(off, zero, low), torch.where(off, zero, high)
