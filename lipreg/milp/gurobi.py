"""Gurobi. The licence that comes with its pip package is for programs of up to 2000 rows and 2000 columns."""

from __future__ import annotations

import _thread
import functools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.budget import Budget
from lipreg.milp.program import Program
from lipreg.milp.solvers import Found, Options, Solver, register_solver
from lipreg.results import Status

if TYPE_CHECKING:
    import gurobipy


_ONE_AT_A_TIME = threading.Lock()
"""While Gurobi runs it handles Ctrl-C; of two runs at once the second would leave the first one's handler in place."""


@register_solver("gurobi")
class Gurobi(Solver):
    """Gurobi, one solve at a time in a process, each with an environment of its own."""

    package = "gurobipy"
    extra = "gurobi"
    finest = 1e-9

    def version(self) -> str:
        import gurobipy

        return "Gurobi " + ".".join(map(str, gurobipy.gurobi.version()))

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        import gurobipy

        if not _ONE_AT_A_TIME.acquire(timeout=budget.seconds_left):
            return Found(Status.TIME_LIMIT, "another solve of this process took the time")
        try:
            with gurobipy.Env(empty=True) as environment:
                environment.setParam("OutputFlag", 0)  # before the start, which prints the licence
                environment.start()
                with gurobipy.Model(env=environment) as model:
                    return _solved(model, program, budget, options)
        except gurobipy.GurobiError as error:
            return Found(Status.FAILED, _advice(error, program))
        finally:
            _ONE_AT_A_TIME.release()


def _solved(model: gurobipy.Model, program: Program, budget: Budget, options: Options) -> Found:
    """Loads the program into an empty model and maximises it."""
    from gurobipy import GRB

    mip, cols, rows = len(program.integer) > 0, len(program.cost), len(program.right)
    kinds = np.full(cols, GRB.CONTINUOUS)
    kinds[program.integer] = GRB.INTEGER
    variables = model.addMVar(cols, lb=program.lower, ub=program.upper, obj=program.cost, vtype=kinds)
    senses = np.where(np.arange(rows) < program.equalities, GRB.EQUAL, GRB.LESS_EQUAL)
    matrix: Any = program.matrix  # sparse, which Gurobi's stubs leave out
    constraints = model.addMConstr(matrix, variables, senses, program.right)
    model.ModelSense, model.ObjCon = GRB.MAXIMIZE, program.offset
    for name, value in _parameters(budget, options).items():
        model.setParam(name, value)
    if mip and options.start:
        start = np.full(cols, GRB.UNDEFINED)
        start[list(options.start)] = list(options.start.values())
        variables.setAttr("Start", start)

    def watch(running: gurobipy.Model, where: int) -> None:
        if budget.stop.is_set():
            running.terminate()

    model.optimize(watch)
    if model.Status == GRB.INTERRUPTED and not budget.stop.is_set():
        _thread.interrupt_main()  # Gurobi took a Ctrl-C that is Python's
    code, status = model.Status, _statuses().get(model.Status, Status.FAILED)
    optimal = code == GRB.OPTIMAL
    return Found(
        status,
        _status_names()[code],
        # with every variable boxed, nothing is unbounded
        infeasible=code in (GRB.INFEASIBLE, GRB.INF_OR_UNBD),
        point=np.asarray(variables.X) if (model.SolCount > 0 if mip else optimal) else None,
        bound=model.ObjBound if mip else None,
        multipliers=np.asarray(constraints.Pi) if optimal and not mip else None,
        nodes=int(model.NodeCount) if mip else 0,
    )


def _parameters(budget: Budget, options: Options) -> dict[str, float]:
    parameters: dict[str, float] = {
        "TimeLimit": budget.seconds_left,
        "Threads": options.threads,
        "MIPGap": options.gap,
        "MIPGapAbs": 0.0,
        "FeasibilityTol": options.feasibility,
        "OptimalityTol": options.feasibility,
        "IntFeasTol": 1e-9,  # its finest: a binary that is off by this lets a big-M row off by as much
        "NumericFocus": 1,
    }
    if budget.nodes is not None:
        parameters["NodeLimit"] = budget.nodes
    if options.target is not None:
        parameters["BestObjStop"] = options.target
    return parameters


@functools.cache
def _statuses() -> dict[int, Status]:
    from gurobipy import GRB

    return {
        GRB.OPTIMAL: Status.PROVED,
        GRB.INFEASIBLE: Status.PROVED,
        GRB.INF_OR_UNBD: Status.PROVED,
        GRB.TIME_LIMIT: Status.TIME_LIMIT,
        GRB.ITERATION_LIMIT: Status.TIME_LIMIT,
        GRB.USER_OBJ_LIMIT: Status.TIME_LIMIT,
        GRB.NODE_LIMIT: Status.NODE_LIMIT,
        GRB.INTERRUPTED: Status.INTERRUPTED,
    }


@functools.cache
def _status_names() -> dict[int, str]:
    """Gurobi's names of its statuses."""
    from gurobipy import GRB

    return {getattr(GRB.Status, name): name for name in dir(GRB.Status) if name.isupper()}


def _advice(error: gurobipy.GurobiError, program: Program) -> str:
    """The message for an error, with what to do about the licence's limit."""
    from gurobipy import GRB

    if error.errno == GRB.ERROR_SIZE_LIMIT_EXCEEDED:
        rows, cols = len(program.right), len(program.cost)
        return (
            f"the licence does not allow a program of {rows} rows and {cols} columns; that of the pip package allows 2000 "
            "of each. Take solver='highs' or 'scip', a smaller radius, or another licence"
        )
    return f"{error} (error {error.errno})"
