"""The gradient of the loss with respect to the input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipreg.quantities.base import register
from lipreg.quantities.losses import OfLoss
from lipreg.quantities.query import Query


@register("gradient")
@dataclass(frozen=True)
class Gradient(OfLoss):
    """|d loss / d x|_2^2 at each data point, of the network in evaluation mode; entries count by the question's
    ``scale`` and ``measured``.

    It is small where the network is sure of the class, whatever its slope there: an estimate of no constant.

    Args:
        loss: "cross_entropy", "binary" or "squared"; None goes by the targets (``lipreg.quantities.losses``).

    Source: Drucker & LeCun 1992 (double backpropagation).
    """

    loss: str | None = None

    def values(self, query: Query) -> Tensor:
        rows = self.at(query).slopes(query.outputs).unsqueeze(1)
        gradients = query.graph.gradients(query.slopes(query.points), rows).flatten(1)
        return (gradients if query.counts is None else gradients * query.counts).square().sum(1)
