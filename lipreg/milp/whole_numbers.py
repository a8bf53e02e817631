"""Activation cells in whole numbers: the forms of their units, and whether some rows hold at one point, without a tolerance.

A linear program has a candidate: a point, if that is inside, or multipliers, whose rows alone contradict each other. Either
is checked in whole numbers; where neither holds, the simplex method in whole numbers decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy
import torch

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import UnstableUnits
from lipreg.folding.units import phase_slopes, stably_active
from lipreg.graph import Affine, Forward, Relu, WithoutCurves, WithoutPools
from lipreg.linalg import LinearMap
from lipreg.milp.rational import interior

BITS = 53
"""Bits of a float64's mantissa."""


def inside_all(rows: np.ndarray, check: Callable[[], None]) -> np.ndarray | None:
    """A d of whole numbers with ``rows @ d > 0`` in every row, ``(n,)``, or None where there is none; see ``interior``."""
    rows = rows // np.gcd.reduce(rows, axis=1, keepdims=True)
    largest = np.abs(rows).max(1)
    scaled = np.array([[entry / most for entry in row] for row, most in zip(rows, largest, strict=True)], dtype=float)
    point, multipliers = _deepest(scaled)
    d = _whole(point)
    if d is None or (rows @ d <= 0).any():
        positive = multipliers > 0
        if positive.any() and interior(rows[positive], check) is None:
            return None
        d = interior(rows, check)
    return d


def _deepest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """max t, rows d >= t |rows| within |d| <= 1, by HiGHS: the point, and the multipliers of the rows; zeros without one."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    n = rows.shape[1]
    solution = scipy.optimize.linprog(
        np.append(np.zeros(n), -1.0),
        np.hstack([-rows / size, np.ones_like(size)]),
        np.zeros(len(rows)),
        bounds=[(-1.0, 1.0)] * n + [(None, 1.0)],
        method="highs-ds",
    )
    if solution.x is None:
        return np.zeros(n), np.zeros(len(rows))
    return solution.x[:-1], -solution.ineqlin.marginals


def _whole(numbers: np.ndarray) -> np.ndarray | None:
    """The same direction in whole numbers; None for 0."""
    return integers(numbers)[0] if numbers.any() else None


def integers(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Whole numbers and an exponent with numbers = whole 2^exponent, exactly."""
    mantissa, exponent = np.frexp(numbers)
    whole = (mantissa * 2.0**BITS).astype(np.int64).astype(object)
    if not whole.any():
        return whole, 0
    least = int(exponent[whole != 0].min())
    shifts = np.maximum(exponent.astype(np.int64) - least, 0).astype(object)
    return whole << shifts, least - BITS


@dataclass(frozen=True)
class WholeNumbers:
    """The numbers whole 2^exponent.

    Attributes:
        whole: ``(columns, entries)`` of Python's integers, dtype object.
        exponent: the same for all.
    """

    whole: np.ndarray
    exponent: int

    def __add__(self, other: WholeNumbers) -> WholeNumbers:
        least = min(self.exponent, other.exponent)
        return WholeNumbers((self.whole << (self.exponent - least)) + (other.whole << (other.exponent - least)), least)

    def mapped(self, map: LinearMap, back: bool) -> WholeNumbers:
        """A x of each column x, or A^T x for ``back``, exactly."""
        whole, exponent = integers(map.dense().numpy())
        return WholeNumbers(self.whole @ (whole if back else whole.T), self.exponent + exponent)


class WholeForms(WithoutCurves, Forward[WholeNumbers]):
    """Carries values forward as linear forms of some columns, exactly; subclasses say what a nonlinear unit is.

    Args:
        budget: started; ends a pass early.
        columns: how many there are; constants are entries of the last one.
    """

    def __init__(self, budget: Budget, columns: int) -> None:
        self.budget, self.width = budget, columns

    def affine(self, index: int, node: Affine, values: Mapping[int, WholeNumbers]) -> WholeNumbers | None:
        if len(values) < len(node.sources):
            return None
        total = WholeNumbers(np.zeros((self.width, math.prod(node.shape)), dtype=object), 0)
        for map, part in node.bias_of or ((None, node.bias),):
            whole, exponent = integers(part.flatten().numpy())
            constant = np.zeros((self.width, len(whole)), dtype=object)
            constant[-1] = whole
            alone = WholeNumbers(constant, exponent)
            total = (alone if map is None else map.exact_form.through(alone, self.act)) + total
        for source, map in node.terms():
            self.budget.check()
            total = map.exact_form.through(values[source], self.act) + total
        return total

    def act(self, map: LinearMap, x: WholeNumbers, back: bool) -> WholeNumbers:
        """A x, or A^T x for ``back``, of a map of the network.

        Args:
            map: A.
            x: what it acts on, one column each.
            back: whether its transpose acts.
        """
        return x.mapped(map, back)


class CellRows(WithoutPools, WholeForms):
    """Carries every node forward as linear forms of some columns on the cell; ``rows`` are the forms above 0 in the cell.

    Args:
        analysis: of a single point.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them; NaN for those that the cell leaves free, and for every unit after their
            level.
        budget: started; ends it early.
        columns: how many there are; constants are entries of the last one.
    """

    def __init__(
        self, analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, budget: Budget, columns: int
    ) -> None:
        super().__init__(budget, columns)
        self.analysis, self.units, self.pattern = analysis, units, pattern
        self.rows: list[np.ndarray] = []

    def relu(self, index: int, node: Relu, value: WholeNumbers) -> WholeNumbers | None:
        on, at = stably_active(self.analysis, node), self.units.of(index)
        on[self.units.position[at]] = torch.from_numpy(self.pattern[at] > 0.5)
        for unit in self.units.position[at[~np.isnan(self.pattern[at])]]:
            row = value.whole[:, unit] if on[unit] else -value.whole[:, unit]
            if row.any():  # else the unit is 0 all over the cell, whatever its side
                self.rows.append(row)
        if np.isnan(self.pattern[at]).any():
            return None
        factor, exponent = integers(phase_slopes(on, node).numpy())
        return WholeNumbers(value.whole * factor, value.exponent + exponent)
