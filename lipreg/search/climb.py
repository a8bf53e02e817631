"""Witnesses by local search over activation patterns: one unit is switched at a time, as long as the gradient grows.

Where inputs are many a cell borders on nearly all of its neighbours, so the patterns that the region has are nearly free,
and points drawn or moved by gradients meet few of the good ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.linalg import squared_norm

TRIED = 16
"""Neighbours that are tried together."""
ROUNDS = 320
"""Steps of a projection onto a cell."""
MARGIN = 1e-3
"""How far inside a cell its point is wanted, as a part of each unit's range."""
GAIN = 1e-9
"""Least relative growth of the gradient that is a step."""


def climb(network: FoldedNetwork, displacement: Tensor, steps: int, ended: Callable[[], bool]) -> Tensor:
    """From a point to points whose gradients are larger, through the cells beside its own.

    Of the patterns that differ from the present one in a single unit, those with the largest gradients are aimed at. A
    point counts by the pattern that it turns out to have.

    Args:
        network: the folded network.
        displacement: where to start, ``(m,)``.
        steps: most that are made.
        ended: asked before every look around; ends it early.

    Returns:
        The best displacement found, ``(m,)``.
    """
    phase = network.phases(displacement.unsqueeze(0))
    value = float(network.gradient_norms(phase).amax())
    for _ in range(steps):
        beside = phase.repeat(network.count, 1)
        beside.diagonal().neg_()
        promised = network.gradient_norms(beside).amax(-1)
        order = promised.argsort(descending=True)
        order = order[promised[order] > value * (1.0 + GAIN)]
        for chosen in order[: 2 * TRIED].split(TRIED):
            if not len(chosen) or ended():
                return displacement
            found = into_cells(network, beside[chosen], displacement)
            phases = network.phases(found)
            values = network.gradient_norms(phases).amax(-1)
            best = int(values.argmax())
            if values[best] > value * (1.0 + GAIN):
                phase, value, displacement = phases[best : best + 1], float(values[best]), found[best]
                break
        else:
            return displacement
    return displacement


def into_cells(network: FoldedNetwork, phase: Tensor, start: Tensor) -> Tensor:
    """Points ``(k, m)`` of the region that have, or nearly have, the patterns ``(k, n)``, as near to ``start`` as may be.

    Pre-activations are taken to be those of the cell of ``start``: on the faces that it shares with the cells beside it they
    are theirs as well, and all patterns have one matrix. What is left to find is a polyhedron in a box or an l2 ball. The
    projection onto it is that of start + A^T y onto the box or ball at the best multipliers y >= 0, found by accelerated
    ascents of the dual with restarts, in float32: where a point lies is asked again of the network.
    """
    own = network.phases(start.unsqueeze(0))
    exact, matrix, constant = start, *(part[0].float() for part in fixed_forms(network, own))
    start = start.float()
    sign, tiny = phase.to(matrix), torch.finfo(matrix.dtype).tiny
    size = matrix.norm(dim=-1).clamp(min=tiny)
    rows, level = matrix / size.unsqueeze(-1), constant / size
    inward = MARGIN * (network.z_upper - network.z_lower).float() / size
    rate = 1.0 / squared_norm(rows.unsqueeze(0)).clamp(min=tiny)
    ahead = before = torch.zeros_like(sign)
    momentum, point = 1.0, start.expand(len(phase), -1)
    for _ in range(ROUNDS):
        point = network.domain.inside(start + (sign * ahead) @ rows).float()
        short = inward - sign * (point @ rows.T + level)
        if bool((short <= 0).all()):
            break
        after = (ahead + rate * short).clamp(min=0.0)
        following = (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        moved = after - before
        uphill = (moved * short).sum(-1, keepdim=True) > 0
        ahead = torch.where(uphill, after + (momentum - 1.0) / following * moved, after)
        before, momentum = after, following
    return network.domain.of(network.domain.points(point.to(exact)))


def fixed_forms(network: FoldedNetwork, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Pre-activations as affine functions of the displacement where all phases are fixed: ``(k, n, m)`` and ``(k, n)``."""
    slope = torch.where(phase > 0, 1.0, network.leak)
    matrix = network.z.on_input.new_zeros(len(phase), network.count, network.inputs)
    constant = network.z.constant.new_zeros(len(phase), network.count)
    for level in network.levels:
        matrix[:, level] = network.z.on_input[level] + network.z.on_unit[level] @ (slope.unsqueeze(-1) * matrix)
        constant[:, level] = network.z.constant[level] + (slope * constant) @ network.z.on_unit[level].T
    return matrix, constant
