"""Witnesses by taking one phase after the other, those first on which the gradient depends most.

Of a point's pattern, switching a unit would add to the gradient or take from it: by how much is what its better phase is
worth. A pass looks for a point with as many of the dearest as can hold together: some units are added at once, fewer where
no point has them all, and one that no point has with those taken before it stays free. The next pass starts at that point.
A few passes end above what a local search over neighbouring patterns attains in ten times as long. After a pass with worths
that are disturbed they end elsewhere, often higher.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.search.cells import CellForms, neighbour_norms

ROUNDS = 120
"""Steps of a projection."""
FIRST = 0.25
"""Share of the units that are added at once at first."""
MORE, FEWER = 2, 3
"""Times as many, or one in so many, are added at once after a point had them all, or none did."""
KEPT = 0.5
"""How far inside, as a part of what is wanted, a unit is that needs no projection."""
NOISE = 0.3
"""By how much worths are disturbed, as the deviation of their logarithms."""
GAIN = 1e-9
"""Least relative growth of the gradient that counts."""


def greedy_search(
    network: FoldedNetwork,
    displacement: Tensor,
    is_over: Callable[[], bool],
    draws: torch.Generator | None = None,
) -> Tensor:
    """The displacement that passes from one end at, ``(m,)``.

    Args:
        network: the folded network.
        displacement: where to start, ``(m,)``.
        is_over: called before every projection, and on the way to the worths; True ends it early.
        draws: of a first pass whose worths are disturbed, which the others start from wherever it ends; None for passes
            that only go on as long as the gradient grows.
    """
    value = 0.0 if draws is not None else _value(network, displacement)
    while not is_over():
        wanted, worth = _worths(network, displacement, is_over)
        if draws is not None:
            drawn = torch.randn(len(wanted), generator=draws, dtype=torch.float64)
            worth, draws = worth * (NOISE * drawn).exp().to(worth), None
        point = _pass(network, displacement, wanted.float(), worth.argsort(descending=True).argsort(), is_over)
        reached = _value(network, point)
        if reached <= value * (1.0 + GAIN):
            break
        value, displacement = reached, point
    return displacement


def _value(network: FoldedNetwork, displacement: Tensor) -> float:
    return float(network.gradient_norms(network.phases(displacement.unsqueeze(0))).amax())


def _worths(network: FoldedNetwork, displacement: Tensor, is_over: Callable[[], bool]) -> tuple[Tensor, Tensor]:
    """The better phase of each unit where the others are those of a point, and by how much it is better, ``(n,)``."""
    phase = network.phases(displacement.unsqueeze(0))
    value = network.gradient_norms(phase).amax()
    gain = neighbour_norms(network, phase, is_over)[1] - value
    return torch.where(gain > 0, -phase[0], phase[0]), gain.abs()


def _pass(network: FoldedNetwork, start: Tensor, wanted: Tensor, rank: Tensor, is_over: Callable[[], bool]) -> Tensor:
    """A point ``(m,)`` with as many of the wanted phases as the pass can bring together.

    Args:
        wanted: phases, ``(n,)`` float32.
        rank: of units, in the order in which they are taken, ``(n,)``.
    """
    forms, count = CellForms.of(network, start), network.count
    point = start.float().unsqueeze(0)
    taken, seen = (torch.zeros_like(rank, dtype=torch.bool) for _ in range(2))
    many = max(1, int(FIRST * count))
    while not is_over():
        holds = wanted * forms.of_points(point)[0] >= KEPT * forms.inward
        missing = ~seen & ~holds
        if not missing.any():
            break
        # up to the last of so many missing units, in order; those between them that hold come along
        ranks = rank[missing].sort().values
        added = ~seen & (rank <= ranks[min(many, len(ranks)) - 1])
        sign = torch.where(taken | added, wanted, 0.0)
        tried = forms.into(sign.unsqueeze(0), point, ROUNDS)
        if bool((sign * forms.of_points(tried)[0] >= 0).all()):
            point, taken, seen, many = tried, taken | added, seen | added, MORE * many
        elif many > 1:
            many //= FEWER
        else:
            taken, seen = taken | (added & holds), seen | added
        many = max(1, min(many, count))
    return network.domain.of(network.domain.points(point.to(start)))[0]
