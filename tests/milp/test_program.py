"""Programs as arrays: dual bounds hold for any multipliers, cuts and relaxations say what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csc_array

from lipreg.milp import Program

NO_INTEGERS = np.empty(0, dtype=np.int64)


def random_program(seed: int) -> Program:
    """A feasible program: the right-hand sides leave room at a point of the box, equalities hold there."""
    rng = np.random.default_rng(seed)
    columns, rows = int(rng.integers(1, 7)), int(rng.integers(0, 7))
    equalities = int(rng.integers(0, min(rows, columns - 1) + 1)) if rows and columns > 1 else 0
    matrix = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7)
    lower = rng.normal(size=columns)
    upper = lower + rng.random(columns) * 3
    inside = lower + rng.random(columns) * (upper - lower)
    right = matrix @ inside
    right[equalities:] += rng.random(rows - equalities)
    return Program(
        cost=rng.normal(size=columns),
        offset=float(rng.normal()),
        matrix=csc_array(matrix),
        right=right,
        equalities=equalities,
        lower=lower,
        upper=upper,
        integer=NO_INTEGERS,
    )


def solved(program: Program) -> tuple[float, np.ndarray, np.ndarray]:
    """Optimum, point and row multipliers of the relaxation of a feasible program, by scipy."""
    a, e = program.matrix.toarray(), program.equalities
    result = linprog(
        -program.cost,
        A_ub=a[e:] if len(a) > e else None,
        b_ub=program.right[e:] if len(a) > e else None,
        A_eq=a[:e] if e else None,
        b_eq=program.right[:e] if e else None,
        bounds=list(zip(program.lower, program.upper, strict=True)),
        method="highs",
    )
    assert result.status == 0
    # scipy's marginals are of the minimum of -cost
    duals = np.concatenate([result.eqlin.marginals if e else [], result.ineqlin.marginals if len(a) > e else []])
    return program.offset - result.fun, result.x, -duals


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_any_multipliers_bound_the_optimum(seed: int, scale: float) -> None:
    program = random_program(seed)
    optimum, _, _ = solved(program)
    rng = np.random.default_rng(seed + 1)
    for _ in range(5):
        dual = scale * rng.normal(size=len(program.right))
        bound = program.dual_bound(dual)
        assert bound >= optimum - 1e-9 * (1 + abs(bound))
    assert program.trivial_bound() >= optimum - 1e-9


@given(seed=st.integers(0, 10**6))
def test_optimal_multipliers_meet_the_optimum(seed: int) -> None:
    program = random_program(seed)
    optimum, _, duals = solved(program)
    assert program.dual_bound(duals) == pytest.approx(optimum, rel=1e-7, abs=1e-7)


@given(seed=st.integers(0, 10**6))
def test_near_optimal_multipliers_stay_above(seed: int) -> None:
    program = random_program(seed)
    optimum, _, duals = solved(program)
    near = duals + 1e-4 * np.random.default_rng(seed).normal(size=len(duals))
    assert optimum - 1e-9 * (1 + abs(optimum)) <= program.dual_bound(near)


def test_multipliers_are_not_changed_and_nonsense_is_harmless() -> None:
    program = random_program(17)
    assert len(program.right) > 1
    dual = np.full(len(program.right), -3.0)
    kept = dual.copy()
    program.dual_bound(dual)
    np.testing.assert_array_equal(dual, kept)
    optimum, _, _ = solved(program)
    for nonsense in (np.nan, np.inf, -np.inf):
        bound = program.dual_bound(np.full(len(program.right), nonsense))
        assert np.isfinite(bound)
        assert bound >= optimum - 1e-9


def test_trivial_bound_by_hand() -> None:
    program = Program(
        np.array([2.0, -3.0, 0.0]), 1.5, csc_array((0, 3)), np.empty(0), 0,
        np.array([-1.0, -2.0, -9.0]), np.array([4.0, 5.0, 9.0]), NO_INTEGERS,
    )  # fmt: skip
    assert 15.5 <= program.trivial_bound() == pytest.approx(2 * 4 + 3 * 2 + 1.5, rel=1e-14)


@given(seed=st.integers(0, 10**6), margin=st.sampled_from([-2.0, -0.3, 0.0, 0.3]))
def test_at_least_cuts_what_is_below(seed: int, margin: float) -> None:
    program = random_program(seed)
    optimum, best, _ = solved(program)
    cutoff = optimum + margin
    cut = program.at_least(cutoff)
    rng = np.random.default_rng(seed)
    points = np.vstack([best, program.lower + rng.random((20, len(best))) * (program.upper - program.lower)])
    values = points @ program.cost + program.offset
    # the added row is satisfied exactly by the points that reach the cutoff; all other rows are as they were
    allowed = (points @ cut.matrix.toarray().T <= cut.right + 1e-9)[:, -1]
    np.testing.assert_array_equal(allowed, values >= cutoff - 1e-9)
    np.testing.assert_array_equal(cut.matrix.toarray()[:-1], program.matrix.toarray())
    assert cut.equalities == program.equalities
    assert (program.matrix.shape[0], len(program.right)) == (len(cut.right) - 1,) * 2  # the original is untouched


def test_at_least_leaves_the_optimum_and_refuses_more() -> None:
    program = random_program(3)
    optimum, _, _ = solved(program)
    again, _, _ = solved(program.at_least(optimum - 0.1))
    assert again == pytest.approx(optimum, abs=1e-8)
    cut = program.at_least(optimum + 0.1)
    result = linprog(
        np.zeros(len(cut.cost)),
        A_ub=cut.matrix.toarray(),
        b_ub=cut.right,
        bounds=list(zip(cut.lower, cut.upper, strict=True)),
    )
    assert result.status == 2  # infeasible


def test_relaxed_frees_the_integers_alone() -> None:
    # max x + y, x + y <= 1.5, x and y binary: 1; relaxed: 1.5
    program = Program(
        np.ones(2), 0.0, csc_array(np.ones((1, 2))), np.array([1.5]), 0, np.zeros(2), np.ones(2), np.arange(2),
        {"x": slice(0, 2)},
    )  # fmt: skip
    relaxed = program.relaxed()
    assert len(relaxed.integer) == 0
    assert len(program.integer) == 2
    assert relaxed.columns == program.columns
    assert solved(relaxed)[0] == pytest.approx(1.5)
    np.testing.assert_array_equal(relaxed.lower, program.lower)
    np.testing.assert_array_equal(relaxed.upper, program.upper)
