"""Every installed solver on programs with known answers: each way a run can end is an Outcome, its two ends apart.

A new solver is judged by all of this as soon as it is registered.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipreg.estimators.settings import Settings
from lipreg.milp import Solver, get_solver, installed_solvers
from lipreg.results import Status
from lipreg.testing import check_solver
from lipreg.testing.programs import best_by_enumeration, drawn, knapsack
from lipreg.testing.solvers import ASPECTS
from lipreg.testing.solving import check_optimal, solve
from tests.sampling import sampled

SOLVERS = installed_solvers()
USUAL = Settings().solver
ASKED = [
    (name, aspect)
    for turn, name in enumerate(SOLVERS)
    for place, aspect in enumerate(ASPECTS)
    if name == USUAL or sampled(2, turn, place)
]
"""All aspects of the usual solver; others, which may take ten times as long, share them between them."""

each_solver = pytest.mark.parametrize("name", SOLVERS)


@pytest.mark.parametrize(("name", "aspect"), ASKED)
def test_it_says_what_is_so(name: str, aspect: str) -> None:
    check_solver(name, aspects=[aspect])


@each_solver
@settings(max_examples=40)
@given(seed=st.integers(0, 10**9))
def test_more_programs_match_enumeration(name: str, seed: int) -> None:
    asked = drawn(np.random.default_rng(seed))
    check_optimal(name, asked, best_by_enumeration(asked))


@each_solver
def test_an_engine_that_raises_is_a_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Solver, *rest: object) -> None:
        raise OSError("the engine is gone")

    monkeypatch.setattr(type(get_solver(name)), "run", broken)
    outcome = solve(name, knapsack())
    assert outcome.status is Status.FAILED
    assert "OSError: the engine is gone" in outcome.detail
    assert outcome.dual_bound == pytest.approx(34, rel=1e-14)  # what the boxes alone prove
