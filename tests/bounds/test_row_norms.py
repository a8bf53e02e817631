"""Linear bounds on the norms of rows, in parts of the memory and of the time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lipreg import Budget, LinfBall, LocalLipschitz, Vector
from lipreg.bounds import Analysis, gradient_rounding, linear_jacobian, linear_row_norms
from lipreg.bounds import row_norms as module
from lipreg.estimators import frozen_analysis
from lipreg.estimators.cheap_bounds import cheap_intervals
from lipreg.estimators.exact.starting import every_form
from lipreg.milp import families
from tests import oracles
from tests.test_budget import Clock

X = torch.full((1, 3), 0.2, dtype=torch.float64)
ROWS = 32
"""Signed sums of six outputs, up to a common sign."""


def question() -> tuple[Analysis, Analysis]:
    """A question with q = 1, and the same with its signed sums as rows of their own."""
    torch.manual_seed(0)
    net = oracles.mlp(3, 8, 7, 6).double()
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.3), Vector(), q=1), X, None)
    return analysis, families(analysis)[0]


def seen_rows(monkeypatch: pytest.MonkeyPatch, clock: Clock | None = None, took: float = 0.0) -> list[int]:
    """How many rows each call of linear bounds has, which takes a while on a clock."""
    seen = list[int]()

    def bounded(part: Analysis, share: Budget) -> object:
        seen.append(part.placed.count)
        if clock is not None:
            clock.now += took
        return linear_jacobian(part, share)

    monkeypatch.setattr(module, "linear_jacobian", bounded)
    return seen


def whole() -> Tensor:
    return linear_jacobian(question()[1]).row_norms()


def test_parts_of_the_memory_have_the_bounds_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_rows(monkeypatch)
    norms, words = linear_row_norms(question()[1], Budget(math.inf).started())
    assert seen == [ROWS] and not words
    parts, words = linear_row_norms(question()[1], Budget(math.inf, memory=2**13).started())
    assert len(seen) > 4 and sum(seen) == 2 * ROWS and not words
    torch.testing.assert_close(norms, whole(), rtol=1e-12, atol=0)
    torch.testing.assert_close(parts, whole(), rtol=1e-9, atol=0)


def test_rows_that_the_time_does_not_reach_have_no_bound_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    seen = seen_rows(monkeypatch, clock, 10.0)
    norms, words = linear_row_norms(question()[1], Budget(25.0, memory=2**13, clock=clock).started())
    missing = int(norms.isinf().sum())
    assert 0 < missing == ROWS - sum(seen) < ROWS and f"{missing} of {ROWS} rows" in words
    done = ~norms.isinf()
    assert bool((norms[done] >= whole()[done] * (1 - 1e-9)).all())


def test_a_first_part_that_shows_that_time_is_too_short_for_all_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    seen = seen_rows(monkeypatch, clock, 10.0)
    linear_row_norms(question()[1], Budget(40.0, memory=1, clock=clock).started())
    assert seen == [1]


def test_a_start_falls_back_on_the_next_best_bound_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    seen_rows(monkeypatch, clock, 100.0)
    analysis, _ = question()
    start = every_form(analysis, analysis, Budget(90.0, memory=1, clock=clock).started())
    (cheap,) = cheap_intervals(analysis, Budget(math.inf).started())
    assert len(start.uppers) == ROWS and start.uppers.max() <= cheap.upper and math.isfinite(start.uppers.max())
    assert f"of {ROWS - 1} of {ROWS} rows" in start.left_out


@pytest.mark.parametrize("seed", range(3))
def test_rounding_of_signed_sums_is_that_of_each(seed: int) -> None:
    """Their magnitudes are the same, and are carried once; other rows each for themselves."""
    _, apart = question()
    torch.manual_seed(seed)
    together = gradient_rounding(apart)[0]
    for row in torch.randint(ROWS, (4,)).tolist():
        alone = gradient_rounding(module._part(apart, slice(row, row + 1)))[0]
        torch.testing.assert_close(together[:, row : row + 1], alone, rtol=0, atol=0)
