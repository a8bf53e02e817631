"""What is known of one real function: values, derivatives, and the tables from which their ranges follow.

A curve is cut at its inflections, where its second derivative changes sign or its derivative jumps. Between two of them it
is convex, concave or straight. Everything that bounds need of a function follows from that, whichever it is: the range of
its derivative over [l, u] from the ends and the inflections inside, that of its secants and of its distance from a line by
tangents (``lipreg.curves.secants``, ``lipreg.curves.relaxation``).

Torch's functions are off by a few units in the last place, for which every range is widened (``value_rounding``). Behind
many layers such errors can grow larger than the derivatives themselves, so values and derivatives are also computed in
decimals (``in_decimals``), by the same formulas.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lipreg.linalg import DecimalArithmetic

Ends = tuple[Tensor, Tensor]
"""A lower and an upper bound, or a computed value and a bound on its error, entry by entry."""
Kind = Literal["convex", "concave", "straight"]
"""What a function is on a piece between two inflections."""
INF = math.inf
LEAST = math.ulp(0.0)
"""The smallest positive float64: it covers the underflow of a product."""
FAR = 1e300
"""Ends beyond which a curve is what it is at infinity."""
ROUNDED = 1e-14
"""How far the numbers in tables are off at most: values relative to themselves, places absolutely."""
RELATIVE, ABSOLUTE = 16.0, 4.0
"""Roundings that a value, or a derivative, may be off by: relative to itself, and to 1 or an argument below 1."""


@dataclass(frozen=True)
class Extreme:
    """A place at which a function has a value that its ends need not have: a least or largest one, or one side of a jump.

    Attributes:
        location: the place, within ``ROUNDED`` of the true one.
        value: the value there, within ``ROUNDED`` of itself.
    """

    location: float
    value: float

    def within(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Whether the true place may lie in [lower, upper], entry by entry."""
        return (lower <= self.location + ROUNDED) & (upper >= self.location - ROUNDED)

    @property
    def ends(self) -> tuple[float, float]:
        """Bounds between which the true value lies: the number in the table, less and plus its rounding."""
        off = ROUNDED * abs(self.value)
        return self.value - off, self.value + off


class Curve(ABC):
    """A continuous function f of one number, differentiable except at inflections where its derivative jumps.

    A subclass gives its formulas, for tensors and for decimals, and the tables below, from which all ranges follow. Methods
    act entry by entry on tensors of any shape, which they keep.

    Instances are equal where their functions are, and say in ``repr`` which one that is.

    Attributes:
        extrema: where its value is a least or largest one.
        inflections: where its derivative is a least or largest one, or jumps (an entry for each side), from left to right.
        curvature_extrema: where its second derivative is a least or largest one, or jumps, likewise.
        kinds: what f is left of the first inflection, between two, and right of the last: one more than there are places.
        asymptotic_slopes: its derivatives at -inf and inf.
        limits: its values at -inf and inf.
    """

    extrema: ClassVar[tuple[Extreme, ...]] = ()
    inflections: tuple[Extreme, ...] = ()
    curvature_extrema: tuple[Extreme, ...] = ()
    kinds: tuple[Kind, ...] = ("convex",)
    asymptotic_slopes: tuple[float, float] = (0.0, 1.0)
    limits: tuple[float, float] = (0.0, math.inf)

    @abstractmethod
    def value(self, z: Tensor) -> Tensor:
        """f(z), differentiable in z, at finite z; ``range`` knows the values at infinity."""

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """f'(z), differentiable in z, and accurate where it is small; at a jump the one of a side that is not straight."""

    @abstractmethod
    def curvature(self, z: Tensor) -> Tensor:
        """f''(z), where f is twice differentiable."""

    @abstractmethod
    def value_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        """f(z) within 10^-promised (|f(z)| + min(|z|, 1)), called inside the decimal context of ``places``."""

    @abstractmethod
    def slope_decimal(self, z: Decimal, places: DecimalArithmetic) -> Decimal:
        """f'(z) within 10^-promised (|f'(z)| + 1), exactly on straight pieces; at a jump the one of one side."""

    @property
    def derivative(self) -> Derivative:
        """f' as a function for ``Numbers.applied``, in any arithmetic."""
        return Derivative(self)

    @property
    def places(self) -> tuple[float, ...]:
        """The places of the inflections from left to right, each once."""
        return tuple(dict.fromkeys(bend.location for bend in self.inflections))

    @property
    def slopes_everywhere(self) -> tuple[float, float]:
        """The range of the derivative over all numbers, rounded outward."""
        ends = [end for bend in self.inflections for end in bend.ends]
        return min(*self.asymptotic_slopes, *ends), max(*self.asymptotic_slopes, *ends)

    @property
    def steepest(self) -> float:
        """The Lipschitz constant of f, rounded up."""
        least, most = self.slopes_everywhere
        return max(-least, most)

    def is_linear_at(self, z: Tensor) -> Tensor:
        """Whether z lies inside a straight piece, where the derivative is one number and has no rounding."""
        inside = torch.zeros_like(z, dtype=torch.bool)
        for kind, low, high in self.pieces():
            if kind == "straight":
                inside = inside | ((z > low) & (z < high))
        return inside

    def pieces(self) -> list[tuple[Kind, float, float]]:
        """The pieces between inflections from left to right: the kind of each, and its two ends."""
        ends = (-math.inf, *self.places, math.inf)
        return [(kind, low, high) for kind, low, high in zip(self.kinds, ends[:-1], ends[1:], strict=True)]

    def value_rounding(self, z: Tensor, value: Tensor) -> Tensor:
        """A bound on the rounding of f(z) as ``value`` computes it."""
        return _eps(z) * (RELATIVE * value.abs() + ABSOLUTE * z.abs().clamp(max=1.0))

    def slope_rounding(self, z: Tensor, slope: Tensor) -> Tensor:
        """A bound on the rounding of f'(z) as ``slope`` computes it: 0 on straight pieces."""
        return torch.where(self.is_linear_at(z), 0.0, _eps(z) * (RELATIVE * slope.abs() + ABSOLUTE))

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """The least and the largest value over [lower, upper], rounded outward; ends may be infinite."""
        low, high = self._range(self.value, self.value_rounding, self.extrema, lower, upper)
        least, most = self.limits
        low = torch.where(lower == -math.inf, torch.clamp(low, max=least), low)
        high = torch.where(lower == -math.inf, torch.clamp(high, min=least), high)
        low = torch.where(upper == math.inf, torch.clamp(low, max=most), low)
        return low, torch.where(upper == math.inf, torch.clamp(high, min=most), high)

    def slopes(self, lower: Tensor, upper: Tensor) -> Ends:
        """The least and the largest derivative over [lower, upper], rounded outward; ends may be infinite.

        At a jump inside the interval the derivatives of both sides count, and all numbers between them.
        """
        low, high = self._range(self.slope, self.slope_rounding, self.inflections, lower, upper)
        least, most = self.slopes_everywhere
        return low.clamp(min=least), high.clamp(max=most)

    def curvatures(self, lower: Tensor, upper: Tensor) -> Ends:
        """The least and the largest second derivative over [lower, upper], rounded outward.

        They hold where no jump of the derivative lies inside the interval (``smooth``).
        """

        def rounding(z: Tensor, value: Tensor) -> Tensor:
            return _eps(z) * (RELATIVE * value.abs() + ABSOLUTE)

        return self._range(self.curvature, rounding, self.curvature_extrema, lower, upper)

    def enclosed(self, z: Tensor, error: Tensor) -> Ends:
        """A value for f at a number that is within ``error`` of z, and a bound on the error of that value."""
        return self._enclosed(self.value(z), self.range(z - error, z + error))

    def slope_enclosed(self, z: Tensor, error: Tensor) -> Ends:
        """A value for f' at a number that is within ``error`` of z, and a bound on the error of that value."""
        return self._enclosed(self.slope(z), self.slopes(z - error, z + error))

    def in_decimals(self, z: Sequence[Decimal], places: DecimalArithmetic) -> list[Decimal]:
        """f at each number, as ``value_decimal`` computes it."""
        return [self.value_decimal(number, places) for number in z]

    def decimal_error(self, z: Tensor, error: Tensor, width: Tensor, promised: int) -> Tensor:
        """A bound on the error of f as ``in_decimals`` computes it, at decimals that stand for the true numbers.

        Args:
            z: float64 numbers; decimals and true numbers are both within ``error`` of them.
            error: of z's shape.
            width: how far the decimals may be from the true numbers.
            promised: places after the point that the decimals keep.
        """
        ends = z - error, z + error
        size = self.value(z).abs() + z.abs().clamp(max=1.0)
        return _apart(self.slopes(*ends), self.range(*ends), width) + _charge(promised, size, (z != 0) | (error > 0))

    def smooth(self, z: Tensor, error: Tensor) -> Tensor:
        """Whether f is differentiable at all numbers within ``error`` of z."""
        whole = torch.ones_like(z, dtype=torch.bool)
        for first, second in zip(self.inflections, self.inflections[1:], strict=False):
            if first.location == second.location:
                whole = whole & ~first.within(z - error, z + error)
        return whole

    @staticmethod
    def _enclosed(value: Tensor, ends: Ends) -> Ends:
        low, high = ends
        return value, torch.maximum(high - value, value - low) * (1.0 + 4 * _eps(value))

    @staticmethod
    def _range(function, rounding, extremes: tuple[Extreme, ...], lower: Tensor, upper: Tensor) -> Ends:
        far = min(FAR, 0.1 * torch.finfo(lower.dtype).max)
        ends = [end.clamp(-far, far) for end in (lower, upper)]
        at = [function(end) for end in ends]
        off = [rounding(end, value) for end, value in zip(ends, at, strict=True)]
        low = torch.minimum(at[0] - off[0], at[1] - off[1])
        high = torch.maximum(at[0] + off[0], at[1] + off[1])
        for extreme in extremes:
            inside, (least, most) = extreme.within(lower, upper), extreme.ends
            low = torch.where(inside, low.clamp(max=least), low)
            high = torch.where(inside, high.clamp(min=most), high)
        return low, high


def _eps(z: Tensor) -> float:
    return torch.finfo(z.dtype).eps


@dataclass(frozen=True)
class Derivative:
    """The derivative f' of a curve f, as a function for ``Numbers.applied``.

    Attributes:
        curve: f.
    """

    curve: Curve

    def value(self, z: Tensor) -> Tensor:
        """f'(z)."""
        return self.curve.slope(z)

    def enclosed(self, z: Tensor, error: Tensor) -> Ends:
        """A value for f' at a number that is within ``error`` of z, and a bound on its error; see ``Curve.enclosed``."""
        return self.curve.slope_enclosed(z, error)

    def in_decimals(self, z: Sequence[Decimal], places: DecimalArithmetic) -> list[Decimal]:
        """f' at each number, as ``Curve.slope_decimal`` computes it."""
        return [self.curve.slope_decimal(number, places) for number in z]

    def decimal_error(self, z: Tensor, error: Tensor, width: Tensor, promised: int) -> Tensor:
        """A bound on the error of f' as ``in_decimals`` computes it.

        Where a jump of f' may lie within ``error`` of z, the bound is the whole range of f' there; elsewhere it is also at
        most the steepness of f' times ``width``, beside the rounding of the decimals.

        Args:
            z: float64 numbers; decimals and true numbers are both within ``error`` of them.
            error: of z's shape.
            width: how far the decimals may be from the true numbers.
            promised: places after the point that the decimals keep.
        """
        curve, ends = self.curve, (z - error, z + error)
        smooth = curve.smooth(z, error)
        bends = [torch.where(smooth, end, size) for end, size in zip(curve.curvatures(*ends), (-INF, INF), strict=True)]
        straight = curve.is_linear_at(ends[0]) & curve.is_linear_at(ends[1]) & smooth
        charge = _charge(promised, curve.slope(z).abs() + 1.0, ~straight)
        return _apart((bends[0], bends[1]), curve.slopes(*ends), width) + charge


def _apart(steepness: Ends, ends: Ends, width: Tensor) -> Tensor:
    """How far two values of a function may be from each other at places at most ``width`` apart, rounded up."""
    (falling, rising), (low, high) = steepness, ends
    steps = torch.maximum(-falling, rising) * width
    return torch.where(width > 0, torch.fmin(steps, high - low) * (1.0 + 4 * _eps(width)), 0.0)


def _charge(promised: int, size: Tensor, where: Tensor) -> Tensor:
    """The rounding of decimals, 10^-promised times a size, at some entries and 0 at the others.

    The factor 2 covers the rounding of this product and of the size.
    """
    return torch.where(where, 2.0 * 10.0**-promised * size + LEAST, 0.0)
