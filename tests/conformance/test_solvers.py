"""Every installed solver on programs with known answers: each way a run can end is an Outcome, its two ends apart.

A new solver is judged by all of this as soon as it is registered.
"""

from __future__ import annotations

import _thread
import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array

from lipreg.budget import Budget
from lipreg.milp import Outcome, Program, Solver, get_solver, installed_solvers
from lipreg.results import Status
from tests.milp import programs
from tests.milp.programs import best_by_enumeration, knapsack, program

each_solver = pytest.mark.parametrize("name", installed_solvers())
pytestmark = each_solver


def solve(
    name: str, asked: Program, seconds: float = 20.0, nodes: int | None = None, stop: Any = None, **options: Any
) -> Outcome:
    """The outcome, with everything checked that holds for every one."""
    solver = get_solver(name)
    outcome = solver.solve(asked, Budget(seconds, nodes, stop=stop or threading.Event()), **options)
    size = asked.scaled().objective + abs(asked.offset)
    assert outcome.detail.startswith(solver.version() + ": ")
    assert outcome.seconds >= 0 and outcome.nodes >= 0
    assert outcome.claimed >= outcome.incumbent - 1e-7 * size
    assert outcome.claimed <= asked.trivial_bound()
    if outcome.point is None:
        assert outcome.incumbent == -math.inf
        return outcome
    v, columns = outcome.point, asked.column_sizes()
    assert outcome.incumbent == pytest.approx(asked.cost @ v + asked.offset)
    assert (v >= asked.lower - 1e-7 * columns).all() and (v <= asked.upper + 1e-7 * columns).all()
    np.testing.assert_allclose(v[asked.integer], v[asked.integer].round(), atol=1e-7)
    over = (asked.matrix @ v - asked.right) / asked.row_sizes()
    assert (over <= 1e-6).all() and (over[: asked.equalities] >= -1e-6).all()
    return outcome


def check_optimal(name: str, asked: Program, best: float, **options: object) -> Outcome:
    """Both ends are the known optimum."""
    outcome = solve(name, asked, **options)  # type: ignore[arg-type]
    assert outcome.status is Status.PROVED, outcome.detail
    assert outcome.claims_infeasible == (best == -math.inf), outcome
    assert outcome.incumbent == pytest.approx(best, rel=1e-6, abs=1e-7)
    assert outcome.claimed == pytest.approx(best, rel=1e-6, abs=1e-7)
    return outcome


# ---------------------------------------------------------------- known answers


def test_a_mip(name: str) -> None:
    outcome = check_optimal(name, knapsack(), 23)
    np.testing.assert_allclose(outcome.point, [1, 1, 0, 0], atol=1e-6)


def test_an_lp_has_a_certified_bound(name: str) -> None:
    # max 3x + 2y, x + y <= 4, x + 3y <= 6, x <= 3: (3, 1), 11; the last row holds for one column alone
    asked = program([3, 2], [[1, 1], [1, 3], [1, 0]], [4, 6, 3], upper=10.0, integers=False)
    outcome = check_optimal(name, asked, 11)
    assert outcome.claimed == pytest.approx(11, rel=1e-9)
    assert outcome.nodes == 0


@pytest.mark.parametrize("integers", [True, False])
def test_equalities_come_first(name: str, integers: bool) -> None:
    asked = program([1, 2, 4], [[1, 1, 0], [1, 0, 1]], [1, 1], equalities=1, integers=integers)  # x + y = 1, x + z <= 1
    check_optimal(name, asked, 6)


@pytest.mark.parametrize("offset", [-7.5, 0.0, 1e4])
@pytest.mark.parametrize("integers", [True, False])
def test_the_offset_is_in_both_ends(name: str, offset: float, integers: bool) -> None:
    check_optimal(name, knapsack(offset=offset, integers=integers), 23 + offset)


@pytest.mark.parametrize("integers", [True, False])
def test_infeasible(name: str, integers: bool) -> None:
    outcome = check_optimal(name, program([1, 1], [[1, 1], [-1, -1]], [0.5, -0.8], integers=integers), -math.inf)
    assert outcome.point is None


def test_infeasible_for_integers_alone(name: str) -> None:
    asked = program([1, 1], [[2, 2]], [1], equalities=1)  # 2x + 2y = 1
    check_optimal(name, asked, -math.inf)
    check_optimal(name, asked.relaxed(), 0.5)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize(
    ("rows", "right", "equalities", "best"),
    [
        ([], [], 0, 3),  # unbounded but for the boxes
        ([[0, 0, 0]], [1], 0, 3),
        ([[0, 0, 0]], [0], 1, 3),
        ([[0, 0, 0]], [-1], 0, -math.inf),
        ([[0, 0, 0]], [1], 1, -math.inf),
        ([[1, 0, 1], [1, 0, 1], [2, 0, 2], [0, 0, 0]], [1, 1, 2, 0], 2, 2),  # the same row three times
        ([[1, 1, 1], [-1, -1, -1]], [1, -1], 0, 2),
    ],
)
def test_rows_that_are_missing_empty_or_double(
    name: str, rows: list[list[float]], right: list[float], equalities: int, best: float, integers: bool
) -> None:
    check_optimal(name, program([1, -1, 2], rows, right, equalities=equalities, integers=integers), best)


@pytest.mark.parametrize("integers", [True, False])
def test_columns_that_cost_nothing_or_cannot_move(name: str, integers: bool) -> None:
    check_optimal(name, program([0, 0], [[1, 1]], [1], offset=2.5, integers=integers), 2.5)
    fixed = replace(knapsack(integers=integers), lower=np.array([0.0, 1.0, 0, 0]), upper=np.array([0.0, 1.0, 1, 1]))
    check_optimal(name, fixed, 20 if integers else 13 + 7 + 4 / 3)


@pytest.mark.parametrize("cost", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("row", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("column", [1e-9, 1.0, 1e9])
def test_scales_do_not_matter(name: str, cost: float, row: float, column: float) -> None:
    # max 3a + 2x with x <= 4 - 3a, 0 <= x <= 2: a = 0 gives 4, a = 1 gives 5; x counted in another unit
    asked = Program(
        np.array([3.0, 2.0 / column]) * cost,
        0.5 * cost,
        csc_array(np.array([[3.0, 1.0 / column]]) * row),
        np.array([4.0]) * row,
        0,
        np.zeros(2),
        np.array([1.0, 2.0 * column]),
        np.array([0]),
    )
    check_optimal(name, replace(asked, offset=0.0), 5 * cost)
    outcome = check_optimal(name, asked, 5.5 * cost)
    np.testing.assert_allclose(outcome.point, [1.0, 1.0 * column], rtol=1e-6)
    outcome = solve(name, asked.relaxed())
    assert outcome.incumbent == pytest.approx(outcome.claimed, rel=1e-7)
    assert outcome.incumbent == pytest.approx((2 / 3 * 3 + 4 + 0.5) * cost, rel=1e-6)


def test_entries_of_any_size_are_solved(name: str) -> None:
    """HiGHS refuses entries above 1e15; programs are scaled before a solver sees them."""
    asked = replace(knapsack(), matrix=csc_array(np.array([[1e16, 1.0, 1.0, 1.0]])))
    check_optimal(name, asked, best_by_enumeration(asked))


numbers = st.integers(-4, 4).map(float)


@st.composite
def small_programs(draw: st.DrawFn) -> Program:
    """Integers of few values, perhaps with one continuous column; coefficients are small whole numbers, many of them 0."""
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(0, 4))
    entries = [draw(st.lists(numbers | st.just(0.0), min_size=columns, max_size=columns)) for _ in range(rows)]
    lower = np.array(draw(st.lists(st.integers(-2, 0), min_size=columns, max_size=columns)), dtype=float)
    widths = draw(st.lists(st.integers(0, 3), min_size=columns, max_size=columns))
    continuous = draw(st.booleans())
    return Program(
        np.array(draw(st.lists(numbers, min_size=columns, max_size=columns))),
        draw(numbers),
        csc_array(np.array(entries).reshape(rows, columns)),
        np.array(draw(st.lists(numbers, min_size=rows, max_size=rows)), dtype=float),
        draw(st.integers(0, min(rows, 1))),
        lower,
        lower + np.array(widths),
        np.arange(columns - continuous),
    )


@settings(max_examples=60)
@given(asked=small_programs())
def test_random_small_programs_match_enumeration(name: str, asked: Program) -> None:
    check_optimal(name, asked, best_by_enumeration(asked))


@settings(max_examples=30)
@given(asked=small_programs())
def test_random_small_relaxations_have_meeting_ends(name: str, asked: Program) -> None:
    """A feasible point (checked in ``solve``) and multipliers that prove its value: no engine has to be trusted."""
    outcome = solve(name, asked.relaxed())
    assert outcome.status is Status.PROVED
    if outcome.claims_infeasible:
        assert best_by_enumeration(asked) == -math.inf
    else:
        assert outcome.claimed == pytest.approx(outcome.incumbent, abs=1e-6)
        assert outcome.claimed >= best_by_enumeration(asked) - 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_random_binary_programs_match_enumeration(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = program(
        rng.normal(size=9).tolist(),
        rng.normal(size=(4, 9)).tolist(),
        rng.uniform(0, 1, 4).tolist(),
        offset=rng.normal(),
    )
    check_optimal(name, asked, best_by_enumeration(asked))


# ---------------------------------------------------------------- limits


def test_a_time_limit_leaves_a_bracket(name: str) -> None:
    asked, began = programs.split(40), time.monotonic()
    outcome = solve(name, asked, seconds=0.6)
    assert time.monotonic() - began < 30
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.point is not None
    # 0 bounds the optimum, and the incumbent is what its own binaries give
    assert outcome.incumbent <= outcome.claimed <= 1e-6
    weights, target = asked.matrix.toarray()[:, :40], asked.right
    x = outcome.point[:40].round()
    assert outcome.incumbent == pytest.approx(-np.abs(weights @ x - target).sum(), abs=1e-4)


def test_a_time_limit_brackets_a_known_optimum(name: str) -> None:
    outcome = solve(name, programs.hidden_split(40)[0], seconds=0.3)
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.incumbent <= 1e-6
    assert outcome.claimed >= -1e-6


@pytest.mark.parametrize("seconds", [1e30, float("inf")])
def test_no_time_limit(name: str, seconds: float) -> None:
    outcome = solve(name, programs.knapsack(), seconds=seconds)
    assert outcome.status is Status.PROVED, outcome.detail


def test_a_limit_before_any_incumbent(name: str) -> None:
    asked, chosen = programs.strict_split(60)
    outcome = solve(name, asked, seconds=0.3)
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.point is None
    assert not outcome.claims_infeasible
    assert chosen.sum() <= outcome.claimed <= 60 + 1e-6  # no more than every variable at its end


@pytest.mark.parametrize("seconds", [0.001, 1e-9, 0.0])
@pytest.mark.parametrize("integers", [True, False])
def test_no_time_at_all_is_still_a_bound(name: str, seconds: float, integers: bool) -> None:
    asked = programs.dense(200)
    known = np.arange(200) < 40  # 40 ones never exceed a row's 40
    outcome = solve(name, replace(asked, integer=np.arange(200 if integers else 0)), seconds=seconds)
    assert outcome.status is Status.TIME_LIMIT
    assert asked.cost @ known <= outcome.claimed <= asked.cost.sum() + 1e-6


def test_a_node_limit_leaves_a_bracket(name: str) -> None:
    asked, _ = programs.hidden_split(40)
    one, more = (solve(name, asked, nodes=nodes) for nodes in (1, 20))
    for outcome in (one, more):
        assert outcome.status is Status.NODE_LIMIT
        assert outcome.incumbent <= 1e-6
        assert outcome.claimed >= -1e-6
    assert one.nodes <= 1 < more.nodes <= 25


def test_a_gap_ends_the_search(name: str) -> None:
    rng = np.random.default_rng(1)
    asked = program(rng.uniform(1, 2, 40).tolist(), rng.uniform(0, 1, (20, 40)).tolist(), [6.0] * 20)
    outcome = solve(name, asked, gap=0.2)
    assert outcome.status is Status.PROVED
    assert 1e-4 < outcome.claimed / outcome.incumbent - 1 <= 0.2 * (1 + 1e-6)


def test_a_gap_is_one_of_the_whole_objective(name: str) -> None:
    """The offset is part of the value: a gap of 20% of 1000 is 200, and every point of the knapsack is that good."""
    outcome = solve(name, knapsack(offset=1000.0), gap=0.2)
    assert outcome.status is Status.PROVED
    assert 1000 <= outcome.incumbent <= 1023 + 1e-6
    check_optimal(name, knapsack(offset=-22.9), 0.1, gap=1e-3)


def test_a_target_ends_the_search(name: str) -> None:
    outcome = solve(name, programs.split(40), target=-1000.0)
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.incumbent >= -1000.0 - 1e-6
    check_optimal(name, knapsack(), 23, target=24.0)  # out of reach
    check_optimal(name, knapsack(offset=5.0), 28, target=28.0)


@pytest.mark.parametrize("cutoff", [23 - 1e-4, 20.5, -5.0])
def test_a_cutoff_below_the_optimum_keeps_it(name: str, cutoff: float) -> None:
    check_optimal(name, knapsack(offset=1.0).at_least(1.0 + cutoff), 24)


@pytest.mark.parametrize("cutoff", [23 + 1e-4, 30.0, 1e6])
def test_a_cutoff_above_the_optimum_is_infeasible(name: str, cutoff: float) -> None:
    check_optimal(name, knapsack(offset=1.0).at_least(1.0 + cutoff), -math.inf)


# ---------------------------------------------------------------- starts


def test_a_start_is_honoured(name: str) -> None:
    asked, chosen = programs.hidden_split(40)
    assert solve(name, asked, seconds=0.3).incumbent < -1e-6
    started = solve(name, asked, start=dict(enumerate(chosen)))  # its slacks are left to the solver
    assert started.status is Status.PROVED  # the completed start attains the bound 0
    assert started.incumbent == pytest.approx(0.0, abs=1e-6)
    assert started.point is not None
    np.testing.assert_allclose(started.point[:40], chosen, atol=1e-6)


def test_a_start_counts_in_the_programs_own_units(name: str) -> None:
    """Programs are scaled before a solver sees them, and a start with them: here the target reads 100 subsets in one."""
    asked, chosen = programs.hidden_split(40)
    unit = replace(asked, upper=asked.upper * np.where(np.arange(48) < 40, 1.0, 7.0))
    start = {**dict(enumerate(chosen)), **dict.fromkeys(range(40, 48), 0.0)}
    assert solve(name, unit, start=start).incumbent == pytest.approx(0.0, abs=1e-6)


def test_a_wrong_start_does_no_harm(name: str) -> None:
    for start in ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {0: 0.0, 1: 0.0}, {2: 0.5}, {}):
        check_optimal(name, knapsack(), 23, start=start)


# ---------------------------------------------------------------- interrupts


def stopped_after(name: str, asked: Program, wait: float) -> tuple[Outcome, float]:
    """The outcome of a run that is interrupted, and the seconds of computing from the event to its end.

    Seconds of the processor, which other processes do not lengthen as they do those of the clock.
    """
    stop, at = threading.Event(), [math.inf]

    def interrupt() -> None:
        at[0] = time.process_time()
        stop.set()

    timer = threading.Timer(wait, interrupt)
    timer.start()
    outcome = solve(name, asked, seconds=60.0, stop=stop)
    took = time.process_time() - at[0]
    timer.cancel()
    return outcome, took


@pytest.mark.parametrize("asked", [programs.split(50), programs.dense(1000)], ids=["mip", "lp"])
def test_stop_interrupts_within_a_second(name: str, asked: Program) -> None:
    outcome, took = stopped_after(name, asked, 0.3)
    assert outcome.status is Status.INTERRUPTED
    assert math.isfinite(outcome.claimed)
    assert took < 1.0


def test_a_stop_that_was_set_before_ends_at_once(name: str) -> None:
    outcome, _ = stopped_after(name, programs.split(50), 0.0)
    assert outcome.status is Status.INTERRUPTED
    stop = threading.Event()
    stop.set()
    began = time.monotonic()
    assert solve(name, programs.split(50), seconds=60.0, stop=stop).status is Status.INTERRUPTED
    assert time.monotonic() - began < 30  # of 60


@pytest.mark.parametrize("raises", [_thread.interrupt_main], ids=["main"])
def test_ctrl_c_ends_the_run_and_is_raised(name: str, raises: Callable[[], None]) -> None:
    began = time.monotonic()
    timer = threading.Timer(0.3, raises)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        solve(name, programs.split(50), seconds=60.0)
    assert time.monotonic() - began < 30  # of 60
    check_optimal(name, knapsack(), 23)  # and leaves the engine whole


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("what", ["cost", "right", "matrix", "columns", "rows", "bounds", "offset"])
def test_a_malformed_program_is_a_failure_not_an_exception(name: str, what: str) -> None:
    good = knapsack()
    match what:
        case "cost":
            bad = replace(good, cost=np.full(4, np.nan))
        case "right":
            bad = replace(good, right=np.array([np.nan]))
        case "matrix":
            bad = replace(good, matrix=csc_array(np.array([[np.nan, 1.0, np.inf, 1.0]])))
        case "columns":
            bad = replace(good, lower=np.zeros(2))
        case "rows":
            bad = replace(good, right=np.zeros(3))
        case "offset":
            bad = replace(good, offset=math.inf)
        case _:
            bad = replace(good, upper=np.full(4, np.nan))
    solver = get_solver(name)
    outcome = solver.solve(bad, Budget(5))
    assert outcome.status is Status.FAILED
    assert outcome.claimed == math.inf
    assert (outcome.incumbent, outcome.point) == (-math.inf, None)
    assert solver.version() in outcome.detail


def test_bounds_that_cross_are_infeasible_or_failed(name: str) -> None:
    outcome = solve(name, replace(knapsack(), lower=np.full(4, 2.0)))
    assert outcome.point is None
    assert outcome.status is Status.FAILED or outcome.claims_infeasible


def test_an_engine_that_raises_is_a_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Solver, *rest: object) -> None:
        raise OSError("the engine is gone")

    monkeypatch.setattr(type(get_solver(name)), "run", broken)
    outcome = solve(name, knapsack())
    assert outcome.status is Status.FAILED
    assert "OSError: the engine is gone" in outcome.detail
    assert outcome.dual_bound == pytest.approx(34, rel=1e-14)  # what the boxes alone prove


# ---------------------------------------------------------------- neighbours


def test_nothing_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    for asked in (knapsack(), knapsack(integers=False), program([1], [[1]], [-1])):
        solve(name, asked)
    solve(name, programs.split(30), seconds=0.2)
    assert capfd.readouterr() == ("", "")


def test_solves_side_by_side_do_not_disturb_each_other(name: str) -> None:
    found: dict[int, float] = {}

    def one(k: int) -> None:
        found[k] = solve(name, knapsack(offset=float(k)), threads=1 + k % 2).incumbent

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == pytest.approx({k: 23 + k for k in range(4)})


@pytest.mark.parametrize("other", installed_solvers())
def test_solvers_share_a_process(name: str, other: str) -> None:
    for turn in (name, other, name):
        check_optimal(turn, knapsack(), 23, threads=2 if turn == other else 1)


def test_the_same_program_is_solved_the_same_way(name: str) -> None:
    asked, _ = programs.hidden_split(20)
    first, second = (solve(name, asked, nodes=30) for _ in range(2))
    assert (first.incumbent, first.claimed, first.nodes) == (second.incumbent, second.claimed, second.nodes)


def test_all_pairs_of_choices_are_reached(name: str) -> None:
    """Presolve and dual reductions may drop points, never the best: every corner of a small cube is the best in turn."""
    for corner in itertools.product((0.0, 1.0), repeat=3):
        cost = [1.0 if bit else -1.0 for bit in corner]
        outcome = check_optimal(name, program(cost, [[1, 1, 1]], [3]), sum(corner))
        np.testing.assert_allclose(outcome.point, corner, atol=1e-7)
