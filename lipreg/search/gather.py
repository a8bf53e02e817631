"""Witnesses by taking one phase after the other, those first on which the gradient hangs most.

Of a point's pattern, switching a unit would add to the gradient or take from it: by how much is what its better phase is
worth. As many of the dearest as a cell beside the point's has together are looked for: some units are asked at once, fewer
where no point has them all, and one that no point has with those taken before it is left free. The pattern found is where
the next pass starts. A few passes end at about the same gradient from any point, above what steps to patterns beside it
reach in ten times as long; passes with worths that are disturbed lead on from there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.folding import FoldedNetwork
from lipreg.search.cells import Beside, switched

ROUNDS = 120
"""Steps of a projection."""
FIRST = 0.25
"""Share of the units that are asked at once at first."""
MORE, FEWER = 2, 3
"""Times as many, or one in so many, are asked at once after a point was found, or none was."""
KEPT = 0.5
"""How far inside, as a part of what is wanted, a unit is that needs no projection."""
DISTURBED, NOISE = 4, 0.5
"""Passes together whose worths are disturbed, and by how much, as the deviation of their logarithms."""
GAIN = 1e-9
"""Least relative growth of the gradient that counts."""


def gather(network: FoldedNetwork, displacement: Tensor, ended: Callable[[], bool], disturbed: bool = False) -> Tensor:
    """The best displacement found from one, ``(m,)``: its gradient is no smaller.

    Args:
        network: the folded network.
        displacement: where to start, ``(m,)``.
        ended: asked before every projection; ends it early.
        disturbed: several passes are made together, each with worths disturbed in its own way.

    Returns:
        The displacement; the same one each time for the same arguments, unless it ended early.
    """
    generator = torch.Generator().manual_seed(0)
    value = float(network.gradient_norms(network.phases(displacement.unsqueeze(0))).amax())
    while not ended():
        wanted, worth = _worths(network, displacement)
        worth = worth.unsqueeze(0)
        if disturbed:
            drawn = torch.randn(DISTURBED, len(wanted), generator=generator, dtype=torch.float64)
            worth = worth * (NOISE * drawn).exp().to(worth)
        rank = worth.argsort(dim=1, descending=True).argsort(dim=1)
        found = _pass(network, displacement, wanted.float(), rank, ended)
        values = network.gradient_norms(network.phases(found)).amax(-1)
        best = int(values.argmax())
        if values[best] <= value * (1.0 + GAIN):
            break
        value, displacement = float(values[best]), found[best]
    return displacement


def _worths(network: FoldedNetwork, displacement: Tensor) -> tuple[Tensor, Tensor]:
    """The better phase of each unit where the others are those of a point, and by how much it is better, ``(n,)``."""
    phase = network.phases(displacement.unsqueeze(0))
    value = network.gradient_norms(phase).amax()
    gain = network.gradient_norms(switched(phase)).amax(-1) - value
    return torch.where(gain > 0, -phase[0], phase[0]), gain.abs()


def _pass(network: FoldedNetwork, start: Tensor, wanted: Tensor, rank: Tensor, ended: Callable[[], bool]) -> Tensor:
    """Points ``(k, m)``, each with as many of the wanted phases as are found together.

    Args:
        wanted: phases, ``(n,)`` float32.
        rank: of units, in the order in which they are taken, ``(k, n)``.
    """
    beside, count = Beside.of(network, start), network.count
    point = start.float().expand(len(rank), -1)
    taken, seen = (torch.zeros_like(rank, dtype=torch.bool) for _ in range(2))
    many = torch.full((len(rank), 1), max(1, int(FIRST * count)), device=rank.device)
    while not ended():
        held = wanted * beside.of_points(point) >= KEPT * beside.inward
        missing = ~seen & ~held
        if not missing.any():
            break
        # up to the last of so many missing units, in order; those between them that hold come along
        last = torch.where(missing, rank, count).sort(dim=1).values.gather(1, many.clamp(max=count) - 1)
        asked = ~seen & (rank <= last)
        tried = beside.into(torch.where(taken | asked, wanted, 0.0), point, ROUNDS)
        found = ((wanted * beside.of_points(tried) >= 0) | ~(taken | asked)).all(-1, keepdim=True)
        given_up = ~found & (many == 1)
        point = torch.where(found, tried, point)
        taken |= asked & (found | (given_up & held))
        seen |= asked & (found | given_up)
        many = torch.where(found, MORE * many, (many // FEWER).clamp(min=1)).clamp(max=count)
    return network.domain.of(network.domain.points(point.to(start)))
