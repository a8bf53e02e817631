"""Linear pieces beside a search: what they close, and which time they have."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import AllLogits, Box, Budget, L2Ball, LinfBall, LocalLipschitz, Logit, Polytope, Vector, certify
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.results import Status
from lipreg.search import SearchOutcome
from tests.milp.test_planar_pieces import Net
from tests.milp.test_quotients import dense
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
    monkeypatch.setattr("lipreg.estimators.exact.branch_and_bound.by_search", cut)
    x = torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    for nodes, shares in ((None, [5.0, 25.0, 100.0]), (10**6, [100.0])):
        asked.clear()
        last = len(shares)
        budget = Budget(100.0, nodes=nodes, clock=clock)
        (found,) = certify(Net(0, 2, False), problem, x, estimator="branch_and_bound", budget=budget)
        assert found.status is Status.TIME_LIMIT and asked == pytest.approx(shares)


@pytest.mark.parametrize("p, constant", [(1, 1.5), (2, 1.5 * math.sqrt(2.0)), ("inf", 3.0)])
def test_an_upper_end_that_no_float_attains_is_said_to_be_the_constant(p: Any, constant: float) -> None:
    """A cone whose tip lies within rounding of x0: real points all around x0 are in it, floats in the cone alone."""
    weights = ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [50.0] * 3), ([[1.0, -2.0, 0.5]], [0.0])
    net = dense(*weights, dtype=torch.float64)
    x = torch.tensor([[0.7, 0.1]], dtype=torch.float64)
    rows = torch.tensor([[0.1, -1.0], [-0.2, 1.0]], dtype=torch.float64)
    exact = [sum(Fraction(a) * Fraction(b) for a, b in zip(row, x[0].tolist(), strict=True)) for row in rows.tolist()]
    levels = [float(level) if float(level) > level else math.nextafter(float(level), math.inf) for level in exact]
    region = Polytope(rows, levels, low=x[0] - 0.5, high=x[0] + 0.5)
    problem = LocalLipschitz(region, Logit(0), scope="pointed", p=p)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    assert found.status is Status.UNCONFIRMED and "The upper end is the constant" in found.detail
    along = max(abs(1.5 - 1.5 * t) / float(np.linalg.norm([1.0, t], float(p))) for t in (0.1, 0.2))
    assert found.upper == pytest.approx(constant, rel=1e-12) and along * (1 - 1e-6) <= found.lower < constant * 0.99


def test_a_pointed_constant_of_0_is_proved_where_weights_cancel() -> None:
    """Units that cancel for x <= 0, with weights of float32 that differ by ten orders of magnitude."""
    net = dense(
        ([[244.29341], [4.6213e-06], [97.65937], [9.2427e-06]], [0.0] * 4),
        ([[-28552.7656, 464.17096, 3487617.5, -0.22965656], [0.0, 0.0, 0.0, 0.0]], [0.0] * 2),
    )
    rows = [[0.3298927679484172], [0.6051460627875749]]
    region = Polytope(rows, [3.298927679484172e-07, 0.0], low=[-0.001], high=[0.001])
    problem = LocalLipschitz(region, AllLogits(), scope="pointed")
    (found,) = certify(net, problem, torch.zeros(1, 1), estimator="branch_and_bound", budget=Budget(600.0))
    assert (found.status, found.upper) == (Status.PROVED, 0.0)


@pytest.mark.parametrize("q", [1, 2, "inf"])
def test_the_pointed_constant_of_a_whole_output_is_exact_over_two_inputs(q: Any) -> None:
    """More than ``APART_OUTPUTS`` outputs too: beyond two inputs these are intervals for q = 1 and 2."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 12)).double()
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    angles, reach = torch.linspace(0.0, 2 * math.pi, 1001).double(), torch.linspace(0.02, 1.0, 50).double()
    steps = (torch.stack([angles.cos(), angles.sin()], 1)[:, None] * reach[:, None]).reshape(-1, 2)
    with torch.no_grad():
        rises = torch.linalg.vector_norm(net(x + steps) - net(x), float(q), dim=1)
    largest = float((rises / torch.linalg.vector_norm(steps, dim=1)).max())
    problem = LocalLipschitz(L2Ball(1.0), Vector(), scope="pointed", p=2, q=q)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    assert found.status is Status.PROVED and largest * (1 - 1e-9) <= found.upper <= largest * (1 + 1e-3)
