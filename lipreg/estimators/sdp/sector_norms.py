"""The norm of a network's differences from its sectors: one semidefinite program for each functional that needs one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lipreg.budget import Budget
from lipreg.estimators.sdp.ascent import ascend
from lipreg.estimators.sdp.multipliers import QuadraticForm
from lipreg.estimators.sdp.sectors import Sectors
from lipreg.results import Status

ASCENT = 48
"""Units from which on ascent goes before a solver, which may exceed its time."""
SHARE = 0.25
"""Share of the remaining time for one program of several: later ones need some of it too."""
KEPT = 8
"""The number of other functionals whose multipliers are tried on one."""


@dataclass(frozen=True)
class Solution:
    """The solution that a solver returned for a form, without any proof.

    Attributes:
        rho, multipliers: finite, in the form's units, and perhaps a little infeasible; no multipliers where it failed.
        solved: whether the solver claims to be within its tolerance.
        words: the solver's status or error.
    """

    rho: float
    multipliers: np.ndarray | None
    solved: bool
    words: str


@dataclass
class Run:
    """The programs of one point: their solver and budget, and how they ended.

    Attributes:
        solve: the solver: a form and a budget, to a solution; None for ascent alone.
        budget: the budget of the point, started.
        status: BOUNDED until a limit, or the solver, leaves a program unsolved.
        programs: the number of programs that the solver had.
        answers: the number of those that it returned multipliers for.
        norms: the number of norms from sectors, and not by products.
        notes: on deviations from the plan, in words.
    """

    solve: Callable[[QuadraticForm, Budget], Solution] | None
    budget: Budget
    status: Status = Status.BOUNDED
    programs: int = 0
    answers: int = 0
    norms: int = 0
    notes: list[str] = field(default_factory=list)

    def is_over(self) -> bool:
        """Whether work must stop here; if so, the status is the reason."""
        over = self.budget.stop_reason()
        self.status = self.status if over is None else over
        return over is not None

    def solution(self, form: QuadraticForm, share: float) -> Solution | None:
        """The solver's solution within a share of the remaining time; None where there is no solver or no time."""
        if self.solve is None or self.is_over():
            return None
        budget = self.budget.share(share)
        self.programs += 1
        nearly = budget.share(0.99)
        solution = self.solve(form, budget)
        self.answers += solution.multipliers is not None
        if not solution.solved:
            self.status = Status.TIME_LIMIT if nearly.seconds_left <= 0 else Status.FAILED
            self.notes.append(f"unsolved ({solution.words})")
        return solution


class Norm(NamedTuple):
    """A norm.

    Attributes:
        upper: an upper bound.
        raw: the value before the repair of multipliers, which proves nothing.
    """

    upper: float
    raw: float


def sector_norm(sectors: Sectors, joint: bool, run: Run) -> Norm:
    """The l2 operator norm of all rows together, or the largest of the rows' own.

    Args:
        sectors: the sectors of the network, with the rows.
        joint: whether the norm is that of all rows together.
        run: the programs of the point, in which the course is entered.

    Returns:
        The norm; inf where neither the solver nor the multipliers of another row prove anything.
    """
    run.norms += 1
    parts = [sectors] if joint else [sectors.of_row(row) for row in range(len(sectors.row_input))]
    forms = sorted(map(QuadraticForm.of, parts), key=lambda form: -form.size)
    norm = Norm(0.0, 0.0)
    proved: deque[np.ndarray] = deque(maxlen=KEPT)
    for at, form in enumerate(forms):
        share = max(SHARE, 1.0 / (len(forms) - at))
        if form.units == 0 or form.size == 0.0:
            norm = Norm(*(max(end, form.size) for end in norm))
            continue
        # multipliers of other functionals prove a bound for this one too
        upper = min((form.bound_by(multipliers) for multipliers in proved), default=math.inf)
        raw = upper
        if upper <= norm.upper:
            continue
        if (run.solve is None or form.units > ASCENT) and not run.is_over():
            by_ascent = ascend(form, norm.upper, run.budget.share(share if run.solve is None else 0.5 * share))
            run.is_over()
            if by_ascent is not None:
                bound, multipliers = form.bound(form.smallest(by_ascent) or 0.0, by_ascent)
                proved.append(multipliers)
                upper = raw = min(upper, bound)
        if upper <= norm.upper:
            continue
        solution = run.solution(form, share)
        if solution is not None and solution.multipliers is not None:
            raw = form.size * math.sqrt(max(0.0, solution.rho))
            bound, multipliers = form.bound(solution.rho, solution.multipliers)
            proved.append(multipliers)
            upper = min(upper, bound)
        norm = Norm(max(norm.upper, upper), max(norm.raw, raw))
    return norm
