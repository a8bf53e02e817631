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
