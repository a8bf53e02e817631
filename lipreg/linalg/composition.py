"""Maps put together: one after another, and beside each other, kept as one map wherever that is exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, TypeGuard

import torch
from torch import Tensor

from lipreg.linalg.convolution import Convolution, parallel
from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.floats import two_sum
from lipreg.linalg.fusion import WRITTEN_OUT, fused, map_as_convolution
from lipreg.linalg.maps import Dense, LinearMap, Shape, V, same_entries
from lipreg.linalg.selection import Gather


@dataclass(frozen=True)
class Composed(LinearMap):
    """outer after inner, applied one after the other.

    Exact (see ``LinearMap.exact``) where every entry of the product is one product of entries, as beside a permutation;
    else |outer| |inner| and the norms that follow from it are upper bounds.
    """

    outer: LinearMap
    inner: LinearMap

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.inner.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.outer.out_shape

    def __call__(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def transpose(self, y: Tensor) -> Tensor:
        return self.inner.transpose(self.outer.transpose(y))

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, outer=self.outer.with_entries(change), inner=self.inner.with_entries(change))

    def through(self, x: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.outer.through(self.inner.through(x, act), act)

    def back(self, y: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.inner.back(self.outer.back(y, act), act)

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return self.outer.entries + self.inner.entries

    @property
    def layout(self) -> str:
        return f"{self.outer.description} after {self.inner.description}"

    @property
    def roundings(self) -> int:
        return self.outer.roundings + self.inner.roundings

    @property
    def exactly(self) -> LinearMap:
        return _of_exact(self, self.outer, self.inner)

    @property
    def rounded(self) -> bool:
        return True

    @property
    def lengths(self) -> int:
        return self.outer.lengths + self.inner.lengths

    @property
    def exact(self) -> bool:
        one_product = self.outer.single_rows or self.inner.single_columns
        return one_product and self.outer.exact and self.inner.exact

    @property
    def single_rows(self) -> bool:
        return self.outer.single_rows and self.inner.single_rows

    @property
    def single_columns(self) -> bool:
        return self.outer.single_columns and self.inner.single_columns

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        if self.outer.single_rows:  # each row is a multiple of one row of the inner map
            return self.outer.abs()(self.inner.row_norms(order, columns))
        if self.inner.single_columns and self.exact and order != math.inf:
            return super().row_norms(order, columns)
        return self.outer.abs()(self.inner.row_norms(order, columns))  # the triangle inequality


@dataclass(frozen=True)
class Sum(LinearMap):
    """The sum of two maps between the same shapes; |first| + |second| is an upper bound of its magnitude."""

    first: LinearMap
    second: LinearMap

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.first.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.first.out_shape

    def __call__(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)

    def transpose(self, y: Tensor) -> Tensor:
        return self.first.transpose(y) + self.second.transpose(y)

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, first=self.first.with_entries(change), second=self.second.with_entries(change))

    def through(self, x: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.first.through(x, act) + self.second.through(x, act)

    def back(self, y: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        return self.first.back(y, act) + self.second.back(y, act)

    def square(self) -> LinearMap:
        return Dense(self.dense().square(), self.in_shape, self.out_shape)

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return self.first.entries + self.second.entries

    @property
    def layout(self) -> str:
        return f"{self.first.description} plus {self.second.description}"

    @property
    def roundings(self) -> int:
        return self.first.roundings + self.second.roundings + 2

    @property
    def exactly(self) -> LinearMap:
        return _of_exact(self, self.first, self.second)

    @property
    def rounded(self) -> bool:
        return True

    @property
    def lengths(self) -> int:
        return self.first.lengths + self.second.lengths + 2

    @property
    def exact(self) -> bool:
        return False

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self.first.row_norms(order, columns) + self.second.row_norms(order, columns)


def _of_exact(whole: Composed | Sum, first: LinearMap, second: LinearMap) -> LinearMap:
    """The whole itself, or one of the parts without their roundings."""
    parts = first.exactly, second.exactly
    return whole if parts[0] is first and parts[1] is second else type(whole)(*parts)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """outer after inner, as one map wherever possible, so that its norms stay exact.

    In copies of which something can be proved it remembers what it was made of: see ``exactly``.
    """
    found = _composed(outer, inner)
    if found is outer or found is inner or not _remembers(found):
        return found
    exact = moves_exactly(outer) or (moves_exactly(inner) and inner.single_columns)
    if exact and outer.exactly is outer and inner.exactly is inner:
        return found
    return replace(found, made_of=Composed(outer.exactly, inner.exactly))


def _remembers(map: LinearMap) -> TypeGuard[Dense | Diagonal | Convolution]:
    return isinstance(map, Dense | Diagonal | Convolution) and is_proof(map.entries[0])


def is_proof(numbers: Tensor) -> bool:
    """Whether these are numbers of which something can be proved: float64 on the CPU that is not trained."""
    return numbers.dtype == torch.float64 and numbers.device.type == "cpu" and not numbers.requires_grad


def moves_exactly(map: LinearMap) -> bool:
    """Whether each entry of A x is one of x, the negative of one, or 0."""
    if not isinstance(map, Diagonal):
        return isinstance(map, Gather)
    # numbers elsewhere are not worth waiting for
    return map.unit or (map.scale.device.type == "cpu" and bool((map.scale.detach().abs() == 1.0).all()))


def _composed(outer: LinearMap, inner: LinearMap) -> LinearMap:
    one = fused(outer, inner)
    if one is not None:
        return one
    if isinstance(inner, Composed):
        one = fused(outer, inner.outer)
        if one is not None:
            return _composed(one, inner.inner)
    if isinstance(outer, Composed):
        one = fused(outer.inner, inner)
        if one is not None:
            return _composed(outer.outer, one)
    lazy = Composed(outer, inner)
    return lazy if lazy.exact else _written_out(lazy)


def add(first: LinearMap, second: LinearMap) -> LinearMap:
    """The sum of two maps between the same shapes, as one map wherever possible: parallel branches may cancel.

    It remembers what it was made of, as in ``compose``.
    """
    found = _added(first, second)
    if not _remembers(found) or _cancel(first, second):
        return found
    if first.exactly is first and second.exactly is second and _exact_sum(first, second, found):
        return found
    return replace(found, made_of=Sum(first.exactly, second.exactly))


def _exact_sum(first: LinearMap, second: LinearMap, total: LinearMap) -> bool:
    """Whether no sum of two entries was rounded, of maps with their entries in the same places (Knuth's two-sum)."""
    a, b = first.entries[0], second.entries[0]
    if not (type(first) is type(second) is type(total) and a.shape == b.shape == total.entries[0].shape):
        return False
    return bool((two_sum(a, b)[1] == 0).all())


def _cancel(first: LinearMap, second: LinearMap) -> bool:
    """Whether two maps are each other's negatives, number by number."""
    (sign, own), (other, rest) = _signed(first.exactly), _signed(second.exactly)
    if sign != other:
        return same_entries(own, rest)
    plain = isinstance(own, Dense | Convolution | Diagonal) and own.description == rest.description
    return plain and torch.equal(own.entries[0], -rest.entries[0])


def _signed(map: LinearMap) -> tuple[float, LinearMap]:
    """A sign and the map that it stands before."""
    match map:
        case Composed(outer=Diagonal() as outer, inner=inner) if (
            moves_exactly(outer) and outer.scale.numel() == 1 and outer.in_shape == outer.out_shape
        ):
            sign, rest = _signed(inner)
            return sign * float(outer.scale), rest
    return 1.0, map


def _added(first: LinearMap, second: LinearMap) -> LinearMap:
    match first, second:
        case Diagonal(), Diagonal():
            return Diagonal(first.scale + second.scale, first.in_shape, first.out_shape)
        case (Dense(), _) | (_, Dense()):
            return Dense(first.dense() + second.dense(), first.in_shape, first.out_shape)
    convolutions = [map_as_convolution(map) for map in (first, second)]
    if convolutions[0] is not None and convolutions[1] is not None:
        one = parallel(convolutions[0], convolutions[1])
        if one is not None:
            return one
    return _written_out(Sum(first, second))


def _written_out(map: LinearMap) -> LinearMap:
    """As a matrix, where it is small enough; else the map, with upper bounds for its norms."""
    if map.in_size * map.out_size > WRITTEN_OUT:
        return map
    return Dense(map.dense(), map.in_shape, map.out_shape)
