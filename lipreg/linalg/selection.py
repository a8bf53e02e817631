"""Maps that rearrange numbers, or repeat one small matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from lipreg.linalg.maps import LinearMap, Shape, V, Weighted, leading


@dataclass(frozen=True)
class Gather(LinearMap):
    """Each output is one entry of the input, or 0: permutations, slices, nearest upsampling, padding, places in a sum.

    Attributes:
        index: the flat position that each output reads, ``(prod out_shape,)`` int64, -1 for a constant 0.
        in_shape, out_shape: of its inputs and outputs.
        one: the number 1 in the map's dtype and on its device.
    """

    index: Tensor
    in_shape: Shape
    out_shape: Shape
    one: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.reshape(*leading(x, self.in_shape), self.in_size)
        read = self.index >= 0
        y = flat.index_select(-1, self.index.clamp(min=0)) * read
        return y.reshape((*y.shape[:-1], *self.out_shape))

    def transpose(self, y: Tensor) -> Tensor:
        flat = y.reshape(*leading(y, self.out_shape), self.out_size) * (self.index >= 0)
        x = flat.new_zeros(*flat.shape[:-1], self.in_size).index_add(-1, self.index.clamp(min=0), flat)
        return x.reshape((*x.shape[:-1], *self.in_shape))

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return (self.one, self.index)

    @property
    def roundings(self) -> int:
        return self._copies

    @property
    def _copies(self) -> int:
        """The most outputs that read one input."""
        read = self.index[self.index >= 0]
        return int(read.bincount().max()) if len(read) else 0

    @property
    def single_rows(self) -> bool:
        return True

    @property
    def single_columns(self) -> bool:
        return self._copies <= 1

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self(columns)


def gather(index: Tensor, in_shape: Shape, out_shape: Shape, like: Tensor) -> Gather:
    """A Gather from its index.

    Args:
        index: the flat position that each output reads, -1 for a constant 0; of any shape.
        in_shape, out_shape: of its inputs and outputs.
        like: of the dtype and on the device that the map is to have.
    """
    return Gather(index.flatten().to(like.device), in_shape, out_shape, like.new_ones(()))


@dataclass(frozen=True)
class Repeated(Weighted):
    """The same matrix on every row of the input, which is read as (copies, inputs).

    Attributes:
        weight: ``(outputs, inputs)``.
        in_shape, out_shape: of copies times inputs, and of copies times outputs, entries.
    """

    weight: Tensor
    in_shape: Shape
    out_shape: Shape

    def __call__(self, x: Tensor) -> Tensor:
        y = x.reshape(*leading(x, self.in_shape), self._copies, self.weight.shape[1]) @ self.weight.T
        return y.reshape((*y.shape[:-2], *self.out_shape))

    def transpose(self, y: Tensor) -> Tensor:
        x = y.reshape(*leading(y, self.out_shape), self._copies, self.weight.shape[0]) @ self.weight
        return x.reshape((*x.shape[:-2], *self.in_shape))

    @property
    def _copies(self) -> int:
        """How many rows there are; reshape cannot infer it for a batch of no points."""
        return math.prod(self.in_shape) // self.weight.shape[1]

    @property
    def roundings(self) -> int:
        return sum(self.weight.shape)

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        if order != float("inf"):
            return super().row_norms(order, columns)
        reads = columns.reshape(len(columns), -1, 1, self.weight.shape[1]) * self.weight.abs()
        return reads.amax(-1).reshape(-1, *self.out_shape)


@dataclass(frozen=True)
class Transposed(LinearMap):
    """The transpose of a map, as a map: a transposed convolution.

    Attributes:
        map: the map that it transposes.
    """

    map: LinearMap

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        """The out_shape of the map."""
        return self.map.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        """The in_shape of the map."""
        return self.map.in_shape

    def __call__(self, x: Tensor) -> Tensor:
        return self.map.transpose(x)

    def transpose(self, y: Tensor) -> Tensor:
        return self.map(y)

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, map=self.map.with_entries(change))

    @property
    def exact_form(self) -> LinearMap:
        return replace(self, map=self.map.exact_form) if self.map.rounded else self

    def through(self, x: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.map.back(x, act)

    def back(self, y: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.map.through(y, act)

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return self.map.entries

    @property
    def layout(self) -> str:
        return self.map.description

    @property
    def roundings(self) -> int:
        return self.map.roundings

    @property
    def single_rows(self) -> bool:
        return self.map.single_columns

    @property
    def single_columns(self) -> bool:
        return self.map.single_rows
