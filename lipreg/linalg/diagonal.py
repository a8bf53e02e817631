"""Scaling entry by entry, and pure changes of shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from lipreg.linalg.maps import LinearMap, Shape, leading


@dataclass(frozen=True)
class Diagonal(LinearMap):
    """Entrywise scaling followed by a reshape.

    Attributes:
        scale: the factors, which broadcast to ``in_shape``: one a channel is ``(channels, 1, ...)``.
        in_shape, out_shape: of as many entries.
        unit: whether the scale is 1: an identity or a mere reshape.
        made_of: as of ``Dense``.
    """

    scale: Tensor
    in_shape: Shape
    out_shape: Shape
    unit: bool = False
    made_of: LinearMap | None = field(default=None, compare=False, repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        y = x if self.unit else x * self.scale
        return y.reshape((*leading(y, self.in_shape), *self.out_shape))

    def transpose(self, y: Tensor) -> Tensor:
        x = y.reshape((*leading(y, self.out_shape), *self.in_shape))
        return x if self.unit else x * self.scale

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self if self.unit else replace(self, scale=change(self.scale), made_of=None)

    @property
    def exact_form(self) -> LinearMap:
        return self.made_of or self

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return (self.scale,)

    @property
    def roundings(self) -> int:
        return 2

    @property
    def single_rows(self) -> bool:
        return True

    @property
    def single_columns(self) -> bool:
        return True

    def dense(self) -> Tensor:
        return torch.diag(self.scale.expand(self.in_shape).flatten())

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self.abs()(columns)  # one entry a row: every norm is its magnitude

    def largest_sum(self, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        return (rows * self.abs()(columns)).flatten(1).amax(-1)


def identity(shape: Shape, out_shape: Shape, like: Tensor) -> Diagonal:
    """The identity, or a reshape.

    Args:
        shape, out_shape: of as many entries.
        like: of the dtype and on the device that the map is to have.
    """
    return Diagonal(torch.ones((), dtype=like.dtype, device=like.device), shape, out_shape, unit=True)
