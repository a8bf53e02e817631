"""Upper bounds on quotients from secant slopes within a node: f(x) - f(x0) = J_S (x - x0), S the slopes between y and z.

A unit whose phase is that of x0 passes its gradient on as it does there; of the others the secant lies between those to the
ends of what its pre-activation can be within the node. w = a g, with a in an interval and no longer in {0, 1}, so the bounds
are those of ``gradients`` with a's middle multiplied out. They divide by no distance: at x0 itself they are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.intervals import Ends
from lipreg.search.directions import Directions
from lipreg.search.gradients import GradientIntervals, passed_back
from lipreg.search.rises import OutputDifferences, ShellNodes


@dataclass(frozen=True)
class Secants:
    """Intervals of units' secant slopes: middle - half <= a <= middle + half.

    Attributes:
        middle, half: of each unit of nodes, ``(N, n)``.
    """

    middle: Tensor
    half: Tensor


def secants(rises: OutputDifferences, nodes: ShellNodes) -> Secants:
    """(relu(z) - relu(y)) / (z - y) grows with z and with y: from the least to the most of both."""
    lower = torch.where(nodes.phase == 1, nodes.z_lower.clamp(min=0.0), nodes.z_lower)
    upper = torch.where(nodes.phase == -1, nodes.z_upper.clamp(max=0.0), nodes.z_upper)
    on = (lower >= 0) & (rises.y >= rises.doubt)  # also where both are the kink: nothing rises there
    least = torch.where(on, 1.0, _secant(rises.y - rises.doubt, lower))
    most = torch.maximum(least, _secant(rises.y + rises.doubt, upper))
    return Secants((least + most) / 2, (most - least) / 2)


def _secant(y: Tensor, z: Tensor) -> Tensor:
    """The secant of the ReLU from y to z; where they are one point of the kink, the slope of the side that z comes from."""
    above, below = torch.maximum(y.expand_as(z), z), torch.minimum(y.expand_as(z), z)
    span = torch.where(above > below, above - below, torch.ones_like(z))
    crossing = above.clamp(min=0.0) / span
    return torch.where(
        below >= 0, (above > 0).to(z), torch.where(above <= 0, torch.zeros_like(z), crossing.clamp(max=1.0))
    )


def secant_bound(rises: OutputDifferences, nodes: ShellNodes, directions: Directions) -> Tensor:
    """Upper bounds on each node's quotients, ``(N,)``, without the network's rounding.

    Args:
        rises: of the question.
        nodes: with up-to-date pre-activation bounds.
        directions: from the reference point to the nodes.
    """
    network, a = rises.network, secants(rises, nodes)
    # both signs of a functional have the gradients of the functional itself
    row = nodes.row % network.rows
    flipped = torch.where(nodes.row < network.rows, 1.0, -1.0).to(a.middle).unsqueeze(-1)
    g = _gradients(rises, row, a)
    weight = network.j_unit.expand(len(row), -1, -1)
    offset = network.j_offset[row]
    for level in network.levels:
        passed = weight[:, :, level] * a.middle[:, None, level]
        offset = offset + (passed @ network.g_offset[:, level][row].unsqueeze(-1)).squeeze(-1)
        weight = weight + passed @ network.g_unit[level]
    # w - middle g, whatever g is
    spread = (weight.abs() @ (a.half * torch.maximum(-g.g_lower, g.g_upper)).unsqueeze(-1)).squeeze(-1)
    return directions.of_intervals(flipped * offset, spread)


def _gradients(rises: OutputDifferences, row: Tensor, a: Secants) -> GradientIntervals:
    least, most = a.middle - a.half, a.middle + a.half

    def passed(low: Tensor, high: Tensor, level: Tensor | slice) -> Ends:
        down = torch.where(low < 0, most[:, level], least[:, level]) * low
        return down, torch.where(high > 0, most[:, level], least[:, level]) * high

    return passed_back(rises.network, row, passed)
