"""Differences of two maps that put numbers into the same places."""

from __future__ import annotations

from dataclasses import replace

from lipreg.linalg.convolution import Convolution
from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.joined import Composed, Sum
from lipreg.linalg.maps import Dense, LinearMap, Weighted, same_entries


def map_difference(first: LinearMap, second: LinearMap) -> LinearMap | None:
    """first - second, of two maps that put numbers into the same places: entry by entry, so that its magnitude is exact.

    None where they do not, or where the map is not linear in one tensor of numbers. Of maps that were multiplied out it
    keeps what they were made of, unless these are the same.
    """
    difference = _map_difference(first, second)
    plain = first.exact_form is first and second.exact_form is second
    if difference is None or plain or same_entries(first, second):
        return difference
    if not isinstance(difference, Dense | Diagonal | Convolution):
        return _map_difference(first.exact_form, second.exact_form)
    minus = Diagonal(-second.entries[0].new_ones(()), second.out_shape, second.out_shape)
    return replace(difference, made_of=Sum(first.exact_form, Composed(minus, second.exact_form)))


def _map_difference(first: LinearMap, second: LinearMap) -> LinearMap | None:
    if first.description != second.description:
        return None
    match first, second:
        case Weighted(), Weighted():
            return first.with_entries(lambda weight: weight - second.weight)
        case Diagonal(), Diagonal():
            return Diagonal(first.scale - second.scale, first.in_shape, first.out_shape)
        case Composed(), Composed():
            if same_entries(first.outer, second.outer):
                inner = _map_difference(first.inner, second.inner)
                return None if inner is None else Composed(first.outer, inner)
            if same_entries(first.inner, second.inner):
                outer = _map_difference(first.outer, second.outer)
                return None if outer is None else Composed(outer, first.inner)
    return None
