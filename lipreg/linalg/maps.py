"""Matrix-free linear maps between shaped tensors: what an Affine node holds.

A map acts on the trailing dimensions, so any number of batch dimensions may stand before them. Bounds need a few things of
a map only: itself, its transpose, its entrywise magnitude, and weighted norms of its rows and columns.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from lipreg.linalg.norms import safe_sqrt

Shape = tuple[int, ...]
"""A shape without batch dimensions."""


class Digest(Protocol):
    """A hash that is being computed, as ``hashlib``'s functions return it."""

    def update(self, data: Any, /) -> None:
        """Appends bytes to what is hashed."""


def as_bytes(tensor: Tensor) -> memoryview:
    """A tensor's memory, entry by entry."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel() == 1:  # which counts as contiguous whatever its stride, and would not be taken as bytes
        flat = torch.cat([flat, flat])[:1]
    return flat.view(torch.uint8).numpy().data


def feed(digest: Digest, tensor: Tensor) -> None:
    """Feeds a tensor's shape, dtype and memory, without another copy of it: layers hold up to a gigabyte."""
    digest.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
    digest.update(as_bytes(tensor))


class Additive(Protocol):
    """Values that can be added, in whatever arithmetic."""

    def __add__(self, other: Any, /) -> Any: ...


V = TypeVar("V", bound=Additive)


class LinearMap(ABC):
    """A linear map A between shaped tensors.

    Attributes:
        in_shape, out_shape: of its inputs and outputs, without batch dimensions.
    """

    in_shape: Shape
    out_shape: Shape

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A x: ``(..., *in_shape)`` to ``(..., *out_shape)``."""

    @abstractmethod
    def transpose(self, y: Tensor) -> Tensor:
        """A^T y: ``(..., *out_shape)`` to ``(..., *in_shape)``."""

    @abstractmethod
    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same map with other numbers in its places: ``change`` of each tensor of them, in the same shape.

        Tensors of positions are no numbers of the map, and stay. Of a map that is neither put together from
        others nor a mere rearrangement there is one such tensor, and the map is linear in it.
        """

    def abs(self) -> Self:
        """|A|, entry by entry; of a large map that is not ``exact``, a map that is nowhere below it."""
        return self.with_entries(torch.abs)

    def square(self) -> LinearMap:
        """A * A, entry by entry, of an ``exact`` map."""
        return self.with_entries(torch.square)

    def through(self, x: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        """A x in another arithmetic than torch's.

        Args:
            x: what ``act`` acts on; it has ``+``.
            act: act(B, x, False) is B x and act(B, x, True) is B^T x, for maps B that are not put together from others.
        """
        return act(self, x, False)

    def back(self, y: V, act: Callable[[LinearMap, V, bool], V]) -> V:
        """A^T y in another arithmetic; see ``through``."""
        return act(self, y, True)

    @property
    @abstractmethod
    def entries(self) -> tuple[Tensor, ...]:
        """The tensors that define the map, for fingerprints and gradients."""

    @property
    @abstractmethod
    def roundings(self) -> int:
        """How many roundings an entry of A^T A x can pass through: the lengths of the sums of A and of A^T."""

    @property
    def exact(self) -> bool:
        """Whether ``abs``, ``square`` and the norms of rows are exact; otherwise they are upper bounds."""
        return True

    @property
    def exact_form(self) -> LinearMap:
        """The same map without a rounding: of one that was multiplied out in float64, what it was made of.

        The numbers of the others count as exact. ``Limbs`` act on this form, and bounds on rounding are read off it.
        """
        return self

    @property
    def rounded(self) -> bool:
        """Whether the matrix of the map is rounded: it was multiplied out, or will be when its rows are read."""
        return self.exact_form is not self

    def sizes(self) -> LinearMap:
        """|A| with magnitudes multiplied and added up before anything cancels: what roundings are in proportion to."""
        return self.exact_form.abs()

    @property
    def lengths(self) -> int:
        """``roundings``, with those of multiplying the map out."""
        return self.roundings + (self.exact_form.roundings if self.rounded else 0)

    @property
    def is_matrix(self) -> bool:
        """Whether the map is a written-out matrix."""
        return False

    @property
    def single_rows(self) -> bool:
        """Whether no row has more than one entry."""
        return False

    @property
    def single_columns(self) -> bool:
        """Whether no column has more than one entry."""
        return False

    @property
    def layout(self) -> str:
        """A text that differs between maps of one class with the same shapes and entries, for fingerprints."""
        return ""

    @property
    def description(self) -> str:
        """One unambiguous text of all that determines the map beside its entries."""
        return f"{type(self).__name__}({self.in_shape} {self.out_shape} {self.layout})"

    def feed(self, digest: Digest) -> None:
        """Feeds all that determines the map to a digest."""
        digest.update(f"{self.description};".encode())
        for entries in self.entries:
            feed(digest, entries)

    @property
    def in_size(self) -> int:
        """How many entries an input has."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """How many entries an output has."""
        return math.prod(self.out_shape)

    def dense(self) -> Tensor:
        """The matrix ``(prod out_shape, prod in_shape)``; costs its size in memory."""
        like = self.entries[0]
        if self.in_size < self.out_size:
            eye = torch.eye(self.in_size, dtype=like.dtype, device=like.device)
            return self(eye.reshape(-1, *self.in_shape)).reshape(len(eye), -1).T
        eye = torch.eye(self.out_size, dtype=like.dtype, device=like.device)
        return self.transpose(eye.reshape(-1, *self.out_shape)).reshape(len(eye), -1)

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

    def largest_sum(self, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        """|diag(rows) A diag(columns)|_{p->p} for each point of a batch: exact, one pass of |A|.

        p = inf is the largest row sum, p = 1 the largest column sum. For p = 2 see ``spectral.induced_norm``.

        Args:
            p: 1 or inf.
            rows: weights >= 0 of the outputs, ``(batch, *out_shape)``.
            columns: weights >= 0 of the inputs, ``(batch, *in_shape)``.

        Returns:
            ``(batch,)``.
        """
        if p == math.inf:
            return (rows * self.abs()(columns)).flatten(1).amax(-1)
        return (columns * self.abs().transpose(rows)).flatten(1).amax(-1)


def leading(x: Tensor, shape: Shape) -> tuple[int, ...]:
    """The batch dimensions of x, which ends in ``shape``."""
    return tuple(x.shape[: x.dim() - len(shape)])


class Weighted(LinearMap):
    """A map whose entries are those of one tensor, rearranged and repeated; so are those of |A| and of A * A.

    Attributes:
        weight: the tensor.
        made_of: the maps whose product or sum it is, up to rounding; None where it is exact.
    """

    weight: Tensor
    made_of: LinearMap | None = None

    def with_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        parts = {} if self.made_of is None else {"made_of": None}  # which not every subclass has as a field
        return replace(self, weight=change(self.weight), **parts)  # type: ignore[type-var]  # subclasses are dataclasses

    @property
    def exact_form(self) -> LinearMap:
        return self.made_of or self

    @property
    def entries(self) -> tuple[Tensor, ...]:
        return (self.weight,)


@dataclass(frozen=True)
class Dense(Weighted):
    """A written-out matrix.

    Attributes:
        weight: ``(prod out_shape, prod in_shape)``.
        in_shape, out_shape: of its inputs and outputs.
        made_of: the maps whose product or sum it is, up to rounding; None where it is exact.
    """

    weight: Tensor
    in_shape: Shape
    out_shape: Shape
    made_of: LinearMap | None = field(default=None, compare=False, repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        y = x.reshape(*leading(x, self.in_shape), self.in_size) @ self.weight.T
        return y.reshape((*y.shape[:-1], *self.out_shape))

    def transpose(self, y: Tensor) -> Tensor:
        x = y.reshape(*leading(y, self.out_shape), self.out_size) @ self.weight
        return x.reshape((*x.shape[:-1], *self.in_shape))

    @property
    def roundings(self) -> int:
        return self.in_size + self.out_size

    @property
    def is_matrix(self) -> bool:
        return True

    def dense(self) -> Tensor:
        return self.weight


def same_entries(first: LinearMap, second: LinearMap) -> bool:
    """Whether two maps are the same, number by number, in all that they were made of."""
    first, second = first.exact_form, second.exact_form
    pairs = zip(first.entries, second.entries, strict=False)
    return first.description == second.description and all(
        one is other or (one.shape == other.shape and bool(torch.equal(one, other))) for one, other in pairs
    )
