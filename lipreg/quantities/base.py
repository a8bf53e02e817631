"""What a quantity is, and the registry of all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from lipreg.graph import Graph
from lipreg.options import Optioned, Registry
from lipreg.problem import LocalLipschitz
from lipreg.quantities.query import Query
from lipreg.results import Certificate


class Quantity(Optioned):
    """A number at each reference point that training can lower, differentiable in the network's parameters.

    Subclasses are frozen dataclasses: their fields are the options, plain data that fits into a config file. They keep
    nothing from one query to the next.

    Attributes:
        reads_labels: whether it reads the points' labels or targets; points without a label are then left out.
        from_below: whether the regional constant is at least as large as its values, wherever a point is no kink.
        draws: whether it draws random numbers, by the query's generator: its values are then those of one draw.
    """

    reads_labels: ClassVar[bool] = False
    from_below: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    @staticmethod
    def registry() -> Registry[Any]:
        return QUANTITIES

    @property
    def label(self) -> str:
        """Its name in logs and records."""
        return self.name

    def certificate(self, problem: LocalLipschitz) -> Certificate:
        """UPPER if the values are upper bounds on the constant asked for, up to the rounding of training; else ESTIMATE."""
        return Certificate.ESTIMATE

    def check(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        """Refuses what it does not cover, with UnsupportedRequest.

        Args:
            problem: the question.
            graph: the network, with which the check is repeated before the first values; None before it has been read.
        """

    @abstractmethod
    def values(self, query: Query) -> Tensor:
        """The number at each point, ``(points,)``; ``(1,)`` for a number of the network, the same at all points.

        Args:
            query: network, question and points; each of its parts is computed when it is read.

        Returns:
            Differentiable in the network's parameters, in ``query.dtype``.
        """


QUANTITIES: Registry[Quantity] = Registry("quantity", base=Quantity)
"""The quantities by name."""
register = QUANTITIES.register


def get_quantity(quantity: str | Quantity | Mapping[str, Any]) -> Quantity:
    """The quantity that a user means by any of its three forms, which are equal.

    Args:
        quantity: an object, such as ``ProjectedGradient(steps=5)``; plain data, ``{"kind": "pgd", "steps": 5}``; or the
            name: "jacobian", "gradient", or one of your own.

    Raises:
        InvalidInput: no such quantity, an unknown or missing option, or a value out of range.
    """
    return QUANTITIES.of(quantity, Quantity)
