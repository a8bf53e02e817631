"""check_solver: whether a MIP or LP solver's claims are true, on programs whose optima are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import numpy as np
from scipy.sparse import csc_array

from lipreg.budget import Budget
from lipreg.milp import Program, get_solver
from lipreg.results import Status
from lipreg.testing import programs, solver_limits
from lipreg.testing.failures import CheckFailed, aspects_of, expect, expect_near
from lipreg.testing.programs import best_by_enumeration, knapsack, program
from lipreg.testing.solving import check_optimal, described, outcome_text, solve


def check_solver(
    solver: str, *, seed: int = 0, aspects: Iterable[str] | None = None, without: Collection[str] = ()
) -> None:
    """Checks a registered solver on programs with known answers.

    Each way in which a run can end has to be the right outcome, its two ends apart: solved, infeasible, or at a limit of
    time, nodes, gap or target, or stopped. Points have to be feasible, claims true, and neither scales, offsets, starts
    nor neighbours may matter. A false claim is recognised where it contradicts an optimum that enumeration computes.

    Args:
        solver: its registered name.
        seed: of the programs that are drawn.
        aspects: the names of some checks (``ASPECTS``); None for all of them.
        without: names of checks that are left out, for an engine that lacks something. One that cannot be stopped lets
            Ctrl-C and the end of an audit wait for its time limit.

    Raises:
        CheckFailed: it does not pass; the text has the program and the outcome.
        InvalidInput: there is no such solver, or no such check.
        MissingExtra: its package is not installed.

    Example:
        >>> check_solver("highs", aspects=["optima"])
    """
    get_solver(solver)
    left_out = aspects_of(without, ASPECTS, "check_solver")
    for aspect in aspects_of(aspects, ASPECTS, "check_solver"):
        if aspect in left_out:
            continue
        try:
            ASPECTS[aspect](solver, seed)
        except CheckFailed as error:
            raise CheckFailed(f"{aspect}: {error}") from None
        except Exception as error:
            raise CheckFailed(f"{solver}, {aspect}: {type(error).__name__}: {error}") from error


def optima(name: str, seed: int) -> None:
    """Mixed-integer and linear programs with equalities, offsets, and rows and columns that constrain nothing."""
    outcome = check_optimal(name, knapsack(), 23)
    expect_near(outcome.point, [1, 1, 0, 0], f"{name}: the knapsack's point", absolute=1e-6)
    for integers in (True, False):
        instance = program(
            [1, 2, 4], [[1, 1, 0], [1, 0, 1]], [1, 1], equalities=1, integers=integers
        )  # x + y = 1, x + z <= 1
        check_optimal(name, instance, 6)
        for offset in (-7.5, 0.0, 1e4):
            check_optimal(name, knapsack(offset=offset, integers=integers), 23 + offset)
        for rows, right, equalities, best in ODD_ROWS:
            check_optimal(name, program([1, -1, 2], rows, right, equalities=equalities, integers=integers), best)
        check_optimal(name, program([0, 0], [[1, 1]], [1], offset=2.5, integers=integers), 2.5)
        fixed = replace(knapsack(integers=integers), lower=np.array([0.0, 1.0, 0, 0]), upper=np.array([0.0, 1.0, 1, 1]))
        check_optimal(name, fixed, 20 if integers else 13 + 7 + 4 / 3)
    instance = replace(
        knapsack(), matrix=csc_array(np.array([[1e16, 1.0, 1.0, 1.0]]))
    )  # HiGHS refuses entries above 1e15
    check_optimal(name, instance, best_by_enumeration(instance))
    for corner in itertools.product((0.0, 1.0), repeat=3):  # presolve may drop points, never the best
        cost = [1.0 if bit else -1.0 for bit in corner]
        outcome = check_optimal(name, program(cost, [[1, 1, 1]], [3]), sum(corner))
        expect_near(outcome.point, corner, f"{name}: the best corner of a cube", absolute=1e-7)


ODD_ROWS: list[tuple[list[list[float]], list[float], int, float]] = [
    ([], [], 0, 3),  # unbounded but for the boxes
    ([[0, 0, 0]], [1], 0, 3),
    ([[0, 0, 0]], [0], 1, 3),
    ([[0, 0, 0]], [-1], 0, -math.inf),
    ([[0, 0, 0]], [1], 1, -math.inf),
    ([[1, 0, 1], [1, 0, 1], [2, 0, 2], [0, 0, 0]], [1, 1, 2, 0], 2, 2),  # the same row three times
    ([[1, 1, 1], [-1, -1, -1]], [1, -1], 0, 2),
]
"""Rows, right-hand sides, equalities, and the optimum of max x - y + 2 z in the unit cube under them."""


def multipliers(name: str, seed: int) -> None:
    """An LP's row multipliers prove its optimum."""
    # max 3x + 2y, x + y <= 4, x + 3y <= 6, x <= 3: (3, 1), 11; the last row holds for one column alone
    instance = program([3, 2], [[1, 1], [1, 3], [1, 0]], [4, 6, 3], upper=10.0, integers=False)
    outcome = check_optimal(name, instance, 11)
    expect_near(outcome.dual_bound, 11, f"{name}: what the multipliers of an LP prove")
    expect(outcome.nodes == 0, f"{name}: {outcome.nodes} nodes of an LP")
    rng = np.random.default_rng(seed)
    for _ in range(30):
        instance = programs.drawn(rng)
        outcome = solve(name, instance.relaxed())
        best, message = (
            best_by_enumeration(instance),
            f"{name}: {described(instance.relaxed())}: {outcome_text(outcome)}",
        )
        expect(outcome.status is Status.PROVED, f"{message}: not solved")
        if outcome.claims_infeasible:
            expect(best == -math.inf, f"{message}: there is a point, which attains {best}")
        else:  # a feasible point and multipliers that prove its value: no engine has to be trusted
            expect_near(outcome.claimed, outcome.incumbent, message, absolute=1e-6)
            expect(outcome.claimed >= best - 1e-6, f"{message}: a point attains {best}")


def infeasible(name: str, seed: int) -> None:
    """Programs without a point, of all numbers and of integers alone, and with bounds that cross."""
    for integers in (True, False):
        instance = program([1, 1], [[1, 1], [-1, -1]], [0.5, -0.8], integers=integers)
        expect(check_optimal(name, instance, -math.inf).point is None, f"{name}: a point of an infeasible program")
    instance = program([1, 1], [[2, 2]], [1], equalities=1)  # 2x + 2y = 1
    check_optimal(name, instance, -math.inf)
    check_optimal(name, instance.relaxed(), 0.5)
    outcome = solve(name, replace(knapsack(), lower=np.full(4, 2.0)))
    none = outcome.point is None and (outcome.status is Status.FAILED or outcome.claims_infeasible)
    expect(none, f"{name}: bounds that cross: {outcome_text(outcome)}")


def scales(name: str, seed: int) -> None:
    """Neither the units of the objective, of rows nor of columns matter."""
    for cost, row, column in itertools.product((1e-9, 1.0, 1e9), repeat=3):
        # max 3a + 2x with x <= 4 - 3a, 0 <= x <= 2: a = 0 gives 4, a = 1 gives 5; x counted in another unit
        instance = Program(
            np.array([3.0, 2.0 / column]) * cost,
            0.5 * cost,
            csc_array(np.array([[3.0, 1.0 / column]]) * row),
            np.array([4.0]) * row,
            0,
            np.zeros(2),
            np.array([1.0, 2.0 * column]),
            np.array([0]),
        )
        check_optimal(name, replace(instance, offset=0.0), 5 * cost)
        outcome = check_optimal(name, instance, 5.5 * cost)
        expect_near(outcome.point, [1.0, 1.0 * column], f"{name}: the point in units {cost}, {row}, {column}", 1e-6)
        outcome = solve(name, instance.relaxed())
        message = f"{name}: the relaxation in units {cost}, {row}, {column}"
        expect_near(outcome.incumbent, (2 / 3 * 3 + 4 + 0.5) * cost, message, 1e-6)


def drawn_programs(name: str, seed: int) -> None:
    """Random small programs have the optimum that enumeration finds."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        instance = programs.drawn(rng)
        check_optimal(name, instance, best_by_enumeration(instance))
    for _ in range(4):
        rows, right = rng.normal(size=(4, 9)).tolist(), rng.uniform(0, 1, 4).tolist()
        instance = program(rng.normal(size=9).tolist(), rows, right, offset=rng.normal())
        check_optimal(name, instance, best_by_enumeration(instance))


def starts(name: str, seed: int) -> None:
    """A start is completed and kept, in the program's own units; a wrong one does no harm."""
    instance, subset = programs.hidden_split(40)
    alone = solve(name, instance, seconds=0.3)
    expect(alone.incumbent < -1e-6, f"{name}: finds in 0.3 s what no search finds: {alone}")
    started = solve(name, instance, start=dict(enumerate(subset)))  # its slacks are left to the solver
    # the completed start attains the bound 0
    message = f"{name}: started from an optimal point: {started}"
    expect(started.status is Status.PROVED and started.point is not None, message)
    expect_near(started.incumbent, 0.0, message, absolute=1e-6)
    expect_near(started.point[:40], subset, message, absolute=1e-6)  # type: ignore[index]
    # programs are scaled before a solver sees them, and a start with them: here the target reads 100 subsets in one
    unit = replace(instance, upper=instance.upper * np.where(np.arange(48) < 40, 1.0, 7.0))
    start = {**dict(enumerate(subset)), **dict.fromkeys(range(40, 48), 0.0)}
    expect_near(solve(name, unit, start=start).incumbent, 0.0, f"{name}: a start in other units", absolute=1e-6)
    for start in ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {0: 0.0, 1: 0.0}, {2: 0.5}, {}):
        check_optimal(name, knapsack(), 23, start=start)


def failures(name: str, seed: int) -> None:
    """A malformed program is a failed outcome, not an exception."""
    good, solver = knapsack(), get_solver(name)
    for bad in (
        replace(good, cost=np.full(4, np.nan)),
        replace(good, right=np.array([np.nan])),
        replace(good, matrix=csc_array(np.array([[np.nan, 1.0, np.inf, 1.0]]))),
        replace(good, lower=np.zeros(2)),
        replace(good, right=np.zeros(3)),
        replace(good, offset=math.inf),
        replace(good, upper=np.full(4, np.nan)),
    ):
        outcome = solver.solve(bad, Budget(5))
        message = f"{name}: a malformed program: {outcome_text(outcome)}"
        expect(outcome.status is Status.FAILED and outcome.claimed == math.inf, message)
        expect((outcome.incumbent, outcome.point) == (-math.inf, None) and solver.version() in outcome.detail, message)


Check = Callable[[str, int], None]
ASPECTS: dict[str, Check] = {
    "optima": optima,
    "multipliers": multipliers,
    "infeasible": infeasible,
    "scales": scales,
    "drawn programs": drawn_programs,
    "starts": starts,
    "failures": failures,
    "time": solver_limits.time_limits,
    "nodes": solver_limits.node_limits,
    "gaps": solver_limits.gaps,
    "targets": solver_limits.targets,
    "cutoffs": solver_limits.cutoffs,
    "stops": solver_limits.stops,
    "ctrl-c": solver_limits.ctrl_c,
    "silence": solver_limits.silence,
    "neighbours": solver_limits.neighbours,
    "repeats": solver_limits.repeats,
}
"""What is checked of a solver, one after the other."""
