"""Curves z g(z), with a gate g between 0 and 1 that grows with z."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Extreme, Kind
from lipreg.curves.functions import bell, sigmoid_in
from lipreg.linalg import DecimalArithmetic
from lipreg.linalg.places import ZERO

FLAT = 40.0
"""From where on Mish is z, its derivative 1 and its second derivative 0, up to rounding."""
_HUMPED: tuple[Kind, ...] = ("concave", "convex", "concave")


@dataclass(frozen=True)
class Silu(Curve):
    """z sigmoid(z)."""

    extrema = (Extreme(-1.2784645427610738, -0.27846454276107380),)
    inflections = (Extreme(-2.3993572805154677, -0.09983932012886692), Extreme(2.3993572805154677, 1.0998393201288669))
    kinds = _HUMPED
    curvature_extrema = (
        Extreme(-3.4358409935351107, -0.03691437319989319),
        Extreme(0.0, 0.5),
        Extreme(3.4358409935351107, -0.03691437319989319),
    )

    def value(self, z: Tensor) -> Tensor:
        return z * torch.sigmoid(z)

    def slope(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z) + z * bell(z)

    def curvature(self, z: Tensor) -> Tensor:
        return bell(z) * (2.0 - z * torch.tanh(0.5 * z))

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z * sigmoid_in(z, places)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        small = places.exp(-abs(z))
        return ((small if z < 0 else 1) + z * small / (1 + small)) / (1 + small)


@dataclass(frozen=True)
class Gelu(Curve):
    """z Phi(z), with Phi the distribution function of the standard normal law."""

    extrema = (Extreme(-0.75179152469356446, -0.16997120747990367),)
    inflections = (Extreme(-1.4142135623730950, -0.12890414518515479), Extreme(1.4142135623730950, 1.1289041451851548))
    kinds = _HUMPED
    curvature_extrema = (
        Extreme(-2.0, -0.1079819330263761),
        Extreme(0.0, 0.7978845608028654),
        Extreme(2.0, -0.1079819330263761),
    )

    def value(self, z: Tensor) -> Tensor:
        return 0.5 * z * torch.erfc(-z / math.sqrt(2.0))

    def slope(self, z: Tensor) -> Tensor:
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        return 0.5 * torch.erfc(-z / math.sqrt(2.0)) + z * density

    def curvature(self, z: Tensor) -> Tensor:
        return torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi) * (2.0 - z.square())

    def _share_in(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        """Phi(z) in decimals."""
        return (1 + places.erf(abs(z) / places.root_2).copy_sign(z)) / 2

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z * self._share_in(z, places)

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        density = places.exp(-z * z / 2) / (places.root_2 * places.root_pi)
        return self._share_in(z, places) + z * density


@dataclass(frozen=True)
class Mish(Curve):
    """z tanh(log(1 + e^z))."""

    extrema = (Extreme(-1.1924312145154952, -0.30884341301725041),)
    inflections = (Extreme(-2.2563763963607931, -0.11252612238946256), Extreme(1.4905711794854285, 1.0884981612517279))
    kinds = _HUMPED
    curvature_extrema = (
        Extreme(-3.2673378465204046, -0.04173207070661103),
        Extreme(-0.08793443131491421, 0.6442046372369724),
        Extreme(2.1148425630208771, -0.05903335695393629),
    )

    @staticmethod
    def _share(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gate and what its derivatives need, with z cut at ``FLAT``, so that nothing overflows.

        Returns:
            tanh(log(1 + w)) = (w^2 + 2 w) / d, w = e^z, d = w^2 + 2 w + 2, and z.
        """
        z = z.clamp(max=FLAT)
        w = torch.exp(z)
        above = w * (w + 2.0)
        return above / (above + 2.0), w, above + 2.0, z

    def value(self, z: Tensor) -> Tensor:
        return z * self._share(z)[0]

    def slope(self, z: Tensor) -> Tensor:
        share, w, below, z = self._share(z)
        # d share / dz = 4 w (1 + w) / d^2
        return share + z * (4.0 * (w / below) * ((1.0 + w) / below))

    def curvature(self, z: Tensor) -> Tensor:
        _, w, below, z = self._share(z)
        once, more = 4.0 * (w / below), (1.0 + w) / below
        # and d^2 share / dz^2 = 4 w (1 + 2 w) / d^2 - 16 w^2 (1 + w)^2 / d^3
        return 2.0 * once * more + z * once * ((1.0 + 2.0 * w) / below - 4.0 * more * (w * more))

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        w = places.exp(-abs(z))
        return z * ((1 + 2 * w) / (1 + 2 * w + 2 * w * w) if z > 0 else (w * w + 2 * w) / (w * w + 2 * w + 2))

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        w = places.exp(-abs(z))
        if z > 0:
            all = 1 + 2 * w + 2 * w * w
            return (1 + 2 * w) / all + z * 4 * w * w * (1 + w) / all**2
        all = w * w + 2 * w + 2
        return (w * w + 2 * w) / all + z * 4 * w * (1 + w) / all**2


@dataclass(frozen=True)
class Hardswish(Curve):
    """z min(max(z + 3, 0), 6) / 6."""

    extrema = (Extreme(-1.5, -0.375),)
    inflections = (Extreme(-3.0, 0.0), Extreme(-3.0, -0.5), Extreme(3.0, 1.5), Extreme(3.0, 1.0))
    kinds = ("straight", "convex", "straight")
    curvature_extrema = (Extreme(-3.0, 1.0 / 3.0), Extreme(-3.0, 0.0), Extreme(3.0, 1.0 / 3.0), Extreme(3.0, 0.0))

    def value(self, z: Tensor) -> Tensor:
        return z * (z + 3.0).clamp(0.0, 6.0) / 6.0

    def slope(self, z: Tensor) -> Tensor:
        return torch.where(z.abs() <= 3.0, z / 3.0 + 0.5, (z > 0).to(z))

    def curvature(self, z: Tensor) -> Tensor:
        return (z.abs() <= 3.0).to(z) / 3.0

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return z * min(max(z + 3, ZERO), Decimal(6)) / 6

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return (2 * z + 3) / 6 if abs(z) <= 3 else Decimal(z > 0)


@dataclass(frozen=True)
class BentHardswish(Curve):
    """z (z + 3) / 6 for |z| <= 3, as Hardswish is there, and its tangents beyond (``lipreg.curves.kinks``)."""

    extrema = (Extreme(-1.5, -0.375),)
    inflections = (Extreme(-3.0, -0.5), Extreme(3.0, 1.5))
    kinds = ("straight", "convex", "straight")
    curvature_extrema = (Extreme(-3.0, 1.0 / 3.0), Extreme(-3.0, 0.0), Extreme(3.0, 1.0 / 3.0), Extreme(3.0, 0.0))
    asymptotic_slopes, limits = (-0.5, 1.5), (math.inf, math.inf)

    def value(self, z: Tensor) -> Tensor:
        inner = z.clamp(-3.0, 3.0)
        return inner * (inner + 3.0) / 6.0 + self.slope(z) * (z - inner)

    def slope(self, z: Tensor) -> Tensor:
        return (z / 3.0 + 0.5).clamp(-0.5, 1.5)

    def curvature(self, z: Tensor) -> Tensor:
        return (z.abs() <= 3.0).to(z) / 3.0

    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        inner = min(max(z, Decimal(-3)), Decimal(3))
        return inner * (inner + 3) / 6 + (2 * inner + 3) * (z - inner) / 6

    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        return (2 * min(max(z, Decimal(-3)), Decimal(3)) + 3) / 6
