"""The values of a penalty's last evaluation, and what they are of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.quantities import Quantity, UpperBound
from lipreg.results import Certificate


@dataclass(frozen=True)
class Evaluation:
    """The values of a penalty at one batch, and the penalty of them, without gradient.

    Attributes:
        values: the quantity at the points, ``(points,)``; ``(1,)`` for a number of the network.
        penalty: their penalty, without the weight.
        weight: the factor of the penalty in the loss, schedule included, ``every`` not.
        quantity: the quantity whose values they are.
        certificate: UPPER if they are upper bounds, up to the rounding of training, or ESTIMATE.
    """

    values: Tensor
    penalty: Tensor
    weight: float
    quantity: Quantity
    certificate: Certificate

    @property
    def name(self) -> str:
        """The quantity's label, such as "affine_relu" or "jacobian"."""
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
