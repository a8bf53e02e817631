"""Cells of a network over rays: whether one holds a point of R^n, without a tolerance.

There a cell is a cone {d : A d > 0}, one row a unit and the row of s, and a cell whose points all have s = 0, and
none is of R^n, may differ from others by less than rounding: a pattern that occurs at |x| = 1e9 alone has s = 1e-9. So the
rows are multiplied out in whole numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.folding import UnstableUnits
from lipreg.milp.whole_numbers import CellRows, WholeNumbers, inside_all


def cone_interior(analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, budget: Budget) -> Tensor | None:
    """A point (u, s), s > 0, inside the cone where the unstable units follow ``pattern``, or None where there is none.

    Args:
        analysis: of a single point, over a cone.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them; NaN for those that the cell leaves free, and for every unit after their
            level.
        budget: started.

    Returns:
        ``(1, n + 1)``, on the surface of the cone's box.

    Raises:
        OutOfBudget: it ended first.
    """
    width = math.prod(analysis.graph.input_shape)
    rules = CellRows(analysis, units, pattern, budget, width)
    eye = np.eye(width, dtype=np.int64).astype(object)
    rules.rows.append(eye[-1])
    analysis.graph.forward({0: WholeNumbers(eye, 0)}, rules)
    point = inside_all(np.array(rules.rows, dtype=object), budget.check)
    if point is None:
        return None
    most = np.abs(point).max()
    return torch.tensor([[entry / most for entry in point]], dtype=torch.float64)
