"""HiGHS, called directly: its dual bound stays apart from its incumbent, which cvxpy's reading of a limit mixes up."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import Any

import highspy
import numpy as np

from lipreg.milp.program import Outcome, Program, Scaled
from lipreg.results import Status

GAP = 1e-7
"""Relative gap at which a MIP counts as closed."""
FEASIBILITY = 1e-8
"""Row and integrality tolerance: small, because a big-M times this is what a relaxed row can gain."""

_ENDED = {
    highspy.HighsModelStatus.kOptimal: Status.PROVED,
    highspy.HighsModelStatus.kInfeasible: Status.PROVED,
    highspy.HighsModelStatus.kTimeLimit: Status.TIME_LIMIT,
    highspy.HighsModelStatus.kInterrupt: Status.INTERRUPTED,
    highspy.HighsModelStatus.kIterationLimit: Status.TIME_LIMIT,
    highspy.HighsModelStatus.kObjectiveTarget: Status.TIME_LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: Status.TIME_LIMIT,
}


class Highs:
    """The embedded solver; always there. One thread: run points in processes, not solves in threads."""

    name = "HiGHS"

    def solve(
        self,
        program: Program,
        *,
        seconds: float,
        start: dict[int, float] | None = None,
        stop: threading.Event | None = None,
        target: float | None = None,
        feasibility: float = FEASIBILITY,
    ) -> Outcome:
        """Maximises the program; see ``Solver.solve``. A failing run is an Outcome with status FAILED.

        With ``target`` a MIP may end as soon as a point reaches it; its status is then TIME_LIMIT. ``feasibility`` is the
        tolerance of rows and integers, 1e-10 to 1e-6.
        """
        began = time.monotonic()
        try:
            _check(program)
            scaled = program.scaled()
            solver = _loaded(scaled.program, max(seconds, 1e-3), feasibility)
            if target is not None:
                solver.setOptionValue("objective_target", (program.offset - target) / scaled.objective)
            return self._run(solver, program, scaled, start, stop, began)
        except (RuntimeError, ValueError) as error:
            return Outcome(Status.FAILED, seconds=time.monotonic() - began, detail=f"{_version()}: {error}")

    def _run(
        self,
        solver: highspy.Highs,
        program: Program,
        scaled: Scaled,
        start: dict[int, float] | None,
        stop: threading.Event | None,
        began: float,
    ) -> Outcome:
        mip = len(program.integer) > 0
        if mip and start:
            indices = np.fromiter(start, dtype=np.int32)
            values = np.fromiter(start.values(), dtype=np.float64) / scaled.columns[indices]
            solver.setSolution(len(indices), indices, values)
        if stop is not None:
            _watch(solver, stop)
        solver.run()
        ended = solver.getModelStatus()
        status = _ENDED.get(ended, Status.FAILED)
        info, solution = solver.getInfo(), solver.getSolution()
        feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        point = np.asarray(solution.col_value) * scaled.columns if feasible else None
        # recomputed here, so that no offset or sense convention of the solver's own enters
        incumbent = -math.inf if point is None else float(program.cost @ point + program.offset)
        bound = program.trivial_bound()  # what a failed run says of bounds may be a default
        if ended == highspy.HighsModelStatus.kInfeasible:
            bound = -math.inf
        elif mip and status is not Status.FAILED and math.isfinite(info.mip_dual_bound):
            # maximised as the minimum of -cost, without the offset
            bound = program.offset - info.mip_dual_bound * scaled.objective
        elif not mip and status is not Status.FAILED:
            bound = _certified(scaled.program, solution) * scaled.objective
        return Outcome(
            status,
            incumbent,
            bound,
            point,
            nodes=max(0, int(info.mip_node_count)) if mip else 0,
            seconds=time.monotonic() - began,
            detail=f"{_version()}: {solver.modelStatusToString(ended)}",
        )


def relaxed_bounds(
    program: Program, costs: np.ndarray, offsets: np.ndarray, seconds: float, stop: threading.Event | None = None
) -> np.ndarray:
    """Certified upper bounds on the LP relaxation for many objectives over the same rows, each LP started from the last.

    Args:
        program: its own objective is not used.
        costs: ``(objectives, columns)``.
        offsets: ``(objectives,)``.
        seconds: for all of them; those that are not reached keep the bound that the variables' boxes give.
    """
    deadline = time.monotonic() + seconds
    scaled = program.relaxed().scaled()
    solver = _loaded(scaled.program, seconds)
    if stop is not None:
        _watch(solver, stop)
    columns = np.arange(len(program.cost), dtype=np.int32)
    bounds = []
    for cost, offset in zip(costs * scaled.columns, offsets, strict=True):
        size = float(np.abs(cost).sum()) or 1.0
        objective = replace(scaled.program, cost=cost / size, offset=float(offset) / size)
        bound = objective.trivial_bound()
        if time.monotonic() < deadline and not (stop is not None and stop.is_set()):
            solver.changeColsCost(len(columns), columns, -objective.cost)
            solver.setOptionValue("time_limit", solver.getRunTime() + max(1e-3, deadline - time.monotonic()))
            solver.run()
            bound = min(bound, _certified(objective, solver.getSolution()))
        bounds.append(bound * size)
    return np.array(bounds)


def _loaded(program: Program, seconds: float, feasibility: float = FEASIBILITY) -> highspy.Highs:
    """A solver that holds the program, with our tolerances."""
    solver = highspy.Highs()
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "time_limit": float(seconds),
        "mip_rel_gap": GAP,
        "mip_abs_gap": 0.0,
        "primal_feasibility_tolerance": feasibility,
        "dual_feasibility_tolerance": feasibility,
        "mip_feasibility_tolerance": feasibility,
        "small_matrix_value": 1e-12,  # smaller entries are dropped, which only the LP's dual bound would notice
    }
    for name, value in options.items():
        solver.setOptionValue(name, value)
    if solver.passModel(_model(program)) == highspy.HighsStatus.kError:
        raise ValueError("the program was refused")
    return solver


def _certified(program: Program, solution: highspy.HighsSolution) -> float:
    """The bound that the solver's row multipliers prove. They belong to a minimum, so y = -row_dual."""
    trivial = program.trivial_bound()
    return min(program.dual_bound(-np.asarray(solution.row_dual)), trivial) if solution.dual_valid else trivial


def _check(program: Program) -> None:
    """Refuses what HiGHS would take for another program: NaN costs and right-hand sides count as 0, short arrays end."""
    rows, cols = tuple(program.matrix.shape or (0, 0))
    if len(program.right) != rows or {len(v) for v in (program.cost, program.lower, program.upper)} != {cols}:
        raise ValueError("arrays of different lengths")
    for array in (program.cost, program.right, program.matrix.data, program.lower, program.upper, program.offset):
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinity among the numbers of the program")


def _model(program: Program) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    rows, cols = len(program.right), len(program.cost)
    lp.num_row_, lp.num_col_ = rows, cols
    lp.sense_ = highspy.ObjSense.kMinimize
    lp.col_cost_ = -program.cost
    lp.col_lower_, lp.col_upper_ = program.lower, program.upper
    low = np.full(rows, -highspy.kHighsInf)
    low[: program.equalities] = program.right[: program.equalities]
    lp.row_lower_, lp.row_upper_ = low, program.right
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.asarray(program.matrix.indptr, dtype=np.int32)
    lp.a_matrix_.index_ = np.asarray(program.matrix.indices, dtype=np.int32)
    lp.a_matrix_.value_ = np.asarray(program.matrix.data, dtype=np.float64)
    if len(program.integer):
        kinds = [highspy.HighsVarType.kContinuous] * cols
        for i in program.integer:
            kinds[i] = highspy.HighsVarType.kInteger
        lp.integrality_ = kinds
    return lp


def _watch(solver: highspy.Highs, stop: threading.Event) -> None:
    """Lets ``stop`` end the run, through the solver's own polling."""

    def interrupt(event: Any) -> None:
        if stop.is_set():
            event.interrupt()

    solver.cbMipInterrupt.subscribe(interrupt)
    solver.cbSimplexInterrupt.subscribe(interrupt)


def _version() -> str:
    return f"HiGHS {highspy.Highs().version()}"
