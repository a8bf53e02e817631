"""The door to a quantity without a training: its numbers at points, from a module."""

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
    own = get_quantity(quantity)
    own.check(problem)
    read = partial(LiveNetwork().read, network, x, partial(own.check, problem))
    return own.values(Query(problem, network, x, y, read, seed=seed))
