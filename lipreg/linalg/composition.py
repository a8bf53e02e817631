"""Maps put together: one after another, and beside each other, kept as one map wherever that is exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lipreg.linalg.convolution import Convolution, as_convolution, chained, channel_scaled, parallel
from lipreg.linalg.maps import Dense, Diagonal, LinearMap, Shape, V, Weighted
from lipreg.linalg.selection import Gather

WRITTEN_OUT = 2**22
"""Entries up to which a map that is exact in no other form is written out as a matrix."""


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
    def exact(self) -> bool:
        return False

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self.first.row_norms(order, columns) + self.second.row_norms(order, columns)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """outer after inner, as one map wherever possible, so that its norms stay exact."""
    fused = _fused(outer, inner)
    if fused is not None:
        return fused
    if isinstance(inner, Composed):
        fused = _fused(outer, inner.outer)
        if fused is not None:
            return compose(fused, inner.inner)
    if isinstance(outer, Composed):
        fused = _fused(outer.inner, inner)
        if fused is not None:
            return compose(outer.outer, fused)
    lazy = Composed(outer, inner)
    return lazy if lazy.exact else _written_out(lazy)


def add(first: LinearMap, second: LinearMap) -> LinearMap:
    """The sum of two maps between the same shapes, as one map wherever possible: parallel branches may cancel."""
    match first, second:
        case Diagonal(), Diagonal():
            return Diagonal(first.scale + second.scale, first.in_shape, first.out_shape)
        case (Dense(), _) | (_, Dense()):
            return Dense(first.dense() + second.dense(), first.in_shape, first.out_shape)
    convolutions = [_as_convolution(map) for map in (first, second)]
    if convolutions[0] is not None and convolutions[1] is not None:
        fused = parallel(convolutions[0], convolutions[1])
        if fused is not None:
            return fused
    return _written_out(Sum(first, second))


def gap(first: LinearMap, second: LinearMap) -> LinearMap | None:
    """first - second, of two maps that put numbers into the same places: entry by entry, so that its magnitude is exact.

    None where they do not, or where the map is not linear in one tensor of numbers.
    """
    if first.description != second.description:
        return None
    match first, second:
        case Weighted(), Weighted():
            return first.with_entries(lambda weight: weight - second.weight)
        case Diagonal(), Diagonal():
            return Diagonal(first.scale - second.scale, first.in_shape, first.out_shape)
        case Composed(), Composed():
            if same_entries(first.outer, second.outer):
                inner = gap(first.inner, second.inner)
                return None if inner is None else Composed(first.outer, inner)
            if same_entries(first.inner, second.inner):
                outer = gap(first.outer, second.outer)
                return None if outer is None else Composed(outer, first.inner)
    return None


def same_entries(first: LinearMap, second: LinearMap) -> bool:
    """Whether two maps are the same, number by number."""
    pairs = zip(first.entries, second.entries, strict=False)
    return first.description == second.description and all(
        one is other or (one.shape == other.shape and bool(torch.equal(one, other))) for one, other in pairs
    )


def _fused(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """The product as one map of the closed forms, or None."""
    match outer, inner:
        case Diagonal(unit=True), _ if outer.in_shape == outer.out_shape:
            return inner
        case _, Diagonal(unit=True) if inner.in_shape == inner.out_shape:
            return outer
        case Diagonal(), Diagonal():
            if outer.unit:
                return Diagonal(inner.scale, inner.in_shape, outer.out_shape, inner.unit)
            scale = outer.scale
            if scale.numel() == 1:
                scale = scale.reshape(())
            elif inner.in_shape != inner.out_shape:
                scale = scale.expand(outer.in_shape).reshape(inner.in_shape)
            return Diagonal(scale if inner.unit else inner.scale * scale, inner.in_shape, outer.out_shape)
        case Diagonal(), Dense():
            rows = inner.weight if outer.unit else _flat(outer, outer.in_shape).unsqueeze(1) * inner.weight
            return Dense(rows, inner.in_shape, outer.out_shape)
        case Dense(), Diagonal():
            rows = outer.weight if inner.unit else outer.weight * _flat(inner, inner.in_shape)
            return Dense(rows, inner.in_shape, outer.out_shape)
        case Dense(), _:
            rows = inner.transpose(outer.weight.reshape(-1, *outer.in_shape))
            return Dense(rows.flatten(1), inner.in_shape, outer.out_shape)
        case _, Dense():
            columns = outer(inner.weight.T.reshape(-1, *inner.out_shape))
            return Dense(columns.flatten(1).T, inner.in_shape, outer.out_shape)
        case Gather(), Gather():
            read = torch.where(outer.index >= 0, inner.index[outer.index.clamp(min=0)], -1)
            return Gather(read, inner.in_shape, outer.out_shape, inner.one)
        case Diagonal(), Convolution() if not outer.unit and outer.in_shape == outer.out_shape:
            factor = _by_channel(outer)
            return None if factor is None else channel_scaled(inner, factor, outputs=True)
        case Convolution(), Diagonal() if not inner.unit and inner.in_shape == inner.out_shape:
            factor = _by_channel(inner)
            return None if factor is None else channel_scaled(outer, factor, outputs=False)
        case Convolution(), Convolution():
            reach = math.prod(a + b for a, b in zip(outer.weight.shape[2:], inner.weight.shape[2:], strict=True))
            small = outer.weight.shape[0] * inner.in_shape[0] * reach <= WRITTEN_OUT
            return chained(outer, inner) if small else None
    return None


def _written_out(map: LinearMap) -> LinearMap:
    """As a matrix, where it is small enough; else the map, with upper bounds for its norms."""
    if map.in_size * map.out_size > WRITTEN_OUT:
        return map
    return Dense(map.dense(), map.in_shape, map.out_shape)


def _flat(map: Diagonal, shape: Shape) -> Tensor:
    return map.scale.expand(shape).flatten()


def _by_channel(map: Diagonal) -> Tensor | None:
    """One factor a channel, if that is what the scaling is made of; equal numbers that may be trained apart are not."""
    scale, dims = map.scale, len(map.in_shape) - 1
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.dim() == dims + 1 and scale.numel() == scale.shape[0]:
        return scale.flatten()
    return None


def _as_convolution(map: LinearMap) -> Convolution | None:
    if isinstance(map, Diagonal) and map.in_shape == map.out_shape:
        return as_convolution(map.scale, map.in_shape)
    return map if isinstance(map, Convolution) else None
