"""Pairs of phases that no point of the region has together, and what fixed phases imply by them.

Of a point where side s of unit i and side t of unit j hold, both upper forms are at least 0. So where for some 0 <= y <= 1

    sup over the box of (1 - y) form_i + y form_j < 0

there is none. Over a box that is |(1 - y) A_i + y A_j|_1 + (1 - y) b_i + y b_j, convex in y, of which some values are tried:
any one of them proves. Where units read overlapping patches of an image many pairs are such, and a relaxation that lets
units switch freely loses much by them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.budget import UNLIMITED, Budget
from lipreg.folding import FoldedNetwork
from lipreg.search.forward_bounds import SLACK, tighten
from lipreg.search.multipliers import SIMPLEX_INPUTS
from lipreg.search.nodes import Nodes

WEIGHTS = torch.arange(-4.0, 4.25, 0.5)
"""Logarithms, to base 2, of the second form's weight over that at which both ends are as far from 0."""
AT_ONCE = 2**21
"""Numbers that are computed at once."""
SHARE = 0.05
"""Most of the remaining time."""


def with_conflicts(network: FoldedNetwork, budget: Budget = UNLIMITED) -> FoldedNetwork:
    """The network with its pairs, where it has more than twice as many inputs as unstable units, as those of images have.

    Elsewhere the cuts of nodes imply what pairs do: with 64 inputs and 47 to 134 units searches with pairs bound about as
    many nodes, and take up to twice as long.
    """
    few = network.inputs <= max(SIMPLEX_INPUTS, 2 * network.count)
    if few or network.domain.sections is not None or not network.count:
        return network
    return replace(network, exclusive=conflicts(network, budget))


def conflicts(network: FoldedNetwork, budget: Budget = UNLIMITED) -> Tensor:
    """The pairs, ``(2, e)``: side i < n is z_i >= 0, side n + i is z_i <= 0, of n units; no unit with itself.

    When a budget ends, or its share of SHARE, the pairs seen by then.
    """
    root = Nodes.roots(network, network.j_unit.new_zeros(network.family_count))[:1]
    forms = tighten(network, root)
    center, radius = (root.d_lower + root.d_upper) / 2, (root.d_upper - root.d_lower) / 2
    slope, level = forms.slope[0].flatten(0, 1), forms.offset[0].flatten()
    sides = _Sides.of(slope * radius[0], level + slope @ center[0])
    pairs = [torch.zeros(2, 0, dtype=torch.long, device=slope.device)]
    blocks = torch.arange(len(slope), device=slope.device).split(max(1, AT_ONCE // len(slope)))
    for rows in budget.share(SHARE).paced(blocks):
        first, second = sides.opposed(rows, network.count)
        for at in torch.arange(len(first), device=slope.device).split(max(1, AT_ONCE // slope.shape[1])):
            i, j = first[at], second[at]
            pairs.append(torch.stack([i, j])[:, sides.apart(i, j)])
    return torch.cat(pairs, 1)


@dataclass(frozen=True)
class _Sides:
    """Upper forms of the 2n sides over a box, in units of its radii.

    Attributes:
        slope, level: ``(2n, m)`` and ``(2n,)``.
        size: the sums of the slopes' magnitudes.
        top: the largest value, or 0.
        up, down: the roots of the slopes' positive and negative parts.
    """

    slope: Tensor
    level: Tensor
    size: Tensor
    top: Tensor
    up: Tensor
    down: Tensor

    @classmethod
    def of(cls, slope: Tensor, level: Tensor) -> _Sides:
        size = slope.abs().sum(-1)
        up, down = slope.clamp(min=0.0).sqrt(), (-slope).clamp(min=0.0).sqrt()
        return cls(slope, level, size, (size + level).clamp(min=0.0), up, down)

    def opposed(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The pairs that may exclude each other of some sides and those behind them, by a rule that only leaves out others.

        Entries of opposite sign, of size a and b, take 2 min((1 - y) a, y b) from the sum of both ends, which is at most
        2 sqrt(y (1 - y)) sqrt(a b); that sum is at least 2 sqrt(y (1 - y)) times the root of both ends' product.
        """
        most = self.up[rows] @ self.down.T + self.down[rows] @ self.up.T
        near = most.square() * (1.0 + 1e-6) >= self.top[rows].unsqueeze(1) * self.top
        behind = torch.arange(len(self.top), device=rows.device) - rows.unsqueeze(1)
        first, second = (near & (behind > 0) & (behind != count)).nonzero(as_tuple=True)
        return rows[first], second

    def apart(self, i: Tensor, j: Tensor) -> Tensor:
        """Which pairs exclude each other, with what rounding may do."""
        excluded = torch.zeros(len(i), dtype=torch.bool, device=i.device)
        one, other, size, level = self.slope[i], self.slope[j], self.size, self.level
        for weight in WEIGHTS.tolist():
            y = self.top[i] / (self.top[i] + self.top[j] * 2.0**-weight).clamp(min=1e-300)
            ends = (one * (1.0 - y).unsqueeze(-1) + other * y.unsqueeze(-1)).abs().sum(-1)
            scale = (1.0 - y) * (size[i] + level[i].abs()) + y * (size[j] + level[j].abs())
            excluded |= ends + (1.0 - y) * level[i] + y * level[j] < -SLACK * scale
        return excluded
