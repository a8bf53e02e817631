"""Tensors of float64 numbers, each with a bound on how far rounding has taken it from the exact number.

A computed sum of n products is off by at most n u (|A| |x|), u = 2^-53, plus n underflows (Higham 2002, section 3.1). So
one pass of |A| carries bound and rounding on together: |A| (error + n 2u |x|). The interface is that of ``Limbs``, for
which a network is evaluated anew where these bounds have grown too wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.floats import EPS
from lipreg.linalg.limbs import LEAST
from lipreg.linalg.maps import LinearMap
from lipreg.linalg.numbers import Numbers, ScalarFunction


@dataclass(frozen=True)
class Running(Numbers):
    """Floats with running bounds on their errors.

    Attributes:
        value: the floats.
        error: a bound on how far they are from the exact numbers, of the same shape; 0 where they are equal.
    """

    value: Tensor
    error: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Running:
        """The numbers that a float64 tensor holds."""
        return cls(x, torch.zeros_like(x))

    @property
    def shape(self) -> torch.Size:
        return self.value.shape

    def like(self, x: Tensor) -> Running:
        return Running.of(x)

    def through(self, map: LinearMap) -> Running:
        return map.exact_form.through(self, _act)

    def back(self, map: LinearMap) -> Running:
        return map.exact_form.back(self, _act)

    def times(self, factor: Tensor | Numbers) -> Running:
        """The product with finite float64 numbers that broadcast, or with the exact numbers behind ones with errors."""
        if not isinstance(factor, Tensor):
            factor, off = factor.rounded()
            value = self.value * factor
            error = self.error * (factor.abs() + off) + off * self.value.abs() + EPS * value.abs()
            return Running(value, _above(error, 8))
        value, size = self.value * factor, factor.abs()
        error = _above(self.error * size + EPS * value.abs(), 4)
        return Running(value, torch.where((size == 0) | (size == 1), self.error * size, error))

    def reindexed(self, move: Callable[[Tensor], Tensor], copies: int = 1) -> Running:
        """Entries elsewhere, or sums of at most ``copies`` of them: ``move`` acts on trailing dimensions."""
        if copies == 1:
            return Running(move(self.value), move(self.error))
        return Running(move(self.value), _above(move(self.error + copies * EPS * self.value.abs()), copies))

    def relu(self, slope: float) -> Running:
        """max(z, slope z), 0 <= slope < 1, whose error is at most that of z and a rounding."""
        if slope == 0:
            return Running(self.value.clamp(min=0.0), self.error.masked_fill(self.value < -self.error, 0.0))
        value = torch.where(self.value > 0, self.value, slope * self.value)
        return Running(value, _above(self.error + EPS * value.abs(), 2))

    def applied(self, function: ScalarFunction) -> Running:
        """A function of every entry."""
        return Running(*function.enclosed(self.value, self.error))

    def amax(self) -> Running:
        """The largest over the last dimension, whose error is at most the largest of its entries' errors."""
        return Running(self.value.amax(-1), self.error.amax(-1))

    def __add__(self, other: Running) -> Running:
        value = self.value + other.value
        return Running(value, _above(self.error + other.error + EPS * value.abs(), 3))

    def __neg__(self) -> Running:
        return Running(-self.value, self.error)

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The value and the bound on its error."""
        return self.value, self.error


def _act(map: LinearMap, x: Running, back: bool) -> Running:
    """A x or A^T x of a map with at most one tensor of entries."""

    def run(map: LinearMap, x: Tensor) -> Tensor:
        return map.transpose(x) if back else map(x)

    terms = map.roundings
    value = run(map, x.value)
    error = run(map.abs(), x.error + terms * EPS * x.value.abs() + LEAST)
    return Running(value, _above(error, terms))


def _above(bound: Tensor, terms: int) -> Tensor:
    """A bound that is a float64 sum of ``terms`` terms >= 0, rounded up, underflow included."""
    return bound * (1.0 + (terms + 4) * EPS) + (terms + 2) * LEAST
