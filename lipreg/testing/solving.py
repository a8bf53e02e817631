"""One program and one solver: what holds for every outcome, and for one with a known optimum."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from lipreg.budget import Budget
from lipreg.milp import Program, SolverOutcome, get_solver
from lipreg.results import Status
from lipreg.testing.failures import expect, expect_near, within

LONG = 60.0
"""Seconds that a run takes at most which has no limit."""
PATIENCE = 30.0
"""Seconds after its limit or a stop in which a run has to be over, on a slow machine too."""


def solve(
    name: str,
    program: Program,
    seconds: float = 20.0,
    nodes: int | None = None,
    stop: Any = None,
    stopped: float = math.inf,
    **options: Any,
) -> SolverOutcome:
    """The outcome, with everything checked that holds for every one.

    Args:
        name: the solver.
        program: what it solves.
        seconds, nodes, stop: of the budget.
        stopped: after how many seconds ``stop`` is set.
        options: of ``Solver.solve``.
    """
    solver = get_solver(name)
    limits = Budget(seconds, nodes, stop=stop or threading.Event())
    ends = min(seconds, stopped, LONG)
    after = "a stop" if stopped < seconds else f"its limit of {seconds:g} s"
    unheard = "run has to look at budget.seconds_left and at budget.stop several times a second"
    outcome = within(
        ends + PATIENCE,
        lambda: solver.solve(program, limits, **options),
        f"{name}: {described(program)}: not over {PATIENCE:g} s after {after}; {unheard}",
    )
    size, here = (
        program.scaled().objective + abs(program.offset),
        f"{name}: {described(program)}: {outcome_text(outcome)}",
    )
    expect(outcome.detail.startswith(solver.version() + ": "), f"{here}: the detail does not begin with the version")
    expect(outcome.seconds >= 0 and outcome.nodes >= 0, f"{here}: negative seconds or nodes")
    expect(outcome.claimed >= outcome.incumbent - 1e-7 * size, f"{here}: the claimed bound is below the incumbent")
    expect(outcome.claimed <= program.trivial_bound(), f"{here}: the claimed bound is above that of the boxes alone")
    if outcome.point is None:
        expect(outcome.incumbent == -math.inf, f"{here}: an incumbent without a point")
        return outcome
    v, columns = outcome.point, program.column_sizes()
    expect_near(
        outcome.incumbent, program.cost @ v + program.offset, f"{here}: the incumbent is its point's objective", 1e-6
    )
    inside = (v >= program.lower - 1e-7 * columns).all() and (v <= program.upper + 1e-7 * columns).all()
    expect(inside, f"{here}: a variable is outside of its bounds")
    whole = np.abs(v[program.integer] - v[program.integer].round()) <= 1e-7 * (1 + np.abs(v[program.integer]))
    expect(whole.all(), f"{here}: an integer variable is not whole")
    over = (program.matrix @ v - program.right) / program.row_sizes()
    satisfied = (over <= 1e-6).all() and (over[: program.equalities] >= -1e-6).all()
    expect(satisfied, f"{here}: the point breaks a row by {np.abs(over).max(initial=0.0):.3g}")
    return outcome


def check_optimal(name: str, program: Program, best: float, **options: Any) -> SolverOutcome:
    """The outcome, after a check that both of its ends are the optimum.

    Args:
        name: the solver.
        program: what it solves.
        best: the optimum; -inf for a program without a point.
        options: of ``solve``.
    """
    outcome = solve(name, program, **options)
    here = f"{name}: {described(program)}, whose optimum is {best}: {outcome_text(outcome)}"
    expect(outcome.status is Status.PROVED, f"{here}: not solved to the end")
    expect(outcome.claims_infeasible == (best == -math.inf), f"{here}: wrong about whether there is a point")
    expect_near(outcome.incumbent, best, f"{here}: the incumbent", 1e-6, 1e-7)
    expect_near(outcome.claimed, best, f"{here}: the claimed bound", 1e-6, 1e-7)
    return outcome


def described(program: Program) -> str:
    """A program in words; a small one with its numbers."""
    rows, columns = len(program.right), len(program.cost)
    kind = "LP" if not len(program.integer) else "MIP"
    if rows * columns > 24:
        return f"{kind} of {rows} rows and {columns} columns"
    bounds = f"{program.lower.tolist()} <= v <= {program.upper.tolist()}, integers {program.integer.tolist()}"
    matrix = (
        f"{program.matrix.toarray().tolist()} v <= {program.right.tolist()}, {program.equalities} of them equalities"
    )
    return f"{kind} max {program.cost.tolist()} v + {program.offset}, {matrix}, {bounds}"


def outcome_text(outcome: SolverOutcome) -> str:
    """An outcome's numbers and its solver's words, without the point."""
    numbers = f"incumbent {outcome.incumbent}, claimed {outcome.claimed}, proved {outcome.dual_bound}"
    return f"{outcome.status.value!r}, {numbers}, {outcome.nodes} nodes, {outcome.detail!r}"
