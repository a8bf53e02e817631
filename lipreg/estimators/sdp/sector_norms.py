"""The norm of a network's differences from its sectors: one semidefinite program a functional, as few as are needed."""

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
"""Units from which on ascent goes before a solver, which may take longer than it is given."""
SHARE = 0.25
"""Of the time that is left, for one program of several: those that come later need some of it too."""
KEPT = 8
"""Multipliers of other functionals that are tried on one."""


@dataclass(frozen=True)
class Solution:
    """What a solver returned for a form, whatever it is worth.

    Attributes:
        rho, multipliers: finite, in the form's units, and perhaps a little infeasible; no multipliers where it failed.
        solved: whether the solver says that it is within its tolerance.
        words: the solver's own.
    """

    rho: float
    multipliers: np.ndarray | None
    solved: bool
    words: str


@dataclass
class Run:
    """The programs of one point: who solves them, until when, and how it went.

    Attributes:
        solve: a solver, which takes a form and what may be spent on it; None for ascent alone.
        budget: started.
        status: BOUNDED until a limit, or the solver, leaves a program unsolved.
        programs: how many were handed to the solver.
        answers: how many of those came back with multipliers.
        norms: how many norms were sought from sectors, in place of products.
        notes: on what went another way than planned.
    """

    solve: Callable[[QuadraticForm, Budget], Solution] | None
    budget: Budget
    status: Status = Status.BOUNDED
    programs: int = 0
    answers: int = 0
    norms: int = 0
    notes: list[str] = field(default_factory=list)

    def ended(self) -> bool:
        """Whether work must stop here; says why in the status."""
        over = self.budget.ended()
        self.status = self.status if over is None else over
        return over is not None

    def solution(self, form: QuadraticForm, share: float) -> Solution | None:
        """The solver's answer within a share of the time that is left; None where there is none."""
        if self.solve is None or self.ended():
            return None
        own = self.budget.share(share)
        self.programs += 1
        nearly = own.share(0.99)
        found = self.solve(form, own)
        self.answers += found.multipliers is not None
        if not found.solved:
            self.status = Status.TIME_LIMIT if nearly.seconds_left <= 0 else Status.FAILED
            self.notes.append(f"unsolved ({found.words})")
        return found


class Norm(NamedTuple):
    """An upper bound, and what the solver had said before the repair."""

    upper: float
    raw: float


def sector_norm(sectors: Sectors, joint: bool, run: Run) -> Norm:
    """The l2 operator norm of all rows together, or the largest of the rows' own.

    Args:
        joint: all together.

    Returns:
        inf where neither the solver nor the multipliers of another row prove anything.
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
        if (run.solve is None or form.units > ASCENT) and not run.ended():
            by_ascent = ascend(form, norm.upper, run.budget.share(share if run.solve is None else 0.5 * share))
            run.ended()
            if by_ascent is not None:
                own, multipliers = form.bound(form.smallest(by_ascent) or 0.0, by_ascent)
                proved.append(multipliers)
                upper = raw = min(upper, own)
        if upper <= norm.upper:
            continue
        found = run.solution(form, share)
        if found is not None and found.multipliers is not None:
            raw = form.size * math.sqrt(max(0.0, found.rho))
            own, multipliers = form.bound(found.rho, found.multipliers)
            proved.append(multipliers)
            upper = min(upper, own)
        norm = Norm(max(norm.upper, upper), max(norm.raw, raw))
    return norm
