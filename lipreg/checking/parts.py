"""Cells as parts of one another, in whichever arithmetic they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Self

import numpy as np

from lipreg.checking.integers import Array


class SplitCell(ABC):
    """A part of the region with a phase for each unit; subclasses are dataclasses with the rows of one arithmetic.

    Attributes:
        phase: 1 on, -1 off, 0 unstable, ``(n,)``.
        strict: of units that are on because the tree says z > 0, ``(n,)``.
        empty: whether bounds contradict each other.
    """

    phase: Array
    strict: Array
    empty: bool

    @abstractmethod
    def _copied(self) -> Self:
        """The same cell with arrays of its own."""

    @abstractmethod
    def _put(self, unit: int, side: int) -> None:
        """Puts an unstable unit on a side, in place."""

    @property
    def unstable(self) -> Array:
        """The units that are not decided here, by their places."""
        return np.flatnonzero(self.phase == 0)

    def child(self, unit: int, side: int) -> Self:
        """The part where a unit is on (1) or off (-1): of a decided unit the whole cell on its side, else nothing."""
        if self.phase[unit]:
            cell: Any = self
            return replace(cell, empty=self.empty or bool(self.phase[unit] != side))
        cell = self._copied()
        cell.strict[unit] = side > 0
        cell._put(unit, side)
        return cell

    def with_side(self, unit: int, side: int) -> Self:
        """The same part, in which z of a unit is seen to be nowhere below 0 (1), or nowhere above it (-1)."""
        if self.phase[unit]:
            return self
        cell = self._copied()
        cell._put(unit, side)
        return cell
