"""The loss after several steps uphill from random starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.options import check_count
from lipreg.quantities.attacks import AttackQuantity, uphill
from lipreg.quantities.base import register
from lipreg.quantities.query import Query

STRIDE = 2.5
"""The length of a step, in units of the region's size divided by the number of steps."""


@register("pgd")
@dataclass(frozen=True)
class ProjectedGradient(AttackQuantity):
    """loss(x') - loss(x), x' the end of some steps uphill from a random point of the region, each brought back into it.

    Both losses are of the network in evaluation mode: without dropout, with running statistics. With weight 1.0 and all
    points, in a network without these, it is adversarial training with all of the loss on the moved points.

    Args:
        radius: of the ball; None for the problem's region.
        steps: the number of steps, each ``STRIDE`` / steps of the region's size.
        restarts: the number of random starts; at each point the end with the largest loss counts.
        loss: "cross_entropy", "binary" or "squared"; None goes by the targets (``lipreg.quantities.losses``).

    Source: Madry et al. 2018.
    """

    radius: float | None = None
    steps: int = 5
    restarts: int = 1
    loss: str | None = None
    draws = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.steps, "steps", f"quantity {self.name!r}")
        check_count(self.restarts, "restarts", f"quantity {self.name!r}")

    def values(self, query: Query) -> Tensor:
        region, point_loss, generator = self.region(query), self.at(query), query.generator
        best, most = query.points, torch.full((len(query.x),), -torch.inf, dtype=query.dtype, device=query.x.device)
        for _ in range(self.restarts):
            moved = region.sample(1, generator).squeeze(1)
            for _ in range(self.steps):
                moved = moved + STRIDE / self.steps * uphill(query, point_loss, region, moved)
                moved = region.project(moved.unsqueeze(1)).squeeze(1)
            if self.restarts == 1:
                best = moved
                continue
            with torch.no_grad():
                loss = point_loss.each(query.graph(moved))
            better = loss > most
            best = torch.where(better.reshape(-1, *(1,) * (moved.dim() - 1)), moved, best)
            most = torch.where(better, loss, most)
        return self.gained(query, point_loss, best)
