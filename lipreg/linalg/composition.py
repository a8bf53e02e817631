"""Maps put together: one after another, and beside each other, kept as one map wherever that is exact."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

import torch
from torch import Tensor

from lipreg.linalg.convolution import Convolution, parallel
from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.floats import two_sum
from lipreg.linalg.fusion import WRITTEN_OUT, fused, map_as_convolution
from lipreg.linalg.joined import Composed, Sum
from lipreg.linalg.maps import Dense, LinearMap, same_entries
from lipreg.linalg.selection import Gather


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """outer after inner, as one map wherever possible, so that its norms stay exact.

    Where its numbers admit a proof (``is_proof``) it keeps the maps that it was made of: see ``LinearMap.exact_form``.
    """
    product = _composed(outer, inner)
    if product is outer or product is inner or not _keeps_parts(product):
        return product
    exact = is_signed_selection(outer) or (is_signed_selection(inner) and inner.single_columns)
    if exact and outer.exact_form is outer and inner.exact_form is inner:
        return product
    return replace(product, made_of=Composed(outer.exact_form, inner.exact_form))


def _keeps_parts(map: LinearMap) -> TypeGuard[Dense | Diagonal | Convolution]:
    """Whether the map has a field for what it was made of, and numbers of which something can be proved."""
    return isinstance(map, Dense | Diagonal | Convolution) and is_proof(map.entries[0])


def is_proof(numbers: Tensor) -> bool:
    """Whether these are numbers of which something can be proved: float64 on the CPU that is not trained."""
    return numbers.dtype == torch.float64 and numbers.device.type == "cpu" and not numbers.requires_grad


def is_signed_selection(map: LinearMap) -> bool:
    """Whether each entry of A x is one of x, the negative of one, or 0."""
    if not isinstance(map, Diagonal):
        return isinstance(map, Gather)
    # numbers on another device are not read: that would wait for it
    return map.unit or (map.scale.device.type == "cpu" and bool((map.scale.detach().abs() == 1.0).all()))


def _composed(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """outer after inner, fused with what stands next to it inside of compositions."""
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

    It keeps the maps that it was made of, as in ``compose``.
    """
    total = _added(first, second)
    if not _keeps_parts(total) or _cancel(first, second):
        return total
    if first.exact_form is first and second.exact_form is second and _exact_sum(first, second, total):
        return total
    return replace(total, made_of=Sum(first.exact_form, second.exact_form))


def _exact_sum(first: LinearMap, second: LinearMap, total: LinearMap) -> bool:
    """Whether no sum of two entries was rounded, of maps with their entries in the same places (Knuth's two-sum)."""
    a, b = first.entries[0], second.entries[0]
    if not (type(first) is type(second) is type(total) and a.shape == b.shape == total.entries[0].shape):
        return False
    return bool((two_sum(a, b)[1] == 0).all())


def _cancel(first: LinearMap, second: LinearMap) -> bool:
    """Whether two maps are each other's negatives, number by number."""
    (sign, first_map), (second_sign, second_map) = _signed(first.exact_form), _signed(second.exact_form)
    if sign != second_sign:
        return same_entries(first_map, second_map)
    plain = isinstance(first_map, Dense | Convolution | Diagonal) and first_map.description == second_map.description
    return plain and torch.equal(first_map.entries[0], -second_map.entries[0])


def _signed(map: LinearMap) -> tuple[float, LinearMap]:
    """A sign and the map that it stands before."""
    match map:
        case Composed(outer=Diagonal() as outer, inner=inner) if (
            is_signed_selection(outer) and outer.scale.numel() == 1 and outer.in_shape == outer.out_shape
        ):
            sign, rest = _signed(inner)
            return sign * float(outer.scale), rest
    return 1.0, map


def _added(first: LinearMap, second: LinearMap) -> LinearMap:
    """The sum as one map, or as a Sum where it would be too large a matrix."""
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
    """The map as a matrix, where it is small enough; else itself, with upper bounds for its norms."""
    if map.in_size * map.out_size > WRITTEN_OUT:
        return map
    return Dense(map.dense(), map.in_shape, map.out_shape)
