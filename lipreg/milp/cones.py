"""Cells of a network over rays: whether one holds a point of R^n, without a tolerance.

There a cell is a cone {d : A d > 0}, one row a unit and the row of s, and cells that hold points with s = 0 alone, which are
none of R^n, lie as near to holding others as numbers can tell: a pattern that occurs at |x| = 1e9 alone has s = 1e-9. So the
rows are multiplied out in whole numbers. A linear program says where to look: its point, if that is inside, or its
multipliers, whose rows alone contradict each other; each is checked in whole numbers, which decide themselves where
neither helps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import Units
from lipreg.folding.units import active, slopes
from lipreg.graph import Affine, Forward, Relu, WithoutCurves, WithoutPools
from lipreg.linalg import LinearMap
from lipreg.milp.rational import interior

BITS = 53
"""Of a float64's mantissa."""


def cone_interior(analysis: Analysis, units: Units, pattern: np.ndarray, budget: Budget) -> Tensor | None:
    """A point (u, s), s > 0, inside the cone where the unstable units follow ``pattern``, or None where there is none.

    Args:
        analysis: of a single point, over a cone.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them; NaN for those of which nothing is demanded, and for every unit after their
            level.
        budget: started.

    Returns:
        ``(1, n + 1)``, on the surface of the cone's box.

    Raises:
        OutOfBudget: it ended first.
    """
    rules = _Rows(analysis, units, pattern, budget)
    analysis.graph.forward({0: rules.input()}, rules)
    rows = np.array(rules.rows, dtype=object)
    rows //= np.gcd.reduce(rows, axis=1, keepdims=True)
    largest = np.abs(rows).max(1)
    scaled = np.array([[entry / most for entry in row] for row, most in zip(rows, largest, strict=True)], dtype=float)
    point, multipliers = _deepest(scaled)
    found = _whole(point)
    if found is None or (rows @ found <= 0).any():
        chosen = multipliers > 0
        if chosen.any() and interior(rows[chosen], budget.check) is None:
            return None
        found = interior(rows, budget.check)
    if found is None:
        return None
    most = np.abs(found).max()
    return torch.tensor([[entry / most for entry in found]], dtype=torch.float64)


def _deepest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """max t, rows d >= t |rows| within |d| <= 1, by HiGHS: the point, and the multipliers of the rows; zeros without one."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    n = rows.shape[1]
    found = scipy.optimize.linprog(
        np.append(np.zeros(n), -1.0),
        np.hstack([-rows / size, np.ones_like(size)]),
        np.zeros(len(rows)),
        bounds=[(-1.0, 1.0)] * n + [(None, 1.0)],
        method="highs-ds",
    )
    if found.x is None:
        return np.zeros(n), np.zeros(len(rows))
    return found.x[:-1], -found.ineqlin.marginals


def _whole(numbers: np.ndarray) -> np.ndarray | None:
    """The same direction in whole numbers; None for 0."""
    return _integers(numbers)[0] if numbers.any() else None


def _integers(numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """Whole numbers and an exponent with numbers = whole 2^exponent, exactly."""
    mantissa, exponent = np.frexp(numbers)
    whole = (mantissa * 2.0**BITS).astype(np.int64).astype(object)
    if not whole.any():
        return whole, 0
    least = int(exponent[whole != 0].min())
    shifts = np.maximum(exponent.astype(np.int64) - least, 0).astype(object)
    return whole << shifts, least - BITS


@dataclass(frozen=True)
class _Whole:
    """whole 2^exponent, ``(columns, entries)`` of Python's integers."""

    whole: np.ndarray
    exponent: int

    def __add__(self, other: _Whole) -> _Whole:
        least = min(self.exponent, other.exponent)
        return _Whole((self.whole << (self.exponent - least)) + (other.whole << (other.exponent - least)), least)

    def mapped(self, map: LinearMap, back: bool) -> _Whole:
        whole, exponent = _integers(map.dense().numpy())
        return _Whole(self.whole @ (whole if back else whole.T), self.exponent + exponent)


class _Rows(WithoutCurves, WithoutPools, Forward[_Whole]):
    """Every node as a linear form of (u, s) on the cell; ``rows`` are those that the cell demands to be above 0."""

    def __init__(self, analysis: Analysis, units: Units, pattern: np.ndarray, budget: Budget) -> None:
        self.analysis, self.units, self.pattern, self.budget = analysis, units, pattern, budget
        self.width = math.prod(analysis.graph.input_shape)
        s = np.zeros(self.width, dtype=object)
        s[-1] = 1
        self.rows = [s]

    def input(self) -> _Whole:
        return _Whole(np.eye(self.width, dtype=np.int64).astype(object), 0)

    def affine(self, index: int, node: Affine, values: Mapping[int, _Whole]) -> _Whole | None:
        if len(values) < len(node.sources):
            return None
        total = _Whole(np.zeros((self.width, math.prod(node.shape)), dtype=object), 0)
        for source, map in node.terms():
            self.budget.check()
            total = map.exactly.through(values[source], lambda part, x, back: x.mapped(part, back)) + total
        return total

    def relu(self, index: int, node: Relu, value: _Whole) -> _Whole | None:
        on, at = active(self.analysis, node), self.units.of(index)
        on[self.units.position[at]] = torch.from_numpy(self.pattern[at] > 0.5)
        for unit in self.units.position[at[~np.isnan(self.pattern[at])]]:
            row = value.whole[:, unit] if on[unit] else -value.whole[:, unit]
            if row.any():  # else the unit is 0 all over the cell, whatever its side
                self.rows.append(row)
        if np.isnan(self.pattern[at]).any():
            return None
        factor, exponent = _integers(slopes(on, node).numpy())
        return _Whole(value.whole * factor, value.exponent + exponent)
