"""The values of a quantity at points of a module, outside a training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from lipreg.problem import LocalLipschitz
from lipreg.quantities.base import Quantity, get_quantity
from lipreg.quantities.live import LiveNetwork
from lipreg.quantities.query import Query


def values(
    quantity: str | Quantity | Mapping[str, Any],
    network: nn.Module,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    seed: int = 0,
) -> Tensor:
    """A quantity at each point, to backpropagate through: what ``LipschitzPenalty(quantity=...)`` penalises.

    Args:
        quantity: an object, a name, or plain data.
        network: a module, read anew at each call.
        problem: the question.
        x: points ``(points, *shape)``.
        y: class labels ``(points,)`` or other targets, where they are read.
        seed: of what is drawn.

    Returns:
        ``(points,)``, or ``(1,)`` for a number of the network.

    Raises:
        UnsupportedRequest: the quantity does not cover question or network.
    """
    kind = get_quantity(quantity)
    kind.check(problem)
    read = partial(LiveNetwork().read, network, x, partial(kind.check, problem))
    return kind.values(Query(problem, network, x, y, read, seed=seed))
