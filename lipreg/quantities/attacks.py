"""The parts that quantities at attacked points share: the region, the way uphill in it, and the gain in loss."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.linalg import vector_norm
from lipreg.options import check_number
from lipreg.problem import LocalLipschitz
from lipreg.quantities.losses import OfLoss, PointLoss
from lipreg.quantities.query import Query
from lipreg.regions import PlacedRegion


class AttackQuantity(OfLoss):
    """The loss at a point of the region that is searched without gradient, minus the loss at the data point.

    Both are of the network in evaluation mode: without dropout, with running statistics. In a network without these, with
    weight 1 and all points of a batch, the loss at the data points cancels, and all of it is at the moved ones.

    Attributes:
        radius: of the ball in place of the region's own; None for that.
    """

    radius: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None:
            check_number(self.radius, "radius", f"quantity {self.name!r}", above=0.0)

    def check(self, problem: LocalLipschitz, graph: Any = None) -> None:
        if not problem.region.bounded:
            raise UnsupportedRequest(
                f"{problem.region.phrase()}, which has no ends to move points to",
                where=f"quantity {self.name!r}",
                accepted="LinfBall, L2Ball, L1Ball, Box or Polytope",
                todo="Give the penalty a problem of its own in a ball; the audit's may stay as it is",
            )
        if self.radius is not None and not hasattr(problem.region, "radius"):
            kind = type(problem.region).__name__
            accepted = "LinfBall, L2Ball or L1Ball; or radius=None for the region as it is"
            raise UnsupportedRequest(
                f"radius={self.radius} in a {kind}", where=f"quantity {self.name!r}", accepted=accepted
            )

    def region(self, query: Query) -> PlacedRegion:
        """The region around each point, of this attack's radius, that points may be moved in."""
        if self.radius is None:
            return query.region
        region: Any = query.problem.region
        return replace(region, radius=self.radius).place(query.points)

    def gained(self, query: Query, loss: PointLoss, moved: Tensor) -> Tensor:
        """The loss at the moved points minus that at the data points, ``(points,)``, differentiable in the parameters.

        Args:
            query: network and data points.
            loss: the loss with the points' targets.
            moved: the moved points, ``(points, *shape)``, without gradient.
        """
        return loss.each(query.graph(moved)) - loss.each(query.outputs)


def uphill(query: Query, loss: PointLoss, region: PlacedRegion, moved: Tensor) -> Tensor:
    """The step of the region's size along which the loss at the moved points rises fastest to first order.

    In a box that is to its ends, coordinate by coordinate; in an l2 ball along the gradient, in an l1 ball along its largest
    entry. Without gradient; inputs whose gradient is 0 stay.

    Args:
        query: the network.
        loss: the loss, with the points' targets, that is to rise.
        region: its norm and size are those of the step.
        moved: points ``(points, *shape)``.

    Returns:
        Steps ``(points, *shape)``; they may lead out of the data range.
    """
    graph = query.graph
    with torch.no_grad():
        rows = loss.slopes(graph(moved)).unsqueeze(1)
        slope = graph.gradients(query.slopes(moved), rows).squeeze(1)
    if region.radius == math.inf:
        return slope.sign() * torch.maximum(region.up, -region.down)
    flat = slope.flatten(1)
    if region.norm == 1.0:
        place = flat.abs().argmax(1, keepdim=True)
        step = torch.zeros_like(flat).scatter_(1, place, flat.gather(1, place).sign())
    else:
        step = flat / vector_norm(flat, 2.0).clamp(min=torch.finfo(flat.dtype).tiny).unsqueeze(1)
    return region.radius * step.reshape(slope.shape)
