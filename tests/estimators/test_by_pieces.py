"""Linear pieces beside a search: what they close, and which time they have."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Box, Budget, LinfBall, LocalLipschitz, Logit, certify
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.results import Status
from lipreg.search import SearchOutcome
from tests.milp.test_planar_pieces import Net
from tests.test_budget import Clock


def test_a_search_that_kinks_leave_open_is_closed_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float64 cannot tell the network, which is constant over the region, from one whose weights nearly cancel."""
    torch.manual_seed(302)
    pools = nn.Sequential(
        nn.Unflatten(1, (1, 6)),
        nn.MaxPool1d(3, stride=1),
        nn.Conv1d(1, 3, 2),
        nn.ReLU(),
        nn.MaxPool1d(2, stride=1),
        nn.Flatten(),
        nn.Linear(6, 2),
    ).double()
    generator = torch.Generator().manual_seed(302)
    x = torch.rand(1, 6, dtype=torch.float64, generator=generator)
    low, high = x[0].clone(), x[0].clone()
    at = torch.randperm(6, generator=generator)[:2]
    low[at], high[at] = low[at] - 1.0, high[at] + 1.0
    problem = LocalLipschitz(Box(low.tolist(), high.tolist()), Logit(0))
    ask: dict[str, Any] = {"estimator": "branch_and_bound", "budget": Budget(600.0)}
    (found,) = certify(pools, problem, x, **ask)
    assert (found.status, found.upper) == (Status.PROVED, 0.0) and "linear pieces in whole numbers" in found.detail
    monkeypatch.setattr(LinearPieces, "covered", staticmethod(lambda analysis: False))
    (before,) = certify(pools, problem, x, **ask)
    assert before.status is Status.UNCONFIRMED and before.lower <= found.upper <= before.upper


def test_they_have_a_share_of_the_time_and_none_where_nodes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces come after a first share of the time, and before the rest of it; a limit on nodes is one of a search."""
    asked, clock, last = list[float](), Clock(), 0

    def none(pieces: LinearPieces, budget: Budget) -> bool:
        asked.append(budget.seconds_left)
        return False

    def cut(search: Any, budget: Budget, *more: Any) -> SearchOutcome:
        asked.append(budget.seconds_left)
        search.status = Status.TIME_LIMIT
        clock.now += 1e3 * (len(asked) == last)
        return SearchOutcome(Status.TIME_LIMIT, math.inf, 1, 0)

    monkeypatch.setattr(LinearPieces, "run", none)
    monkeypatch.setattr("lipreg.estimators.exact.by_pieces.by_search", cut)
    x = torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    for nodes, shares in ((None, [5.0, 25.0, 100.0]), (10**6, [100.0])):
        asked.clear()
        last = len(shares)
        budget = Budget(100.0, nodes=nodes, clock=clock)
        (found,) = certify(Net(0, 2, False), problem, x, estimator="branch_and_bound", budget=budget)
        assert found.status is Status.TIME_LIMIT and asked == pytest.approx(shares)
