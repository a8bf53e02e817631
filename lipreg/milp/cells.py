"""Activation cells: whether one is empty in the region, and a point so deep inside that rounding cannot flip a unit."""

from __future__ import annotations

import math
from enum import Enum, auto

import numpy as np
import torch
from scipy.sparse import csc_array
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.milp.domain import halfspace_rows
from lipreg.milp.folding import Units, cell_forms
from lipreg.milp.highs import Highs
from lipreg.milp.program import Program

EMPTY = -1e-9
"""Depth below which a cell is empty; the LP's dual bound is good to rounding, which is far smaller."""


class Cell(Enum):
    """What is known of an activation cell in the region."""

    EMPTY = auto()
    """Proved to hold no point."""
    OPEN = auto()
    """It has an interior."""
    THIN = auto()
    """Neither: it may hold points, but no ball around one was found."""


def settle_cell(
    analysis: Analysis, units: Units, pattern: np.ndarray, seconds: float = 10.0
) -> tuple[Cell, Tensor | None]:
    """Whether the cell where the unstable units follow ``pattern`` is empty in the region, and its deepest point if not.

    max t such that sign_i z_i(d) >= t range_i for every unit that can move, x0 + d in the region, -1 <= t <= 1; range_i
    is the largest |z_i| over the box, so that t is free of units' scales and the program always has a point. Its dual
    bound decides: below 0 the cell is empty.

    Args:
        analysis: of a single point.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them.

    Returns:
        The verdict and, for an OPEN cell, its deepest point ``(1, *shape)``. A failing solver leaves the cell THIN.
    """
    region = analysis.placed.region
    form, signs = cell_forms(analysis, units, pattern)
    down = (region.lower - region.center)[0].flatten().numpy()
    up = (region.upper - region.center)[0].flatten().numpy()
    inputs, rows = len(down), len(signs)
    center = region.center[0].flatten().numpy()
    size = np.abs(form.constant + form.matrix @ (up + down) / 2) + np.abs(form.matrix) @ (up - down) / 2
    # variables: d, t and, for an l1 ball, sizes e >= |d|
    ball = region.radius < math.inf
    columns = inputs + 1 + (inputs if ball else 0)
    matrix = np.zeros((rows + (2 * inputs + 1 if ball else 0), columns))
    right = np.zeros(len(matrix))
    matrix[:rows, :inputs] = -signs[:, None] * form.matrix
    matrix[:rows, inputs] = size
    right[:rows] = signs * form.constant
    lower, upper = np.append(down, -1.0), np.append(up, 1.0)
    if ball:
        eye = np.eye(inputs)
        matrix[rows : rows + inputs, :inputs], matrix[rows : rows + inputs, inputs + 1 :] = eye, -eye
        matrix[rows + inputs : -1, :inputs], matrix[rows + inputs : -1, inputs + 1 :] = -eye, -eye
        matrix[-1, inputs + 1 :] = 1.0
        right[-1] = region.radius
        lower, upper = np.append(lower, np.zeros(inputs)), np.append(upper, np.maximum(up, -down))
    faces = halfspace_rows(region)
    if faces is not None:  # without t: like the sides of the box they are no kinks, and the point may touch them
        matrix = np.vstack([matrix, np.pad(faces[0], ((0, 0), (0, columns - inputs)))])
        right = np.append(right, faces[1])
    cost = np.zeros(columns)
    cost[inputs] = 1.0
    none = np.empty(0, dtype=np.int64)
    # always by HiGHS: the point is evaluated on the network, so no engine has to be trusted
    outcome = Highs().solve(Program(cost, 0.0, csc_array(matrix), right, 0, lower, upper, none), seconds=seconds)
    if outcome.dual_bound < EMPTY:
        return Cell.EMPTY, None
    if outcome.point is None or outcome.point[inputs] <= 0:
        return Cell.THIN, None
    # the solver's tolerance may leave the point a hair outside of the region
    point = torch.from_numpy(center + outcome.point[:inputs]).reshape(1, 1, *region.shape)
    return Cell.OPEN, region.project(point)[0]


def interior_point(analysis: Analysis, units: Units, pattern: np.ndarray, seconds: float = 10.0) -> np.ndarray | None:
    """The deepest point of a cell, flattened, or None where no interior was found; see ``settle_cell``."""
    _, point = settle_cell(analysis, units, pattern, seconds)
    return None if point is None else point[0].flatten().numpy()
