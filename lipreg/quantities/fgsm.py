"""The loss after one step uphill."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipreg.quantities.attacks import AttackQuantity, uphill
from lipreg.quantities.base import register
from lipreg.quantities.query import Query


@register("fgsm")
@dataclass(frozen=True)
class FastGradientSign(AttackQuantity):
    """loss(x') - loss(x), x' one step of the region's size uphill from x.

    In l_inf x' is x + radius * sign(gradient), cut to the data range. Both losses are of the network in evaluation mode:
    without dropout, with running statistics. With weight 1.0 and all points, in a network without these, it is adversarial
    training with all of the loss on the moved points.

    Args:
        radius: of the ball; None for the problem's region.
        loss: "cross_entropy", "binary" or "squared"; None goes by the targets (``lipreg.quantities.losses``).

    Source: Goodfellow, Shlens & Szegedy 2015.
    """

    radius: float | None = None
    loss: str | None = None

    def values(self, query: Query) -> Tensor:
        region, loss, x = self.region(query), self.at(query), query.points
        moved = region.project((x + uphill(query, loss, region, x)).unsqueeze(1)).squeeze(1)
        return self.gained(query, loss, moved)
