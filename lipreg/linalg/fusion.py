"""Which two maps in a row are one map, written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.linalg.convolution import Convolution, as_convolution, chained, channel_scaled
from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.maps import Dense, LinearMap, Shape
from lipreg.linalg.selection import Gather

WRITTEN_OUT = 2**22
"""Entries up to which a map that is exact in no other form is written out as a matrix."""


def fused(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
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
            return Dense(rows.reshape(len(rows), -1), inner.in_shape, outer.out_shape)
        case _, Dense():
            columns = outer(inner.weight.T.reshape(-1, *inner.out_shape))
            return Dense(columns.reshape(len(columns), -1).T, inner.in_shape, outer.out_shape)
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
            overlap = math.prod(a + b for a, b in zip(outer.weight.shape[2:], inner.weight.shape[2:], strict=True))
            small = outer.weight.shape[0] * inner.in_shape[0] * overlap <= WRITTEN_OUT
            return chained(outer, inner) if small else None
    return None


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


def map_as_convolution(map: LinearMap) -> Convolution | None:
    """A convolution itself, or a scaling by one number a channel as one; None for other maps."""
    if isinstance(map, Diagonal) and map.in_shape == map.out_shape:
        return as_convolution(map.scale, map.in_shape)
    return map if isinstance(map, Convolution) else None
