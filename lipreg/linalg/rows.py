"""Rows of linear forms over a node's entries, as bounds carry them through maps: whole, or a window of each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lipreg.linalg.maps import LinearMap


@dataclass(frozen=True)
class NodeEntries:
    """Numbers of a node's entries, in the forms in which rows read them; each is made once.

    Attributes:
        numbers: ``sorts`` numbers for each entry, ``(sorts, batch, *shape)``.
    """

    numbers: Tensor

    @cached_property
    def table(self) -> Tensor:
        """The numbers of an image by place, and 0 at one more place: ``(sorts, batch, places + 1, channels)``."""
        return F.pad(self.numbers.flatten(3).transpose(2, 3), (0, 0, 0, 1)).contiguous()


def entries(*numbers: Tensor) -> NodeEntries:
    """Entries from tensors ``(batch, *shape)``, which are read together."""
    return NodeEntries(torch.stack(numbers))


class Rows(ABC):
    """k rows at each point of a batch.

    Attributes:
        values: the stored coefficients, the batch first; all others are 0.
    """

    values: Tensor

    @abstractmethod
    def read(self, entries: NodeEntries) -> Sequence[Tensor]:
        """The numbers of the node's entries at the places of ``values``, with which they broadcast."""

    @abstractmethod
    def replaced(self, values: Tensor) -> Self:
        """Rows with other coefficients in the same places, such as products with numbers that were ``read``."""

    @abstractmethod
    def act(self, map: LinearMap, transposed: bool) -> Rows:
        """A row, or A^T row, for a map that is not put together from others."""

    @abstractmethod
    def flat(self, parts: Tensor) -> Tensor:
        """Numbers in the places of ``values``, those of a row in one last dimension."""

    @abstractmethod
    def mirrored(self) -> Self:
        """The rows and their negatives, 2 k in all: of each window first the rows, then the negatives."""

    @abstractmethod
    def whole(self) -> Tensor:
        """All coefficients, ``(batch, k, *shape)``."""

    @abstractmethod
    def __add__(self, other: Any) -> Rows: ...

    def sums(self, parts: Tensor) -> Tensor:
        """Sums over the entries of each row, ``(batch, k)``, of numbers in the places of ``values``."""
        return self.flat(parts).sum(-1).flatten(1)

    def through(self, map: LinearMap) -> Rows:
        """A row for each row."""
        return map.through(self, _act)

    def back(self, map: LinearMap) -> Rows:
        """A^T row for each row."""
        return map.back(self, _act)


def _act(map: LinearMap, rows: Rows, transposed: bool) -> Rows:
    return rows.act(map, transposed)


@dataclass(frozen=True)
class WholeRows(Rows):
    """Rows of which every coefficient is stored.

    Attributes:
        values: ``(batch, k, *shape)``.
    """

    values: Tensor

    def read(self, entries: NodeEntries) -> Sequence[Tensor]:
        return entries.numbers.unsqueeze(2).unbind()

    def replaced(self, values: Tensor) -> WholeRows:
        return WholeRows(values)

    def act(self, map: LinearMap, transposed: bool) -> WholeRows:
        return WholeRows(map.transpose(self.values) if transposed else map(self.values))

    def flat(self, parts: Tensor) -> Tensor:
        return parts.flatten(2)

    def mirrored(self) -> WholeRows:
        return WholeRows(torch.cat([self.values, -self.values], 1))

    def whole(self) -> Tensor:
        return self.values

    def __add__(self, other: Rows) -> WholeRows:
        return WholeRows(self.values + other.whole())
