"""One program and one solver: what holds for every outcome, and for one with a known optimum."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from lipreg.budget import Budget
from lipreg.milp import Outcome, Program, get_solver
from lipreg.results import Status
from lipreg.testing.failures import expect, expect_near


def solve(
    name: str, asked: Program, seconds: float = 20.0, nodes: int | None = None, stop: Any = None, **options: Any
) -> Outcome:
    """The outcome, with everything checked that holds for every one.

    Args:
        name: the solver.
        asked: the program.
        seconds, nodes, stop: of the budget.
        options: of ``Solver.solve``.
    """
    solver = get_solver(name)
    outcome = solver.solve(asked, Budget(seconds, nodes, stop=stop or threading.Event()), **options)
    size, here = asked.scaled().objective + abs(asked.offset), f"{name}: {described(asked)}: {told(outcome)}"
    expect(outcome.detail.startswith(solver.version() + ": "), f"{here}: the detail does not begin with the version")
    expect(outcome.seconds >= 0 and outcome.nodes >= 0, f"{here}: negative seconds or nodes")
    expect(outcome.claimed >= outcome.incumbent - 1e-7 * size, f"{here}: the claimed bound is below the incumbent")
    expect(outcome.claimed <= asked.trivial_bound(), f"{here}: the claimed bound is above that of the boxes alone")
    if outcome.point is None:
        expect(outcome.incumbent == -math.inf, f"{here}: an incumbent without a point")
        return outcome
    v, columns = outcome.point, asked.column_sizes()
    expect_near(
        outcome.incumbent, asked.cost @ v + asked.offset, f"{here}: the incumbent is its point's objective", 1e-6
    )
    inside = (v >= asked.lower - 1e-7 * columns).all() and (v <= asked.upper + 1e-7 * columns).all()
    expect(inside, f"{here}: a variable is outside of its bounds")
    whole = np.abs(v[asked.integer] - v[asked.integer].round()) <= 1e-7 * (1 + np.abs(v[asked.integer]))
    expect(whole.all(), f"{here}: an integer variable is not whole")
    over = (asked.matrix @ v - asked.right) / asked.row_sizes()
    held = (over <= 1e-6).all() and (over[: asked.equalities] >= -1e-6).all()
    expect(held, f"{here}: the point breaks a row by {np.abs(over).max(initial=0.0):.3g}")
    return outcome


def check_optimal(name: str, asked: Program, best: float, **options: Any) -> Outcome:
    """Both ends are the known optimum; -inf for a program without a point."""
    outcome = solve(name, asked, **options)
    here = f"{name}: {described(asked)}, whose optimum is {best}: {told(outcome)}"
    expect(outcome.status is Status.PROVED, f"{here}: not solved to the end")
    expect(outcome.claims_infeasible == (best == -math.inf), f"{here}: wrong about whether there is a point")
    expect_near(outcome.incumbent, best, f"{here}: the incumbent", 1e-6, 1e-7)
    expect_near(outcome.claimed, best, f"{here}: the claimed bound", 1e-6, 1e-7)
    return outcome


def described(asked: Program) -> str:
    """A program in words; a small one with its numbers."""
    rows, columns = len(asked.right), len(asked.cost)
    kind = "LP" if not len(asked.integer) else "MIP"
    if rows * columns > 24:
        return f"{kind} of {rows} rows and {columns} columns"
    bounds = f"{asked.lower.tolist()} <= v <= {asked.upper.tolist()}, integers {asked.integer.tolist()}"
    matrix = f"{asked.matrix.toarray().tolist()} v <= {asked.right.tolist()}, {asked.equalities} of them equalities"
    return f"{kind} max {asked.cost.tolist()} v + {asked.offset}, {matrix}, {bounds}"


def told(outcome: Outcome) -> str:
    """An outcome's numbers and its solver's words, without the point."""
    numbers = f"incumbent {outcome.incumbent}, claimed {outcome.claimed}, proved {outcome.dual_bound}"
    return f"{outcome.status.value!r}, {numbers}, {outcome.nodes} nodes, {outcome.detail!r}"
