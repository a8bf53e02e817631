"""Cells in which no ball was found: whether they have an interior at all, in whole numbers.

A cell without one lies in a kink, or on a face of the region: no open set has its pattern, and as the cells that have one
cover the region, it does not enter the constant. Duplicates, and pools upon pools, make many. They are within rounding of
having one, so neither a linear program nor its multipliers in float64 decide.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding import Displacements, UnstableUnits
from lipreg.milp.whole_numbers import CellRows, WholeNumbers, inside_all, integers
from lipreg.results import Status

PRODUCTS = 1e6
"""About how many products of whole numbers a second allows."""


def box_interior(
    analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, domain: Displacements, budget: Budget
) -> Tensor | None:
    """A point inside the cell where the unstable units follow ``pattern`` within the box around the region, or None where
    there is proved to be none.

    Over (x, s), s > 0, with constants times s, the cell and the sides of the box are a cone.

    Args:
        analysis: of a single point, whose region is no cone.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them.
        domain: of the region.
        budget: started.

    Returns:
        The displacement of the point, ``(1, m)``, rounded.

    Raises:
        OutOfBudget: it ended first, or would end.
    """
    graph, region, width = analysis.graph, domain.region, len(domain) + 1
    products = sum(math.prod(map.in_shape + map.out_shape) for _, node in graph.affines() for map in node.maps)
    if width * products > PRODUCTS * budget.seconds_left:
        raise OutOfBudget(Status.TIME_LIMIT)
    movable, center, down, up, lower, upper = (
        end[0].flatten().numpy()
        for end in (region.movable, region.center, region.down, region.up, region.lower, region.upper)
    )
    rules = CellRows(analysis, units, pattern, budget, width)
    rules.rows = _sides(
        [
            (max(Fraction(c) + Fraction(d), Fraction(low)), min(Fraction(c) + Fraction(u), Fraction(high)))
            for c, d, u, low, high in zip(
                *(end[movable].tolist() for end in (center, down, up, lower, upper)), strict=True
            )
        ]
    )
    graph.forward({0: _inputs(movable, center)}, rules)
    point = inside_all(np.array(rules.rows, dtype=object), budget.check)
    if point is None:
        return None
    at = [Fraction(int(x), int(point[-1])) for x in point[:-1]]
    displacement = [float(x - Fraction(c)) for x, c in zip(at, center[movable].tolist(), strict=True)]
    return torch.tensor([displacement], dtype=torch.float64)


def _inputs(movable: np.ndarray, center: np.ndarray) -> WholeNumbers:
    """Every input as a form: its own column, or where it is fixed its value times s."""
    whole, exponent = integers(np.where(movable, 0.0, center))
    if exponent > 0:
        whole, exponent = whole << exponent, 0
    forms = np.zeros((int(movable.sum()) + 1, len(movable)), dtype=object)
    forms[-1] = whole
    forms[np.arange(len(forms) - 1), np.flatnonzero(movable)] = 1 << -exponent
    return WholeNumbers(forms, exponent)


def _sides(ends: list[tuple[Fraction, Fraction]]) -> list[np.ndarray]:
    """s > 0, x_j > lower_j s and x_j < upper_j s as rows of whole numbers."""
    rows = np.zeros((2 * len(ends) + 1, len(ends) + 1), dtype=object)
    rows[0, -1] = 1
    for j, (lower, upper) in enumerate(ends):
        rows[2 * j + 1, [j, -1]] = lower.denominator, -lower.numerator
        rows[2 * j + 2, [j, -1]] = -upper.denominator, upper.numerator
    return list(rows)
