"""Quantities: what a penalty can be a penalty of. An upper bound, or an estimate that proves nothing, and says so.

``LipschitzPenalty(..., quantity="jacobian")`` penalises one; ``values`` gives its numbers alone. Adding one takes a class:

    @register("sharpness")
    @dataclass(frozen=True)
    class Sharpness(Quantity):
        def values(self, query):
            return query.outputs.square().sum(1)
"""

from lipreg.quantities.base import QUANTITIES, Quantity, get_quantity, register
from lipreg.quantities.bound import UpperBound
from lipreg.quantities.evaluate import values
from lipreg.quantities.fgsm import FastGradientSign
from lipreg.quantities.frobenius import JacobianFrobenius
from lipreg.quantities.gradient import Gradient
from lipreg.quantities.jacobian import Jacobian
from lipreg.quantities.live import LiveNetwork
from lipreg.quantities.pgd import ProjectedGradient
from lipreg.quantities.query import Query
from lipreg.quantities.weights import WeightDecay, WeightL1

__all__ = [
    "QUANTITIES",
    "FastGradientSign",
    "Gradient",
    "Jacobian",
    "JacobianFrobenius",
    "LiveNetwork",
    "ProjectedGradient",
    "Quantity",
    "Query",
    "UpperBound",
    "WeightDecay",
    "WeightL1",
    "get_quantity",
    "register",
    "values",
]
