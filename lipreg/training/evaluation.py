"""What an evaluation of a penalty found."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.quantities import Quantity, UpperBound
from lipreg.results import Certificate


@dataclass(frozen=True)
class Evaluation:
    """What the last evaluation found, without gradient.

    Attributes:
        values: the quantity at the points, ``(points,)``; ``(1,)`` for a number of the network.
        penalty: their penalty, without the weight.
        weight: the weight it was given, without ``every``.
        quantity: what the values are of.
        certificate: UPPER if they are upper bounds, up to the rounding of training, or ESTIMATE.
    """

    values: Tensor
    penalty: Tensor
    weight: float
    quantity: Quantity
    certificate: Certificate

    @property
    def name(self) -> str:
        """What the quantity is called, "affine_relu" or "jacobian"."""
        return self.quantity.label

    @property
    def bounds(self) -> Tensor:
        """The values where a bound is penalised, whether its spectral norms are proved or estimated.

        Raises:
            UnsupportedRequest: the values are of another quantity, and no bounds.
        """
        if not isinstance(self.quantity, UpperBound):
            todo = "Read .values, and .certificate, which says what they prove"
            raise UnsupportedRequest(
                f"values of {self.name}, which are no bounds", where="Evaluation.bounds", todo=todo
            )
        return self.values
