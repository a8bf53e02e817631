"""Curves that are their argument times a share of it, between 0 and 1, that grows with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import Tensor

from lipreg.curves.curve import Curve, Extreme, Kind
from lipreg.curves.functions import bell, sigmoid_in
from lipreg.linalg import Places
from lipreg.linalg.places import ZERO

_HUMPED: tuple[Kind, ...] = ("concave", "convex", "concave")


@dataclass(frozen=True)
class Silu(Curve):
    """z sigmoid(z)."""

    turns = (Extreme(-1.2784645427610738, -0.27846454276107380),)
    bends = (Extreme(-2.3993572805154677, -0.09983932012886692), Extreme(2.3993572805154677, 1.0998393201288669))
    kinds = _HUMPED
    peaks = (
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

    def value_in(self, z: Decimal, places: Places) -> Decimal:
        return z * sigmoid_in(z, places)

    def slope_in(self, z: Decimal, places: Places) -> Decimal:
        small = places.exp(-abs(z))
        return ((small if z < 0 else 1) + z * small / (1 + small)) / (1 + small)


@dataclass(frozen=True)
class Gelu(Curve):
    """z Phi(z), Phi the normal distribution's."""

    turns = (Extreme(-0.75179152469356446, -0.16997120747990367),)
    bends = (Extreme(-1.4142135623730950, -0.12890414518515479), Extreme(1.4142135623730950, 1.1289041451851548))
    kinds = _HUMPED
    peaks = (Extreme(-2.0, -0.1079819330263761), Extreme(0.0, 0.7978845608028654), Extreme(2.0, -0.1079819330263761))

    def value(self, z: Tensor) -> Tensor:
        return 0.5 * z * torch.erfc(-z / math.sqrt(2.0))

    def slope(self, z: Tensor) -> Tensor:
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
        return 0.5 * torch.erfc(-z / math.sqrt(2.0)) + z * density

    def curvature(self, z: Tensor) -> Tensor:
        return torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi) * (2.0 - z.square())

    def _share_in(self, z: Decimal, places: Places) -> Decimal:
        """Phi(z)."""
        return (1 + places.erf(abs(z) / places.root_2).copy_sign(z)) / 2

    def value_in(self, z: Decimal, places: Places) -> Decimal:
        return z * self._share_in(z, places)

    def slope_in(self, z: Decimal, places: Places) -> Decimal:
        density = places.exp(-z * z / 2) / (places.root_2 * places.root_pi)
        return self._share_in(z, places) + z * density


@dataclass(frozen=True)
class Mish(Curve):
    """z tanh(log(1 + e^z))."""

    turns = (Extreme(-1.1924312145154952, -0.30884341301725041),)
    bends = (Extreme(-2.2563763963607931, -0.11252612238946256), Extreme(1.4905711794854285, 1.0884981612517279))
    kinds = _HUMPED
    peaks = (
        Extreme(-3.2673378465204046, -0.04173207070661103),
        Extreme(-0.08793443131491421, 0.6442046372369724),
        Extreme(2.1148425630208771, -0.05903335695393629),
    )

    def _share(self, z: Tensor) -> Tensor:
        """tanh(log(1 + e^z)) = (w^2 + 2 w) / (w^2 + 2 w + 2), w = e^z, written by e^-|z|."""
        small = torch.exp(-z.abs())
        right = (1.0 + 2.0 * small) / (1.0 + 2.0 * small + 2.0 * small.square())
        left = (small.square() + 2.0 * small) / (small.square() + 2.0 * small + 2.0)
        return torch.where(z > 0, right, left)

    def value(self, z: Tensor) -> Tensor:
        return z * self._share(z)

    def slope(self, z: Tensor) -> Tensor:
        small = torch.exp(-z.abs())
        # d share / dz = 4 w (1 + w) / (w^2 + 2 w + 2)^2
        right = 4.0 * small.square() * (1.0 + small) / (1.0 + 2.0 * small + 2.0 * small.square()).square()
        left = 4.0 * small * (1.0 + small) / (small.square() + 2.0 * small + 2.0).square()
        return self._share(z) + z * torch.where(z > 0, right, left)

    def curvature(self, z: Tensor) -> Tensor:
        small = torch.exp(-z.abs())
        right, left = 1.0 + 2.0 * small + 2.0 * small.square(), small.square() + 2.0 * small + 2.0
        once = torch.where(z > 0, small.square() / right.square(), small / left.square()) * 4.0 * (1.0 + small)
        of_right = 4.0 * small.square() * (2.0 + small) / right.square()
        of_right = of_right - 16.0 * small.square() * (1.0 + small).square() / right.pow(3)
        of_left = 4.0 * small * (1.0 + 2.0 * small) / left.square()
        of_left = of_left - 16.0 * small.square() * (1.0 + small).square() / left.pow(3)
        return 2.0 * once + z * torch.where(z > 0, of_right, of_left)

    def value_in(self, z: Decimal, places: Places) -> Decimal:
        w = places.exp(-abs(z))
        return z * ((1 + 2 * w) / (1 + 2 * w + 2 * w * w) if z > 0 else (w * w + 2 * w) / (w * w + 2 * w + 2))

    def slope_in(self, z: Decimal, places: Places) -> Decimal:
        w = places.exp(-abs(z))
        if z > 0:
            all = 1 + 2 * w + 2 * w * w
            return (1 + 2 * w) / all + z * 4 * w * w * (1 + w) / all**2
        all = w * w + 2 * w + 2
        return (w * w + 2 * w) / all + z * 4 * w * (1 + w) / all**2


@dataclass(frozen=True)
class Hardswish(Curve):
    """z min(max(z + 3, 0), 6) / 6."""

    turns = (Extreme(-1.5, -0.375),)
    bends = (Extreme(-3.0, 0.0), Extreme(-3.0, -0.5), Extreme(3.0, 1.5), Extreme(3.0, 1.0))
    kinds = ("straight", "convex", "straight")
    peaks = (Extreme(-3.0, 1.0 / 3.0), Extreme(-3.0, 0.0), Extreme(3.0, 1.0 / 3.0), Extreme(3.0, 0.0))

    def value(self, z: Tensor) -> Tensor:
        return z * (z + 3.0).clamp(0.0, 6.0) / 6.0

    def slope(self, z: Tensor) -> Tensor:
        return torch.where(z.abs() <= 3.0, z / 3.0 + 0.5, (z > 0).to(z))

    def curvature(self, z: Tensor) -> Tensor:
        return (z.abs() <= 3.0).to(z) / 3.0

    def value_in(self, z: Decimal, places: Places) -> Decimal:
        return z * min(max(z + 3, ZERO), Decimal(6)) / 6

    def slope_in(self, z: Decimal, places: Places) -> Decimal:
        return (2 * z + 3) / 6 if abs(z) <= 3 else Decimal(z > 0)
