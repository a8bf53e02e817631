"""Tensors of numbers in some arithmetic, which maps and passes through a graph act on whatever it is.

``Plain`` is torch's own; ``Running`` carries a bound on its rounding along; ``Limbs`` has digits enough to round nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from lipreg.linalg.maps import LinearMap
from lipreg.linalg.places import DecimalArithmetic


class ScalarFunction(Protocol):
    """A function of one number, such as a curve: its values in every arithmetic of ``Numbers``."""

    def value(self, z: Tensor, /) -> Tensor:
        """The values as torch computes them."""
        ...

    def enclosed(self, z: Tensor, error: Tensor, /) -> tuple[Tensor, Tensor]:
        """The value at a number within ``error`` of z, and a bound on the error of that."""
        ...

    def in_decimals(self, z: Sequence[Decimal], places: DecimalArithmetic, /) -> list[Decimal]:
        """The values of numbers, in decimals with so many places."""
        ...

    def decimal_error(self, z: Tensor, error: Tensor, width: Tensor, promised: int, /) -> Tensor:
        """A bound on the errors of values computed ``in_decimals``.

        Args:
            z: the numbers as floats.
            error: the numbers, and the exact ones that they stand for, lie within this of z.
            width: the numbers lie within this of the exact ones.
            promised: places of the values.
        """
        ...


class Numbers(Protocol):
    """A tensor in some arithmetic."""

    @property
    def shape(self) -> torch.Size:
        """The shape of the tensor."""
        ...

    def like(self, x: Tensor, /) -> Self:
        """Another tensor in the same arithmetic."""
        ...

    def through(self, map: LinearMap, /) -> Self:
        """A x."""
        ...

    def back(self, map: LinearMap, /) -> Self:
        """A^T x."""
        ...

    def times(self, factor: Tensor | Numbers, /) -> Self:
        """The entrywise product with a tensor of as many dimensions that broadcasts: with its exact numbers, or with those
        that numbers in any arithmetic stand for."""
        ...

    def applied(self, function: ScalarFunction, /) -> Self:
        """The values of a function at every entry."""
        ...

    def reindexed(self, move: Callable[[Tensor], Tensor], /, copies: int = 1) -> Self:
        """Entries elsewhere, or sums of at most ``copies`` of them: ``move`` acts on trailing dimensions."""
        ...

    def relu(self, slope: float, /) -> Self:
        """max(z, slope z), 0 <= slope < 1."""
        ...

    def amax(self) -> Self:
        """The largest over the last dimension."""
        ...

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The numbers as a tensor, and a bound on its error; 0 where the arithmetic has none."""
        ...

    def __add__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...


N = TypeVar("N", bound=Numbers)


@dataclass(frozen=True)
class Plain(Numbers):
    """A tensor as torch computes it, differentiable, in its own dtype, without a bound on its rounding.

    Attributes:
        value: the tensor.
    """

    value: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.value.shape

    def like(self, x: Tensor) -> Plain:
        return Plain(x)

    def through(self, map: LinearMap) -> Plain:
        return Plain(map(self.value))

    def back(self, map: LinearMap) -> Plain:
        return Plain(map.transpose(self.value))

    def times(self, factor: Tensor | Numbers) -> Plain:
        return Plain(self.value * (factor if isinstance(factor, Tensor) else factor.rounded()[0]))

    def applied(self, function: ScalarFunction) -> Plain:
        return Plain(function.value(self.value))

    def reindexed(self, move: Callable[[Tensor], Tensor], copies: int = 1) -> Plain:
        return Plain(move(self.value))

    def relu(self, slope: float) -> Plain:
        return Plain(torch.where(self.value > 0, self.value, slope * self.value))

    def amax(self) -> Plain:
        return Plain(self.value.amax(-1))

    def rounded(self) -> tuple[Tensor, Tensor]:
        return self.value, torch.zeros_like(self.value)

    def __add__(self, other: Plain) -> Plain:
        return Plain(self.value + other.value)

    def __neg__(self) -> Plain:
        return Plain(-self.value)
