"""GELU by tanh, with the constants that a network has: rounded constants make another function, with other inflections.

Source: Hendrycks & Gimpel 2016, Gaussian error linear units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Extreme
from lipreg.curves.functions import bell, bell_in, sigmoid_in
from lipreg.linalg import DecimalArithmetic

CUBE = 0.044715
"""The coefficient of z^3 in GELU as it is published."""
HALVINGS = 80
"""Of an interval in which the tables' places are sought: more than float64 has bits."""


@dataclass(frozen=True, repr=False)
class GeluTanh(Curve):
    """z (1 + tanh(sqrt(2 / pi) (z + cube z^3))) / 2, for a cube near that of GELU.

    Its tables are computed by bisection: of the derivative for its zero, of the second derivative for the inflections and of
    the third for the extrema of the second.

    Attributes:
        cube: the coefficient of z^3.
    """

    cube: float = CUBE
    kinds = ("concave", "convex", "concave")

    def __repr__(self) -> str:
        return "GeluTanh()" if self.cube == CUBE else f"GeluTanh(cube={self.cube!r})"

    @cached_property
    def extrema(self) -> tuple[Extreme, ...]:  # type: ignore[override]
        at = _root(self.slope, -1.0, -0.5)
        return (Extreme(at, _at(self.value, at)),)

    @cached_property
    def inflections(self) -> tuple[Extreme, ...]:  # type: ignore[override]
        at = _root(self.curvature, 1.0, 1.8)
        return (Extreme(-at, _at(self.slope, -at)), Extreme(at, _at(self.slope, at)))

    @cached_property
    def curvature_extrema(self) -> tuple[Extreme, ...]:  # type: ignore[override]
        at = _root(self._third, 1.6, 2.5)
        places = (-at, 0.0, at)
        return tuple(Extreme(place, _at(self.curvature, place)) for place in places)

    def _third(self, z: Tensor) -> Tensor:
        """The third derivative at one number."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self.curvature(z), z)[0]

    def _inner(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Twice the argument of tanh, and the derivative of that; z is cut at 100, beyond which tanh is 1 or -1."""
        z = z.clamp(-100.0, 100.0)
        square, factor = z.square(), 2.0 * math.sqrt(2.0 / math.pi)
        return factor * z * (1.0 + self.cube * square), factor * (1.0 + 3 * self.cube * square)

    def value(self, z: Tensor) -> Tensor:
        return z * torch.sigmoid(self._inner(z)[0])

    def slope(self, z: Tensor) -> Tensor:
        inner, rate = self._inner(z)
        return torch.sigmoid(inner) + z * bell(inner) * rate

    def curvature(self, z: Tensor) -> Tensor:
        inner, rate = self._inner(z)
        z, density = z.clamp(-100.0, 100.0), bell(inner)
        third = 12.0 * math.sqrt(2.0 / math.pi) * self.cube * z
        return density * (2.0 * rate + z * (third - torch.tanh(0.5 * inner) * rate.square()))

    def _inner_in(self, z: Decimal, places: DecimalArithmetic) -> tuple[Decimal, Decimal]:
        """Twice the argument of tanh, and the derivative of that, in decimals."""
        square, factor = Decimal(self.cube) * z * z, 2 * places.root_2 / places.root_pi
        return factor * z * (1 + square), factor * (1 + 3 * square)

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z * sigmoid_in(self._inner_in(z, places)[0], places)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        inner, rate = self._inner_in(z, places)
        return sigmoid_in(inner, places) + z * bell_in(inner, places) * rate


def _root(function: Callable[[Tensor], Tensor], low: float, high: float) -> float:
    """The place between two numbers at which a function changes its sign, within a few units in the last place."""
    sign = _at(function, low) > 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if (_at(function, middle) > 0) == sign else (low, middle)
    return (low + high) / 2


def _at(function: Callable[[Tensor], Tensor], z: float) -> float:
    return float(function(torch.tensor(z, dtype=torch.float64)))
