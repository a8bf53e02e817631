"""The curves that are no gates. What another curve gives by factors and shifts has no class of its own: sigmoid is
sigmoid(z) = (1 + tanh(z / 2)) / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Extreme, Kind
from lipreg.linalg import DecimalArithmetic
from lipreg.linalg.places import ONE, ZERO

_S_SHAPED: tuple[Kind, ...] = ("convex", "concave")


def bell(z: Tensor) -> Tensor:
    """sigmoid'(z) = e^-|z| / (1 + e^-|z|)^2, entry by entry: accurate where it is tiny too."""
    small = torch.exp(-z.abs())
    return small / (1.0 + small).square()


def bell_in(z: Decimal, places: DecimalArithmetic) -> Decimal:
    """sigmoid'(z) in decimals; see ``bell``."""
    small = places.exp(-abs(z))
    return small / (1 + small) ** 2


def sigmoid_in(z: Decimal, places: DecimalArithmetic) -> Decimal:
    """sigmoid(z) = 1 / (1 + e^-z) in decimals, by e^-|z| alone."""
    small = places.exp(-abs(z))
    return (small if z < 0 else 1) / (1 + small)


@dataclass(frozen=True)
class Tanh(Curve):
    """tanh(z)."""

    inflections, kinds, asymptotic_slopes, limits = (Extreme(0.0, 1.0),), _S_SHAPED, (0.0, 0.0), (-1.0, 1.0)
    curvature_extrema = (
        Extreme(-0.6584789484624084, 0.7698003589195010),
        Extreme(0.6584789484624084, -0.7698003589195010),
    )

    def value(self, z: Tensor) -> Tensor:
        return torch.tanh(z)

    def slope(self, z: Tensor) -> Tensor:
        return 4.0 * bell(2.0 * z)

    def curvature(self, z: Tensor) -> Tensor:
        return -2.0 * torch.tanh(z) * self.slope(z)

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        below = places.expm1(-2 * abs(z))
        return (-below / (2 + below)).copy_sign(z)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return 4 * bell_in(2 * z, places)


@dataclass(frozen=True)
class Tanhshrink(Curve):
    """z - tanh(z)."""

    inflections, kinds, asymptotic_slopes, limits = (
        (Extreme(0.0, 0.0),),
        ("concave", "convex"),
        (1.0, 1.0),
        (-math.inf, math.inf),
    )
    curvature_extrema = (
        Extreme(-0.6584789484624084, -0.7698003589195010),
        Extreme(0.6584789484624084, 0.7698003589195010),
    )

    def value(self, z: Tensor) -> Tensor:
        return z - torch.tanh(z)

    def slope(self, z: Tensor) -> Tensor:
        return torch.tanh(z).square()

    def curvature(self, z: Tensor) -> Tensor:
        return 8.0 * torch.tanh(z) * bell(2.0 * z)

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z - Tanh().value_decimal(z, places)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return Tanh().value_decimal(z, places) ** 2


@dataclass(frozen=True)
class Erf(Curve):
    """erf(z)."""

    inflections, kinds, asymptotic_slopes, limits = (
        (Extreme(0.0, 2.0 / math.sqrt(math.pi)),),
        _S_SHAPED,
        (0.0, 0.0),
        (-1.0, 1.0),
    )
    curvature_extrema = (
        Extreme(-0.7071067811865475, 0.9678828980765734),
        Extreme(0.7071067811865475, -0.9678828980765734),
    )

    def value(self, z: Tensor) -> Tensor:
        return torch.erf(z)

    def slope(self, z: Tensor) -> Tensor:
        return 2.0 / math.sqrt(math.pi) * torch.exp(-z.square())

    def curvature(self, z: Tensor) -> Tensor:
        return -2.0 * z * self.slope(z)

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return places.erf(abs(z)).copy_sign(z)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return 2 * places.exp(-z * z) / places.root_pi


@dataclass(frozen=True)
class Softsign(Curve):
    """z / (1 + |z|)."""

    inflections, kinds, asymptotic_slopes, limits = (Extreme(0.0, 1.0),), _S_SHAPED, (0.0, 0.0), (-1.0, 1.0)
    curvature_extrema = (Extreme(0.0, 2.0), Extreme(0.0, -2.0))

    def value(self, z: Tensor) -> Tensor:
        return z / (1.0 + z.abs())

    def slope(self, z: Tensor) -> Tensor:
        return (1.0 + z.abs()).reciprocal().square()

    def curvature(self, z: Tensor) -> Tensor:
        return -2.0 * z.sign() * self.slope(z) / (1.0 + z.abs())

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z / (1 + abs(z))

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return 1 / (1 + abs(z)) ** 2


@dataclass(frozen=True)
class Softplus(Curve):
    """log(1 + e^z)."""

    curvature_extrema = (Extreme(0.0, 0.25),)

    def value(self, z: Tensor) -> Tensor:
        return z.clamp(min=0.0) + torch.log1p(torch.exp(-z.abs()))

    def slope(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def curvature(self, z: Tensor) -> Tensor:
        return bell(z)

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return max(z, ZERO) + places.log1p(places.exp(-abs(z)))

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return sigmoid_in(z, places)


@dataclass(frozen=True)
class Elu(Curve):
    """z for z > 0, scale (e^z - 1) for z <= 0.

    Attributes:
        scale: above 0. The derivative jumps from it to 1 at 0.
    """

    scale: float = 1.0

    @property
    def inflections(self) -> tuple[Extreme, ...]:  # type: ignore[override]
        return (Extreme(0.0, self.scale), Extreme(0.0, 1.0))

    @property
    def curvature_extrema(self) -> tuple[Extreme, ...]:  # type: ignore[override]
        return (Extreme(0.0, self.scale), Extreme(0.0, 0.0))

    kinds = ("convex", "straight")

    @property
    def limits(self) -> tuple[float, float]:  # type: ignore[override]
        return -self.scale, math.inf

    def value(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, self.scale * torch.expm1(z.clamp(max=0.0)))

    def slope(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, 1.0, self.scale * torch.exp(z.clamp(max=0.0)))

    def smooth(self, z: Tensor, error: Tensor) -> Tensor:
        return torch.ones_like(z, dtype=torch.bool) if self.scale == 1.0 else super().smooth(z, error)

    def curvature(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, 0.0, self.scale * torch.exp(z.clamp(max=0.0)))

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z if z > 0 else Decimal(self.scale) * places.expm1(z)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return ONE if z > 0 else Decimal(self.scale) * places.exp(z)
