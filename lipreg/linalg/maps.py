"""Matrix-free linear maps between shaped tensors: what an Affine node holds.

A map acts on the trailing dimensions, so any number of batch dimensions may stand before them. Bounds ask a map for a few
things only: itself, its transpose, its entrywise magnitude, and weighted norms of its rows and columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.linalg.norms import safe_sqrt

Shape = tuple[int, ...]


class LinearMap(ABC):
    """A linear map from tensors of ``in_shape`` to tensors of ``out_shape``."""

    in_shape: Shape
    out_shape: Shape

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A x: ``(..., *in_shape)`` to ``(..., *out_shape)``."""

    @abstractmethod
    def transpose(self, y: Tensor) -> Tensor:
        """A^T y: ``(..., *out_shape)`` to ``(..., *in_shape)``."""

    @abstractmethod
    def abs(self) -> LinearMap:
        """|A|, entry by entry."""

    @abstractmethod
    def square(self) -> LinearMap:
        """A * A, entry by entry."""

    @property
    @abstractmethod
    def entries(self) -> Tensor:
        """The numbers that define the map, for fingerprints."""

    @abstractmethod
    def dense(self) -> Tensor:
        """The matrix ``(prod out_shape, prod in_shape)``; costs its size in memory."""

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        """|row_i(A) diag(columns)|_order for each output i, in one pass of |A| or A * A.

        Args:
            order: 1, 2 or inf.
            columns: weights >= 0 of the inputs, ``(batch, *in_shape)``.

        Returns:
            ``(batch, *out_shape)``.
        """
        if order == 1.0:
            return self.abs()(columns)
        if order == 2.0:
            return safe_sqrt(self.square()(columns.square()))
        weighted = self.dense().abs() * columns.flatten(1).unsqueeze(1)
        return weighted.amax(-1).reshape(-1, *self.out_shape)

    def induced_norm(self, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        """|diag(rows) A diag(columns)|_{p->p} for each point of a batch.

        p = inf is the largest row sum, p = 1 the largest column sum: exact, one pass of |A|. p = 2 is the largest
        singular value by a full SVD, exact to rounding, for maps small enough to write out.

        Args:
            p: 1, 2 or inf.
            rows: weights >= 0 of the outputs, ``(batch, *out_shape)``.
            columns: weights >= 0 of the inputs, ``(batch, *in_shape)``.

        Returns:
            ``(batch,)``.
        """
        if p == math.inf:
            return (rows * self.abs()(columns)).flatten(1).amax(-1)
        if p == 1.0:
            return (columns * self.abs().transpose(rows)).flatten(1).amax(-1)
        scaled = rows.flatten(1).unsqueeze(2) * self.dense() * columns.flatten(1).unsqueeze(1)
        return torch.linalg.matrix_norm(scaled, ord=2)


def _flatten(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(*x.shape[: x.dim() - len(shape)], math.prod(shape))


@dataclass(frozen=True)
class Dense(LinearMap):
    """A written-out matrix. ``weight`` is ``(prod out_shape, prod in_shape)``."""

    weight: Tensor
    in_shape: Shape
    out_shape: Shape

    def __call__(self, x: Tensor) -> Tensor:
        y = _flatten(x, self.in_shape) @ self.weight.T
        return y.reshape(*y.shape[:-1], *self.out_shape)

    def transpose(self, y: Tensor) -> Tensor:
        x = _flatten(y, self.out_shape) @ self.weight
        return x.reshape(*x.shape[:-1], *self.in_shape)

    def abs(self) -> Dense:
        return Dense(self.weight.abs(), self.in_shape, self.out_shape)

    def square(self) -> Dense:
        return Dense(self.weight.square(), self.in_shape, self.out_shape)

    @property
    def entries(self) -> Tensor:
        return self.weight

    def dense(self) -> Tensor:
        return self.weight


@dataclass(frozen=True)
class Diagonal(LinearMap):
    """Entrywise scaling followed by a reshape; ``scale`` has ``in_shape``. Scale 1 is a pure reshape or identity."""

    scale: Tensor
    in_shape: Shape
    out_shape: Shape

    def __call__(self, x: Tensor) -> Tensor:
        y = x * self.scale
        return y.reshape(*y.shape[: y.dim() - len(self.in_shape)], *self.out_shape)

    def transpose(self, y: Tensor) -> Tensor:
        return y.reshape(*y.shape[: y.dim() - len(self.out_shape)], *self.in_shape) * self.scale

    def abs(self) -> Diagonal:
        return Diagonal(self.scale.abs(), self.in_shape, self.out_shape)

    def square(self) -> Diagonal:
        return Diagonal(self.scale.square(), self.in_shape, self.out_shape)

    @property
    def entries(self) -> Tensor:
        return self.scale

    def dense(self) -> Tensor:
        return torch.diag(self.scale.flatten())

    def row_norms(self, order: float, columns: Tensor) -> Tensor:
        return self.abs()(columns)  # one entry a row: every norm is its magnitude

    def induced_norm(self, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        return (rows * self.abs()(columns)).flatten(1).amax(-1)


def identity(shape: Shape, out_shape: Shape, like: Tensor) -> Diagonal:
    """The identity, or a reshape, in the dtype and on the device of ``like``."""
    return Diagonal(torch.ones(shape, dtype=like.dtype, device=like.device), shape, out_shape)


def compose(outer: LinearMap, inner: LinearMap) -> LinearMap:
    """outer after inner, kept as one map so that its norms stay exact."""
    match outer, inner:
        case Diagonal(), Diagonal():
            scale = inner.scale * outer.scale.reshape(inner.in_shape)
            return Diagonal(scale, inner.in_shape, outer.out_shape)
        case Diagonal(), Dense():
            return Dense(outer.scale.reshape(-1, 1) * inner.weight, inner.in_shape, outer.out_shape)
        case Dense(), Diagonal():
            return Dense(outer.weight * inner.scale.reshape(1, -1), inner.in_shape, outer.out_shape)
        case _:
            return Dense(outer.dense() @ inner.dense(), inner.in_shape, outer.out_shape)


def add(first: LinearMap, second: LinearMap) -> LinearMap:
    """The sum of two maps between the same shapes, kept as one map: parallel branches may cancel."""
    match first, second:
        case Diagonal(), Diagonal():
            return Diagonal(first.scale + second.scale, first.in_shape, first.out_shape)
        case _:
            return Dense(first.dense() + second.dense(), first.in_shape, first.out_shape)
