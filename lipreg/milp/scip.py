"""SCIP. At a limit the dual bound is read from the model, where 1e20 stands for none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lipreg.budget import Budget
from lipreg.milp.program import Program
from lipreg.milp.solvers import Found, Options, Solver, register_solver
from lipreg.results import Status

if TYPE_CHECKING:
    import pyscipopt

_STATUSES = {
    "optimal": Status.PROVED,
    "gaplimit": Status.PROVED,  # the requested gap
    "infeasible": Status.PROVED,
    "inforunbd": Status.PROVED,
    "timelimit": Status.TIME_LIMIT,
    "primallimit": Status.TIME_LIMIT,
    "nodelimit": Status.NODE_LIMIT,
    "totalnodelimit": Status.NODE_LIMIT,
    "userinterrupt": Status.INTERRUPTED,
}
POLL = 0.05
"""Seconds between two looks at whether the run is to end."""


@register_solver("scip")
class Scip(Solver):
    """SCIP with SoPlex, in one thread however many are allowed."""

    package = "pyscipopt"
    extra = "scip"
    finest = 1e-9  # its own zero

    def version(self) -> str:
        import pyscipopt

        return f"SCIP {pyscipopt.Model().version()}"

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        import pyscipopt

        mip = len(program.integer) > 0
        model = pyscipopt.Model()
        model.hideOutput()
        model.setParams(_parameters(budget, options, mip))
        variables, rows = _loaded(model, program, modifiable=not mip)
        if mip and options.start:
            start = model.createPartialSol()
            for column, value in options.start.items():
                model.setSolVal(start, variables[column], value)
            model.addSol(start)
        model.setParam("limits/time", max(1e-3, budget.seconds_left))
        with _watched(model, budget.stop.is_set):
            model.optimizeNogil()
        name = model.getStatus()
        status = _STATUSES.get(name, Status.FAILED)
        multipliers = None
        if not mip and name == "optimal":
            # SCIP minimises inside, and the multipliers are those of the minimum
            multipliers = -np.array([model.getDualsolLinear(row) for row in rows])
        point = None
        if model.getNSols() > 0:
            best = model.getBestSol()
            point = np.array([model.getSolVal(best, variable) for variable in variables])
        bound = model.getDualbound()
        return Found(
            status,
            name,
            infeasible=name in ("infeasible", "inforunbd"),  # with every variable boxed, nothing is unbounded
            point=point,
            bound=bound if mip and not model.isInfinity(abs(bound)) else None,
            multipliers=multipliers,
            nodes=model.getNTotalNodes() if mip else 0,
        )


def _loaded(model: pyscipopt.Model, program: Program, modifiable: bool) -> tuple[list[Any], list[Any]]:
    """The program as SCIP's variables and rows."""
    from pyscipopt.scip import Expr, ExprCons, Term

    kinds = np.full(len(program.cost), "C")
    kinds[program.integer] = "I"
    ends = zip(kinds.tolist(), program.lower.tolist(), program.upper.tolist(), program.cost.tolist(), strict=True)
    variables = [model.addVar(vtype=kind, lb=low, ub=high, obj=cost) for kind, low, high, cost in ends]
    model.setMaximize()
    model.addObjoffset(program.offset)
    terms, matrix, rows = [Term(variable) for variable in variables], program.matrix.tocsr(), []
    for i, right in enumerate(program.right.tolist()):
        inside = slice(matrix.indptr[i], matrix.indptr[i + 1])
        entries = zip(matrix.indices[inside].tolist(), matrix.data[inside].tolist(), strict=True)
        row = ExprCons(Expr({terms[j]: a for j, a in entries}), right if i < program.equalities else None, right)
        rows.append(model.addCons(row, modifiable=modifiable))
    return variables, rows


def _parameters(budget: Budget, options: Options, mip: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "misc/catchctrlc": False,  # Ctrl-C is Python's
        "timing/clocktype": 2,  # the wall's
        "limits/gap": options.gap,
        "limits/absgap": 0.0,
        "numerics/feastol": options.feasibility,
        # SCIP sharpens it a thousandfold where it must; below 1e-10 SoPlex refuses, and prints that
        "numerics/dualfeastol": max(options.feasibility, 1e-7),
        "heuristics/completesol/maxunknownrate": 1.0,  # a start names the activations alone
    }
    if not mip:  # one LP, with the rows as they are: reductions, cuts and symmetry rows would change the multipliers
        rounds = ("presolving", "propagating", "separating")
        parameters |= {f"{part}/maxrounds": 0 for part in rounds} | {"misc/usesymmetry": 0}
        parameters |= {f"{part}/maxroundsroot": 0 for part in rounds[1:]}
    if budget.nodes is not None:
        parameters["limits/totalnodes"] = budget.nodes
    if options.target is not None:
        parameters["limits/primal"] = options.target
    return parameters


@contextmanager
def _watched(model: pyscipopt.Model, stopped: Callable[[], bool]) -> Iterator[None]:
    """Interrupts the model while ``stopped()`` is true; again and again, as SCIP forgets an interrupt before its start."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL):
            if stopped():
                model.interruptSolve()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
