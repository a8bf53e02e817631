"""Activation cells: whether one is empty in the region, and a point so deep inside that rounding cannot flip a unit."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum, auto

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.folding import AffineForm, Displacements, UnstableUnits, cell_forms
from lipreg.linalg.floats import EPS, SPARE
from lipreg.milp.assembly import Assembly
from lipreg.milp.cones import cone_interior
from lipreg.milp.domain import displacement
from lipreg.milp.highs import Highs
from lipreg.milp.least_norm import SHALLOWEST, misses_ball, nearest
from lipreg.milp.thin import box_interior
from lipreg.regions import Cone

CELL_SECONDS = 10.0
"""Most that the linear program of one cell may take."""
WHOLE_SHARE = 0.1
"""The share of the remaining time for whole numbers, where a linear program does not decide."""
LEAST_DEPTH = 1e-6
"""Share of a unit's range up to which its rounding counts: a unit with more is ignored in ``hair``."""


class CellStatus(Enum):
    """What is proved of an activation cell in the region."""

    EMPTY = auto()
    """Proved to hold no point, or no ball around one: no open set has its pattern."""
    HAS_INTERIOR = auto()
    """It has an interior."""
    THIN = auto()
    """Neither: it may hold points, but no ball around one was found."""


def settle_cell(
    analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, budget: Budget
) -> tuple[CellStatus, Tensor | None]:
    """Whether the cell where the unstable units follow ``pattern`` is empty in the region, and its deepest point if not.

    max t such that sign_i z_i(d) >= t range_i for every movable unit, x0 + d in the region, -1 <= t <= 1; range_i
    is the largest |z_i| over the box, so that t is free of units' scales and the program always has a point. Its dual
    bound decides: below 0 the cell is empty. In an l2 ball, which no linear program has, least-norm problems decide.
    Where neither decides it is settled in whole numbers (``lipreg.milp.thin``), where there is time and the region is no
    polytope, and so are cells of a cone (``lipreg.milp.cones``).

    Args:
        analysis: of a single point.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them.
        budget: for all of it, of which the program takes at most ``CELL_SECONDS``.

    Returns:
        The verdict and, for a cell that HAS_INTERIOR, its deepest point (of an l2 ball, a deep one) ``(1, *shape)``. A cell
        is THIN also where the solver fails or the budget ends.
    """
    domain, budget = Displacements.within(analysis.placed.region), replace(budget.started(), nodes=None)
    try:
        if isinstance(domain.region, Cone):
            point = cone_interior(analysis, units, pattern, budget)
            return (CellStatus.EMPTY if point is None else CellStatus.HAS_INTERIOR), point
        form, demanded = cell_forms(analysis, units, domain, pattern, budget)
    except OutOfBudget:
        return CellStatus.THIN, None
    cell = _Demands(form, demanded.numpy(), domain)
    status, d = (_by_program if domain.ball == math.inf else _by_least_norm)(cell, domain, budget)
    if status is CellStatus.THIN and domain.region.halfspaces is None:
        status, d = _in_whole_numbers(analysis, units, pattern, domain, budget)
    # the solver's tolerance may leave the point a hair outside of the region
    return status, None if d is None else domain.points(torch.from_numpy(d).unsqueeze(0))


class _Demands:
    """sign_i z_i(d) >= t range_i: ``signs (on_d d + constant) + loss >= t size`` holds for t = 0 in all of the cell."""

    def __init__(self, form: AffineForm, signs: np.ndarray, domain: Displacements) -> None:
        on_d, _, constant, self.loss = form.arrays
        down, up = domain.lower.numpy(), domain.upper.numpy()
        self.size = np.abs(constant + on_d @ (up + down) / 2) + np.abs(on_d) @ (up - down) / 2
        self.on_d, self.constant = signs[:, None] * on_d, signs * constant

    @property
    def hair(self) -> float:
        """The largest t that rounding may give an empty cell, over the units whose range is well above their rounding."""
        resolved = self.size > self.loss / LEAST_DEPTH
        return 2.0 * float((self.loss[resolved] / self.size[resolved]).max(initial=0.0))

    def depth(self, d: np.ndarray) -> float:
        """The largest t that holds at d."""
        moving = self.size > 0
        height = (self.on_d @ d + self.constant + self.loss)[moving]
        return float((height / self.size[moving]).min(initial=1.0))


def _by_program(cell: _Demands, domain: Displacements, budget: Budget) -> tuple[CellStatus, np.ndarray | None]:
    """The status by the largest t of a linear program, whose dual bound proves a cell empty, and a deep displacement."""
    program = Assembly()
    # the region without t: like the sides of the box its faces are no kinks, and the point may touch them
    displacement(program, domain)
    program.variables("t", -np.ones(1), np.ones(1))
    program.at_most({"d": -cell.on_d, "t": cell.size[:, None]}, cell.constant + cell.loss)
    # always by HiGHS: the point is evaluated on the network, so no engine has to be trusted
    outcome = Highs().solve(program.program({"t": 1.0}, 0.0), budget.within(CELL_SECONDS))
    if outcome.dual_bound < 0:
        return CellStatus.EMPTY, None
    if outcome.point is None or outcome.point[program.columns["t"]].item() <= cell.hair:
        return CellStatus.THIN, None
    return CellStatus.HAS_INTERIOR, outcome.point[program.columns["d"]]


def _by_least_norm(cell: _Demands, domain: Displacements, budget: Budget) -> tuple[CellStatus, np.ndarray | None]:
    """The status in an l2 ball, where a cell is empty if its point nearest to 0 lies outside, and a deep displacement.

    The ball has radius 1 here, and the sides of the box that cut it are rows of the problem. The depth of the point is the
    first of 0.1, 0.01, ... at which the ball has one.
    """
    ball, moving = domain.ball, cell.size > 0
    size, eye = cell.size[moving], np.eye(len(domain))
    down, up = domain.lower.numpy(), domain.upper.numpy()
    cut = down > -ball, up < ball
    rows = np.vstack([cell.on_d[moving] * (ball / size)[:, None], eye[cut[0]], -eye[cut[1]]])
    levels = np.concatenate([-(cell.constant + cell.loss)[moving] / size, down[cut[0]] / ball, -up[cut[1]] / ball])
    kinks = np.arange(len(rows)) < len(size)
    doubt = np.zeros(len(rows))
    doubt[kinks] = SPARE * EPS * (np.abs(cell.constant) + cell.loss)[moving] / size
    if misses_ball(rows, levels, doubt):
        return CellStatus.EMPTY, None
    depth = 0.1
    while depth > max(cell.hair, SHALLOWEST) and budget.stop_reason() is None:
        point = nearest(rows, levels + depth * kinks)
        if point is not None and np.linalg.norm(point) < 1.0:
            d = domain.inside(torch.from_numpy(point * ball)).numpy()
            if cell.depth(d) > cell.hair:
                return CellStatus.HAS_INTERIOR, d
        depth /= 10.0
    return CellStatus.THIN, None


def _in_whole_numbers(
    analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, domain: Displacements, budget: Budget
) -> tuple[CellStatus, np.ndarray | None]:
    """The status by a point inside the box around the region; where that lies outside of a ball the cell stays THIN."""
    try:
        point = box_interior(analysis, units, pattern, domain, budget.share(WHOLE_SHARE))
    except OutOfBudget:
        return CellStatus.THIN, None
    if point is None:
        return CellStatus.EMPTY, None
    norm = domain.region.norm if domain.region.radius < math.inf else math.inf
    inside = norm == math.inf or float(torch.linalg.vector_norm(point[0], norm)) < domain.region.radius
    return (CellStatus.HAS_INTERIOR, point[0].numpy()) if inside else (CellStatus.THIN, None)


def interior_point(analysis: Analysis, units: UnstableUnits, pattern: np.ndarray, budget: Budget) -> np.ndarray | None:
    """The deepest point of a cell, flattened, or None where no interior was found; see ``settle_cell``.

    Args:
        analysis: of a single point.
        units: its unstable units.
        pattern: 1 (active) or 0 for each of them.
        budget: for all of it.
    """
    _, point = settle_cell(analysis, units, pattern, budget)
    return None if point is None else point[0].flatten().numpy()
