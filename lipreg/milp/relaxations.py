"""Linear relaxations one after another, each started from the last, with bounds that are proved here.

Always by HiGHS: what it says is evaluated by weak duality, so no engine has to be trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lipreg.budget import Budget
from lipreg.milp.highs import feasible, infeasible, loaded, row_multipliers, watch
from lipreg.milp.program import Program
from lipreg.milp.solvers import LONGEST, Options


class Relaxation:
    """The linear relaxation of a program, solved again and again for other objectives or other bounds of its variables.

    Args:
        program: its rows stay.
        budget: started; what is asked after its end has the bound of the variables' boxes.
    """

    def __init__(self, program: Program, budget: Budget) -> None:
        self.program, self.budget = program.relaxed(), budget
        self._scaled = self.program.scaled()
        self._solver = loaded(self._scaled.program, Budget(), Options())
        self._solver.setOptionValue("presolve", "off")  # it keeps neither bases nor Farkas vectors
        self._columns = np.arange(len(program.cost), dtype=np.int32)
        watch(self._solver, budget.stop.is_set)

    def aimed(self, cost: np.ndarray, offset: float) -> float:
        """A proved upper bound for another objective."""
        own = cost * self._scaled.columns
        size = float(np.abs(own).sum()) or 1.0
        asked = replace(self.program, cost=cost, offset=offset)
        bound = asked.trivial_bound()
        if self.budget.ended() is None:
            self._solver.changeColsCost(len(own), self._columns, -own / size)
            said = self._said()
            if said.multipliers is not None and not said.infeasible:
                bound = min(bound, asked.dual_bound(said.multipliers * size / self._scaled.rows))
        return bound

    def within(self, lower: np.ndarray, upper: np.ndarray) -> tuple[float, np.ndarray | None]:
        """A proved upper bound with the variables between other ends, -inf where they are proved to hold no point.

        Returns:
            The bound, and what the solver says is the best point, between the ends; None without one.
        """
        asked = replace(self.program, lower=lower, upper=upper)
        bound = asked.trivial_bound()
        if self.budget.ended() is not None:
            return bound, None
        columns, scaled = self._scaled.columns, self._scaled
        self._solver.changeColsBounds(len(lower), self._columns, lower / columns, upper / columns)
        said = self._said()
        if said.multipliers is not None:
            multipliers = scaled.multipliers(said.multipliers)
            if said.infeasible and any(asked.refuted_by(sign * multipliers) for sign in (-1.0, 1.0)):
                return -math.inf, None
            bound = min(bound, asked.dual_bound(multipliers))
        if said.point is None or not np.isfinite(said.point).all():
            return bound, None
        return bound, np.clip(said.point * columns, lower, upper)

    def _said(self) -> _Said:
        """The solver's answer, for the scaled program. None of it is trusted."""
        solver, left = self._solver, min(LONGEST, max(1e-3, self.budget.seconds_left))
        solver.setOptionValue("time_limit", solver.getRunTime() + left)
        solver.run()
        if infeasible(solver):
            _, found, ray = solver.getDualRay()  # pyright: ignore[reportAttributeAccessIssue]
            return _Said(True, np.asarray(ray) if found else None, None)
        solution = solver.getSolution()
        return _Said(False, row_multipliers(solution), np.asarray(solution.col_value) if feasible(solver) else None)


@dataclass(frozen=True)
class _Said:
    """Whether there is no point; the row multipliers, of an infeasible program a Farkas vector; the best point."""

    infeasible: bool
    multipliers: np.ndarray | None
    point: np.ndarray | None


def relaxed_bounds(program: Program, costs: np.ndarray, offsets: np.ndarray, budget: Budget) -> np.ndarray:
    """Proved upper bounds on the LP relaxation for many objectives over the same rows.

    Args:
        program: its own objective is not used.
        costs: ``(objectives, columns)``.
        offsets: ``(objectives,)``.
        budget: for all of them; those that are not reached keep the bound that the variables' boxes give.
    """
    relaxation = Relaxation(program, budget.started())
    return np.array([relaxation.aimed(cost, float(offset)) for cost, offset in zip(costs, offsets, strict=True)])
