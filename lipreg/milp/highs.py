"""HiGHS, called directly: at a limit cvxpy does not keep its dual bound apart from its incumbent."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.budget import Budget
from lipreg.ctrl_c import delayed_ctrl_c
from lipreg.milp.program import Program
from lipreg.milp.solvers import LONGEST, Found, Options, Solver, register_solver
from lipreg.results import Status

if TYPE_CHECKING:
    import highspy

_STATUSES = {
    "kOptimal": Status.PROVED,
    "kInfeasible": Status.PROVED,
    "kTimeLimit": Status.TIME_LIMIT,
    "kInterrupt": Status.INTERRUPTED,
    "kIterationLimit": Status.TIME_LIMIT,
    "kObjectiveTarget": Status.TIME_LIMIT,
    "kSolutionLimit": Status.NODE_LIMIT,  # its word for mip_max_nodes, and no other limit is set
}
CERTAIN = ("kOptimal", "kInfeasible", "kTimeLimit", "kInterrupt")
"""Statuses of a linear program after which no other method is tried."""
ITERATIONS = 10_000
"""Simplex iterations on a linear program, or its number of rows if larger, before interior points are tried."""


@register_solver("highs")
class Highs(Solver):
    """The solver that lipreg depends on, so that it is always installed.

    HiGHS fixes its number of threads in each thread at the first call; every solve has a thread of its own, so solves do not
    disturb each other.
    """

    package = "highspy"
    finest = 1e-10

    def version(self) -> str:
        return f"HiGHS {silent_solver().version()}"

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        mip = len(program.integer) > 0
        solver = loaded(program, budget, options)
        if mip and options.start:
            indices = np.fromiter(options.start, dtype=np.int32)
            solver.setSolution(len(indices), indices, np.fromiter(options.start.values(), dtype=np.float64))
        watch(solver, budget.stop.is_set)
        for method in ({},) if mip else _linear(len(program.right)):
            for option, value in method.items():
                solver.setOptionValue(option, value)
            solver.setOptionValue("time_limit", solver.getRunTime() + min(LONGEST, max(1e-3, budget.seconds_left)))
            solver.run()
            if solver.getModelStatus().name in CERTAIN:
                break
        status = solver.getModelStatus()
        info, solution = solver.getInfo(), solver.getSolution()
        return Found(
            _STATUSES.get(status.name, Status.FAILED),
            solver.modelStatusToString(status),
            infeasible=infeasible(solver),
            point=np.asarray(solution.col_value) if feasible(solver) else None,
            bound=-info.mip_dual_bound if mip else None,  # maximised as the minimum of -cost
            multipliers=None if mip else row_multipliers(solution),
            nodes=int(info.mip_node_count) if mip else 0,
        )


def _linear(rows: int) -> tuple[dict[str, Any], ...]:
    """The options for a linear program, one after another: simplex up to an iteration limit, interior points, simplex
    without a limit."""
    import highspy

    first, last = max(ITERATIONS, rows), highspy.kHighsIInf
    interior = {"solver": "ipm", "run_crossover": "off"}
    return {"simplex_iteration_limit": first}, interior, {"solver": "simplex", "simplex_iteration_limit": last}


def loaded(program: Program, budget: Budget, options: Options) -> highspy.Highs:
    """A solver with the program and the options of a run.

    Args:
        program: scaled.
        budget: started; its seconds and nodes are limits.
        options: tolerances, threads and target; the start is not set.

    Raises:
        ValueError: HiGHS refused an option or the program.
    """
    solver = silent_solver()
    import highspy  # loaded by now, whatever came in between

    values: dict[str, Any] = {
        "output_flag": False,
        "threads": options.threads,
        "time_limit": float(budget.seconds_left),
        "mip_rel_gap": options.gap,
        "mip_abs_gap": 0.0,
        "primal_feasibility_tolerance": options.feasibility,
        "dual_feasibility_tolerance": options.feasibility,
        "mip_feasibility_tolerance": options.feasibility,
        "small_matrix_value": 1e-12,  # smaller entries are dropped, which only the LP's dual bound would notice
    }
    if budget.nodes is not None:
        values["mip_max_nodes"] = budget.nodes
    if options.target is not None:
        values["objective_target"] = -options.target
    for name, value in values.items():
        if solver.setOptionValue(name, value) != highspy.HighsStatus.kOk:
            raise ValueError(f"option {name}={value} was refused")
    if solver.passModel(_model(program)) == highspy.HighsStatus.kError:
        raise ValueError("the program was refused")
    return solver


def silent_solver() -> highspy.Highs:
    """A new solver. The banner that HiGHS prints from 1.16 on, with the first one of a process, is kept off stdout."""
    with delayed_ctrl_c():
        import highspy

        _silence_banner()
    return highspy.Highs()


@functools.cache  # once in a process: nothing more is printed afterwards
def _silence_banner() -> None:
    """Prints the banner to nowhere: compiled code prints it before a solver could be set not to, and stdout belongs to
    programs."""
    import highspy

    try:
        stdout = os.dup(1)
    except OSError:  # there is no stdout
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        highspy.Highs()
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def infeasible(solver: highspy.Highs) -> bool:
    """Whether the solver claims that there is no point."""
    return solver.getModelStatus().name == "kInfeasible"


def feasible(solver: highspy.Highs) -> bool:
    """Whether the solver claims that its solution is a feasible point."""
    import highspy

    return solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible


def row_multipliers(solution: highspy.HighsSolution) -> np.ndarray | None:
    """The row multipliers in the sense of a maximum; HiGHS's belong to the minimum of -cost."""
    return -np.asarray(solution.row_dual) if solution.dual_valid else None


def _model(program: Program) -> highspy.HighsLp:
    import highspy

    lp = highspy.HighsLp()
    rows, cols = len(program.right), len(program.cost)
    lp.num_row_, lp.num_col_ = rows, cols
    lp.sense_ = highspy.ObjSense.kMinimize
    lp.col_cost_, lp.offset_ = -program.cost, -program.offset  # gaps are relative to the objective with its offset
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


def watch(solver: highspy.Highs, stopped: Callable[[], bool]) -> None:
    """Makes the solver poll ``stopped``, which ends the run."""

    def interrupt(event: Any) -> None:
        if stopped():
            event.interrupt()

    solver.cbMipInterrupt.subscribe(interrupt)
    solver.cbSimplexInterrupt.subscribe(interrupt)
    solver.cbIpmInterrupt.subscribe(interrupt)
