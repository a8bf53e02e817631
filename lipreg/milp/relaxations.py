"""Linear relaxations one after another, each started from the last, with bounds that are proved here.

Always by HiGHS: its multipliers are evaluated by weak duality, so no engine has to be trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lipreg.budget import Budget
from lipreg.milp.highs import feasible, infeasible, loaded, row_multipliers, watch
from lipreg.milp.program import Program
from lipreg.milp.solvers import LONGEST, Options


class ProgramRelaxation:
    """The linear relaxation of a program, solved again and again for other objectives or other bounds of its variables.

    Args:
        program: its rows stay.
        budget: started; after its end every bound is the trivial one, of the variables' bounds.
    """

    def __init__(self, program: Program, budget: Budget) -> None:
        self.program, self.budget = program.relaxed(), budget
        self._scaled = self.program.scaled()
        self._solver = loaded(self._scaled.program, Budget(), Options())
        self._solver.setOptionValue("presolve", "off")  # it keeps neither bases nor Farkas vectors
        self._columns = np.arange(len(program.cost), dtype=np.int32)
        watch(self._solver, budget.stop.is_set)

    def objective_bound(self, cost: np.ndarray, offset: float) -> float:
        """A proved upper bound for another objective."""
        scaled_cost = cost * self._scaled.columns
        size = float(np.abs(scaled_cost).sum()) or 1.0
        program = replace(self.program, cost=cost, offset=offset)
        bound = program.trivial_bound()
        if self.budget.stop_reason() is None:
            self._solver.changeColsCost(len(scaled_cost), self._columns, -scaled_cost / size)
            answer = self._answer()
            if answer.multipliers is not None and not answer.infeasible:
                bound = min(bound, program.dual_bound(answer.multipliers * size / self._scaled.rows))
        return bound

    def within(
        self, lower: np.ndarray, upper: np.ndarray, cost: np.ndarray | None = None
    ) -> tuple[float, np.ndarray | None]:
        """A proved upper bound with the variables between other ends, -inf where they are proved to hold no point.

        Args:
            lower, upper: the ends.
            cost: of another objective, for all programs from here on; None for the last one.

        Returns:
            The bound, and the point that the solver claims to be the best, cut to the ends; None without one.
        """
        if cost is not None:
            self.program = replace(self.program, cost=cost)
            scaled_cost = cost * self._scaled.columns
            size = float(np.abs(scaled_cost).sum()) or 1.0
            self._scaled = replace(self._scaled, objective=size)
            self._solver.changeColsCost(len(cost), self._columns, -scaled_cost / size)
        program = replace(self.program, lower=lower, upper=upper)
        bound = program.trivial_bound()
        if self.budget.stop_reason() is not None:
            return bound, None
        columns, scaled = self._scaled.columns, self._scaled
        self._solver.changeColsBounds(len(lower), self._columns, lower / columns, upper / columns)
        answer = self._answer()
        if answer.multipliers is not None:
            multipliers = scaled.multipliers(answer.multipliers)
            if answer.infeasible and any(program.refuted_by(sign * multipliers) for sign in (-1.0, 1.0)):
                return -math.inf, None
            bound = min(bound, program.dual_bound(multipliers))
        if answer.point is None or not np.isfinite(answer.point).all():
            return bound, None
        return bound, np.clip(answer.point * columns, lower, upper)

    def _answer(self) -> _Answer:
        """The solver's answer, for the scaled program. None of it is trusted."""
        solver, seconds = self._solver, min(LONGEST, max(1e-3, self.budget.seconds_left))
        solver.setOptionValue("time_limit", solver.getRunTime() + seconds)
        solver.run()
        if infeasible(solver):
            _, exists, ray = solver.getDualRay()  # pyright: ignore[reportAttributeAccessIssue]
            return _Answer(True, np.asarray(ray) if exists else None, None)
        solution = solver.getSolution()
        return _Answer(False, row_multipliers(solution), np.asarray(solution.col_value) if feasible(solver) else None)


@dataclass(frozen=True)
class _Answer:
    """A solver's claims: whether there is no point; the row multipliers, or then a Farkas vector; the best point."""

    infeasible: bool
    multipliers: np.ndarray | None
    point: np.ndarray | None


def relaxed_bounds(program: Program, costs: np.ndarray, offsets: np.ndarray, budget: Budget) -> np.ndarray:
    """Proved upper bounds on the LP relaxation for many objectives over the same rows, ``(objectives,)``.

    Args:
        program: its own objective is not used.
        costs: ``(objectives, columns)``.
        offsets: ``(objectives,)``.
        budget: for all of them; objectives after its end have the trivial bound, of the variables' bounds.
    """
    relaxation = ProgramRelaxation(program, budget.started())
    return np.array(
        [relaxation.objective_bound(cost, float(offset)) for cost, offset in zip(costs, offsets, strict=True)]
    )
