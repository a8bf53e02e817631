"""Activation cells: whether one is empty in the region, and a point so deep inside that rounding cannot flip a unit."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding import Displacements, Units, cell_forms
from lipreg.milp.assembly import Assembly
from lipreg.milp.domain import displacement
from lipreg.milp.highs import Highs

CELL_SECONDS = 10.0
"""Most that the linear program of one cell may take."""
LEAST_DEPTH = 1e-6
"""Share of a unit's range from which on its rounding is no longer told from depth."""


class Cell(Enum):
    """What is known of an activation cell in the region."""

    EMPTY = auto()
    """Proved to hold no point."""
    OPEN = auto()
    """It has an interior."""
    THIN = auto()
    """Neither: it may hold points, but no ball around one was found."""


def settle_cell(analysis: Analysis, units: Units, pattern: np.ndarray, budget: Budget) -> tuple[Cell, Tensor | None]:
    """Whether the cell where the unstable units follow ``pattern`` is empty in the region, and its deepest point if not.

    max t such that sign_i z_i(d) >= t range_i for every unit that can move, x0 + d in the region, -1 <= t <= 1; range_i
    is the largest |z_i| over the box, so that t is free of units' scales and the program always has a point. Its dual
    bound decides: below 0 the cell is empty.

    Args:
        analysis: of a single point.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them.
        budget: for all of it, of which the program takes at most ``CELL_SECONDS``.

    Returns:
        The verdict and, for an OPEN cell, its deepest point ``(1, *shape)``. A failing solver leaves the cell THIN, and so
        does the end of the budget.
    """
    domain, budget = Displacements.within(analysis.placed.region), replace(budget.started(), nodes=None)
    try:
        form, demanded = cell_forms(analysis, units, domain, pattern, budget)
    except OutOfBudget:
        return Cell.THIN, None
    (on_d, _, constant, loss), signs = form.arrays, demanded.numpy()
    down, up = domain.lower.numpy(), domain.upper.numpy()
    size = np.abs(constant + on_d @ (up + down) / 2) + np.abs(on_d) @ (up - down) / 2
    program = Assembly()
    # the region without t: like the sides of the box its faces are no kinks, and the point may touch them
    displacement(program, domain)
    program.variables("t", -np.ones(1), np.ones(1))
    program.at_most({"d": -signs[:, None] * on_d, "t": size[:, None]}, signs * constant + loss)
    # always by HiGHS: the point is evaluated on the network, so no engine has to be trusted
    outcome = Highs().solve(program.program({"t": 1.0}, 0.0), budget.within(CELL_SECONDS))
    if outcome.dual_bound < 0:
        return Cell.EMPTY, None
    # as deep as the room for rounding makes an empty cell; of units that are rounding alone the network itself decides
    told = size > loss / LEAST_DEPTH
    hair = 2.0 * float((loss[told] / size[told]).max(initial=0.0))
    if outcome.point is None or outcome.point[program.columns["t"]].item() <= hair:
        return Cell.THIN, None
    # the solver's tolerance may leave the point a hair outside of the region
    moved = torch.from_numpy(outcome.point[program.columns["d"]])
    return Cell.OPEN, domain.points(moved.unsqueeze(0))


def interior_point(analysis: Analysis, units: Units, pattern: np.ndarray, budget: Budget) -> np.ndarray | None:
    """The deepest point of a cell, flattened, or None where no interior was found; see ``settle_cell``."""
    _, point = settle_cell(analysis, units, pattern, budget)
    return None if point is None else point[0].flatten().numpy()
