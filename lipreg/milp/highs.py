"""HiGHS, called directly: its dual bound stays apart from its incumbent, which cvxpy's reading of a limit mixes up."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import highspy
import numpy as np

from lipreg.milp.program import Outcome, Program
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
    ) -> Outcome:
        """Maximises the program; see ``Solver.solve``. A failing run is an Outcome with status FAILED."""
        began = time.monotonic()
        try:
            _check(program)
            return self._run(program, max(seconds, 1e-3), start, stop, began)
        except (RuntimeError, ValueError) as error:
            return Outcome(Status.FAILED, seconds=time.monotonic() - began, detail=f"{_version()}: {error}")

    def _run(
        self,
        program: Program,
        seconds: float,
        start: dict[int, float] | None,
        stop: threading.Event | None,
        began: float,
    ) -> Outcome:
        solver = highspy.Highs()
        options: dict[str, Any] = {
            "output_flag": False,
            "threads": 1,
            "time_limit": float(seconds),
            "mip_rel_gap": GAP,
            "mip_abs_gap": 0.0,
            "primal_feasibility_tolerance": FEASIBILITY,
            "dual_feasibility_tolerance": FEASIBILITY,
            "mip_feasibility_tolerance": FEASIBILITY,
            "small_matrix_value": 1e-12,  # smaller entries are dropped, which only the LP's dual bound would notice
        }
        for name, value in options.items():
            solver.setOptionValue(name, value)
        if solver.passModel(_model(program)) == highspy.HighsStatus.kError:
            raise ValueError("the program was refused")
        mip = len(program.integer) > 0
        if mip and start:
            indices = np.fromiter(start, dtype=np.int32)
            solver.setSolution(len(indices), indices, np.fromiter(start.values(), dtype=np.float64))
        if stop is not None:
            _watch(solver, stop)
        solver.run()
        ended = solver.getModelStatus()
        status = _ENDED.get(ended, Status.FAILED)
        info, solution = solver.getInfo(), solver.getSolution()
        feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        point = np.asarray(solution.col_value) if feasible else None
        # recomputed here, so that no offset or sense convention of the solver's own enters
        incumbent = -math.inf if point is None else float(program.cost @ point + program.offset)
        if ended == highspy.HighsModelStatus.kInfeasible:
            bound = -math.inf
        elif status is Status.FAILED:
            bound = program.trivial_bound()  # what a failed run says of bounds may be a default
        elif mip:
            # maximised as the minimum of -cost, without the offset
            bound = -info.mip_dual_bound + program.offset
            bound = bound if math.isfinite(bound) else program.trivial_bound()
        else:
            # the solver's duals belong to a minimum: y = -row_dual; any y bounds the maximum
            duals = np.asarray(solution.row_dual) if solution.dual_valid else np.zeros(len(program.right))
            bound = min(program.dual_bound(-duals), program.trivial_bound())
        return Outcome(
            status,
            incumbent,
            bound,
            point,
            nodes=max(0, int(info.mip_node_count)) if mip else 0,
            seconds=time.monotonic() - began,
            detail=f"{_version()}: {solver.modelStatusToString(ended)}",
        )


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
