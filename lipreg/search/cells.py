"""The cells beside that of a point, by the point's own pre-activations, and points of the region within them.

On the faces that a cell shares with those beside it their pre-activations are its own. So the points with any signs of any
units are a polyhedron in a box or an l2 ball. The projection onto it is that of start + A^T y onto the box or ball at the
best multipliers y >= 0, computed by accelerated ascents of the dual with restarts, in float32: which phases a point has is
evaluated again by the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.folding import Displacements, FoldedNetwork
from lipreg.linalg import squared_norm

MARGIN = 1e-3
"""How far inside a cell its point is wanted, as a part of each unit's range."""

PASS_NUMBERS = 2**20
"""Numbers that the gradients of neighbouring patterns take together, between two looks at whether the time is over."""

LOOKS = 4
"""Steps of a projection from one look at whether it has ended to the next."""


@dataclass(frozen=True)
class CellForms:
    """Pre-activations as forms of the displacement with the phases of one point, in units in which slopes have length 1.

    Attributes:
        domain: of the displacements.
        rows, level: the forms, ``(n, m)`` and ``(n,)`` float32.
        inward: how far from 0 they are wanted, ``(n,)``.
        rate: length of a step of the multipliers.
    """

    domain: Displacements
    rows: Tensor
    level: Tensor
    inward: Tensor
    rate: Tensor

    @classmethod
    def of(cls, network: FoldedNetwork, displacement: Tensor) -> CellForms:
        """Those of a displacement ``(m,)``."""
        matrix, constant = (part[0] for part in fixed_forms(network, network.phases(displacement.unsqueeze(0))))
        largest = matrix.abs().amax(-1).clamp(min=torch.finfo(matrix.dtype).tiny)
        rows = matrix / largest.unsqueeze(-1)  # so that no square leaves the range of floats
        length = rows.norm(dim=-1).clamp(min=0.5)
        rows = (rows / length.unsqueeze(-1)).float()
        inward = MARGIN * ((network.z_upper - network.z_lower) / largest / length)
        rate = 1.0 / squared_norm(rows.unsqueeze(0)).clamp(min=torch.finfo(rows.dtype).tiny)
        return cls(network.domain, rows, (constant / largest / length).float(), inward.float(), rate)

    def of_points(self, points: Tensor) -> Tensor:
        """The forms at points ``(k, m)``, ``(k, n)``."""
        return points @ self.rows.T + self.level

    def into(self, sign: Tensor, start: Tensor, rounds: int) -> Tensor:
        """Points ``(k, m)`` whose forms have, or nearly have, the wanted signs, as near to ``start`` as may be.

        Args:
            sign: wanted of the forms, ``(k, n)`` float32 in {-1, 0, 1}; 0 for units that are free.
            start: ``(m,)`` or ``(k, m)`` float32.
            rounds: most steps.
        """
        ahead = before = torch.zeros_like(sign)
        momentum, point = 1.0, start.expand(len(sign), -1)
        wanted, level = sign.abs() * self.inward, sign * self.level
        center = (self.domain.lower + self.domain.upper).to(point) / 2
        width = (self.domain.upper - self.domain.lower).to(point) / 2
        for at in range(rounds):
            pull = (sign * ahead) @ self.rows
            point = self.domain.inside(start + pull).float()
            short = wanted - level - sign * (point @ self.rows.T)
            if at % LOOKS == 0:
                # a weighted sum of the wanted inequalities that is below 0 everywhere: no point has all of them
                nowhere = (pull * center + pull.abs() * width).sum(-1) + (ahead * level).sum(-1) < 0
                if bool(((short <= 0).all(-1) | nowhere).all()):
                    break
            after = (ahead + self.rate * short).clamp(min=0.0)
            following = (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
            moved = after - before
            uphill = (moved * short).sum(-1, keepdim=True) > 0
            ahead = torch.where(uphill, after + (momentum - 1.0) / following * moved, after)
            before, momentum = after, following
        return point


def neighbour_patterns(phase: Tensor) -> Tensor:
    """The patterns that differ from one, ``(1, n)``, in a single unit: the i-th in unit i, ``(n, n)``."""
    beside = phase.repeat(phase.shape[1], 1)
    beside.diagonal().neg_()
    return beside


def neighbour_norms(network: FoldedNetwork, phase: Tensor, is_over: Callable[[], bool]) -> tuple[Tensor, Tensor]:
    """The neighbouring patterns of one, ``(n, n)``, and the largest norm of each, ``(n,)``: 0 of those not reached in time.

    Args:
        network: the folded network.
        phase: the pattern, ``(1, n)``.
        is_over: called between parts of the work; True ends it early.
    """
    beside = neighbour_patterns(phase)
    norms = network.z.constant.new_zeros(len(beside))
    at_once = max(1, PASS_NUMBERS // (network.rows * (network.count + network.inputs)))
    for first in range(0, len(beside), at_once):
        if first and is_over():
            break
        some = slice(first, first + at_once)
        norms[some] = network.gradient_norms(beside[some]).amax(-1)
    return beside, norms


def fixed_forms(network: FoldedNetwork, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Pre-activations as affine functions of the displacement where all phases are fixed: ``(k, n, m)`` and ``(k, n)``."""
    slope = torch.where(phase > 0, 1.0, network.negative_slope)
    matrix = network.z.on_input.new_zeros(len(phase), network.count, network.inputs)
    constant = network.z.constant.new_zeros(len(phase), network.count)
    for level in network.levels:
        matrix[:, level] = network.z.on_input[level] + network.z.on_unit[level] @ (slope.unsqueeze(-1) * matrix)
        constant[:, level] = network.z.constant[level] + (slope * constant) @ network.z.on_unit[level].T
    return matrix, constant
