"""HiGHS on programs with known answers: every way a run can end is an Outcome, incumbent and dual bound apart."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csc_array

from lipreg.milp import Highs, Program
from lipreg.results import Status


def program(
    cost: list[float],
    rows: list[list[float]],
    right: list[float],
    *,
    equalities: int = 0,
    upper: float = 1.0,
    offset: float = 0.0,
    integers: bool = True,
) -> Program:
    count = len(cost)
    return Program(
        np.array(cost, dtype=float),
        offset,
        csc_array(np.array(rows, dtype=float).reshape(-1, count)),
        np.array(right, dtype=float),
        equalities,
        np.zeros(count),
        np.full(count, upper),
        np.arange(count if integers else 0),
    )


def knapsack(**settings: object) -> Program:
    """max 10 a + 13 b + 7 c + 4 d, 5 a + 7 b + 4 c + 3 d <= 12: a and b fill it, 23; relaxed 23 as well."""
    return program([10, 13, 7, 4], [[5, 7, 4, 3]], [12], **settings)  # type: ignore[arg-type]


def split(count: int, seed: int = 0) -> Program:
    """A market split (Cornuejols & Dawande): max -sum of slacks of random subset sums. Hard beyond 30 columns.

    Its optimum is at most 0; every point is feasible once slacks are set.
    """
    rng = np.random.default_rng(seed)
    rows = 4
    weights = rng.integers(0, 100, size=(rows, count)).astype(float)
    target = np.floor(weights.sum(1) / 2)
    # weights @ x + s - t = target
    matrix = np.hstack([weights, np.eye(rows), -np.eye(rows)])
    size = count + 2 * rows
    return Program(
        np.concatenate([np.zeros(count), -np.ones(2 * rows)]),
        0.0,
        csc_array(matrix),
        target,
        rows,
        np.zeros(size),
        np.concatenate([np.ones(count), np.full(2 * rows, 100.0 * count)]),
        np.arange(count),
    )


def by_enumeration(given: Program) -> float:
    """The best of all binary points of a program whose variables are all binary."""
    points = np.array(list(itertools.product((0.0, 1.0), repeat=len(given.cost))))
    rows = points @ given.matrix.toarray().T
    kept = (rows <= given.right + 1e-9).all(1)
    kept &= (np.abs(rows - given.right) < 1e-9)[:, : given.equalities].all(1)
    return float((points @ given.cost)[kept].max() + given.offset)


def test_optimal_mip() -> None:
    outcome = Highs().solve(knapsack(), seconds=10)
    assert outcome.status is Status.PROVED
    assert outcome.incumbent == pytest.approx(23)
    assert outcome.dual_bound == pytest.approx(23, rel=1e-6)
    assert outcome.point is not None
    np.testing.assert_allclose(outcome.point, [1, 1, 0, 0], atol=1e-6)
    assert not outcome.infeasible


@pytest.mark.parametrize("seed", range(6))
def test_random_binary_programs_match_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = program(
        rng.normal(size=9).tolist(),
        rng.normal(size=(4, 9)).tolist(),
        rng.uniform(0, 1, 4).tolist(),
        offset=rng.normal(),
    )
    outcome = Highs().solve(given, seconds=10)
    assert outcome.status is Status.PROVED
    assert outcome.incumbent == pytest.approx(by_enumeration(given), abs=1e-7)
    assert outcome.dual_bound >= outcome.incumbent - 1e-7
    assert outcome.dual_bound == pytest.approx(outcome.incumbent, abs=1e-6)


def test_equalities_come_first() -> None:
    # x + y = 1 and x + z <= 1
    given = program([1, 2, 4], [[1, 1, 0], [1, 0, 1]], [1, 1], equalities=1)
    assert by_enumeration(given) == 6
    assert Highs().solve(given, seconds=10).incumbent == pytest.approx(6)


def test_lp_and_its_dual_bound() -> None:
    # max 3x + 2y, x + y <= 4, x + 3y <= 6, x <= 3: (3, 1), 11
    given = program([3, 2], [[1, 1], [1, 3], [1, 0]], [4, 6, 3], upper=10.0, integers=False)
    outcome = Highs().solve(given, seconds=10)
    assert outcome.status is Status.PROVED
    assert outcome.incumbent == pytest.approx(11)
    assert outcome.dual_bound == pytest.approx(11, rel=1e-9)
    assert outcome.nodes == 0


@pytest.mark.parametrize("offset", [-7.5, 0.0, 1e4])
@pytest.mark.parametrize("integers", [True, False])
def test_the_offset_is_in_both_ends(offset: float, integers: bool) -> None:
    outcome = Highs().solve(knapsack(offset=offset, integers=integers), seconds=10)
    assert outcome.incumbent == pytest.approx(23 + offset, abs=1e-6)
    assert outcome.dual_bound == pytest.approx(23 + offset, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("integers", [True, False])
def test_infeasible(integers: bool) -> None:
    outcome = Highs().solve(program([1, 1], [[1, 1], [-1, -1]], [0.5, -0.8], integers=integers), seconds=10)
    assert outcome.status is Status.PROVED
    assert outcome.infeasible
    assert (outcome.incumbent, outcome.point) == (-math.inf, None)


def test_infeasible_for_integers_alone() -> None:
    # 2x + 2y = 1 has fractional points, and no binary ones
    given = program([1, 1], [[2, 2]], [1], equalities=1)
    assert Highs().solve(given, seconds=10).infeasible
    assert Highs().solve(given.relaxed(), seconds=10).incumbent == pytest.approx(0.5)


def test_a_time_limit_leaves_a_bracket() -> None:
    began = time.monotonic()
    outcome = Highs().solve(split(40), seconds=1.0)
    assert time.monotonic() - began < 6
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.point is not None
    # 0 bounds the optimum; rounding the half-filled knapsack is never better than the optimum
    assert outcome.incumbent <= outcome.dual_bound <= 1e-6
    weights, target = split(40).matrix.toarray()[:, :40], split(40).right
    x = outcome.point[:40].round()
    assert outcome.incumbent == pytest.approx(-np.abs(weights @ x - target).sum(), abs=1e-4)


def test_a_time_limit_brackets_a_known_optimum() -> None:
    given = split(40)
    # the target of one subset makes the optimum 0, which no search finds at once
    chosen = np.random.default_rng(5).integers(0, 2, 40)
    given = replace(given, right=given.matrix.toarray()[:, :40] @ chosen)
    outcome = Highs().solve(given, seconds=0.5)
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.incumbent <= 1e-6
    assert outcome.dual_bound >= -1e-6


def test_a_limit_before_any_incumbent() -> None:
    # equality rows without slacks have one known solution, which no search finds soon
    given, chosen = split(60), np.random.default_rng(5).integers(0, 2, 60)
    right = given.matrix.toarray()[:, :60] @ chosen
    given = replace(given, right=right, upper=np.where(np.arange(68) < 60, 1.0, 0.0), cost=np.ones(68))
    outcome = Highs().solve(given, seconds=0.3)
    assert outcome.status is Status.TIME_LIMIT
    assert outcome.point is None
    assert outcome.incumbent == -math.inf
    assert not outcome.infeasible
    assert chosen.sum() <= outcome.dual_bound <= 68 + 1e-6  # no more than every variable at its end


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9])
@pytest.mark.parametrize("integers", [True, False])
def test_no_time_at_all_is_still_a_bound(seconds: float, integers: bool) -> None:
    rng = np.random.default_rng(2)
    given = program(rng.uniform(1, 2, 200).tolist(), rng.uniform(0, 1, (60, 200)).tolist(), [30.0] * 60)
    known = np.arange(200) < 30  # 30 ones never exceed a row's 30
    outcome = Highs().solve(given if integers else given.relaxed(), seconds=seconds)
    assert outcome.status is Status.TIME_LIMIT
    assert given.cost @ known <= outcome.dual_bound <= given.cost.sum() + 1e-6
    assert outcome.dual_bound >= outcome.incumbent


def test_a_start_is_honoured() -> None:
    given = split(40)
    chosen = np.random.default_rng(5).integers(0, 2, 40).astype(float)
    given = replace(given, right=given.matrix.toarray()[:, :40] @ chosen)
    without = Highs().solve(given, seconds=0.5)
    assert without.incumbent < -1e-6
    started = Highs().solve(given, seconds=5.0, start=dict(enumerate(chosen)))
    assert started.status is Status.PROVED  # the completed start attains the bound 0
    assert started.incumbent == pytest.approx(0.0, abs=1e-6)
    assert started.point is not None
    np.testing.assert_allclose(started.point[:40], chosen, atol=1e-6)


def test_a_wrong_start_does_no_harm() -> None:
    for start in ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {0: 0.0, 1: 0.0}):
        outcome = Highs().solve(knapsack(), seconds=10, start=start)
        assert outcome.status is Status.PROVED
        assert outcome.incumbent == pytest.approx(23)


def test_stop_interrupts_promptly() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    began = time.monotonic()
    timer.start()
    outcome = Highs().solve(split(50), seconds=60.0, stop=stop)
    took = time.monotonic() - began
    timer.cancel()
    assert outcome.status is Status.INTERRUPTED
    assert took < 10
    assert outcome.incumbent <= outcome.dual_bound <= 1e-6


def test_a_stop_that_was_set_before_ends_at_once() -> None:
    stop = threading.Event()
    stop.set()
    began = time.monotonic()
    outcome = Highs().solve(split(50), seconds=60.0, stop=stop)
    assert outcome.status is Status.INTERRUPTED
    assert time.monotonic() - began < 5
    assert outcome.dual_bound >= outcome.incumbent


@pytest.mark.parametrize("what", ["cost", "right", "matrix", "columns", "rows", "bounds"])
def test_a_malformed_program_is_a_failure_not_an_exception(what: str) -> None:
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
        case _:
            bad = replace(good, upper=np.full(4, np.nan))
    outcome = Highs().solve(bad, seconds=5)
    assert outcome.status is Status.FAILED
    assert outcome.dual_bound == math.inf
    assert (outcome.incumbent, outcome.point) == (-math.inf, None)
    assert "HiGHS" in outcome.detail


def test_entries_of_any_size_are_solved() -> None:
    """HiGHS refuses entries above 1e15; programs are scaled before it sees them."""
    program = replace(knapsack(), matrix=csc_array(np.array([[1e16, 1.0, 1.0, 1.0]])))
    choices = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    allowed = choices[(choices @ program.matrix.toarray().T <= program.right).all(axis=1)]
    best = float((allowed @ program.cost + program.offset).max())
    outcome = Highs().solve(program, seconds=5)
    assert outcome.status is Status.PROVED
    assert outcome.incumbent == pytest.approx(best)
    assert outcome.dual_bound == pytest.approx(best)


def test_bounds_that_cross_are_infeasible_or_failed() -> None:
    outcome = Highs().solve(replace(knapsack(), lower=np.full(4, 2.0)), seconds=5)
    assert outcome.point is None
    assert outcome.status is Status.FAILED or outcome.infeasible


def test_solves_side_by_side_do_not_disturb_each_other() -> None:
    found: dict[int, float] = {}

    def one(k: int) -> None:
        found[k] = Highs().solve(knapsack(offset=float(k)), seconds=10).incumbent

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == pytest.approx({k: 23 + k for k in range(4)})
