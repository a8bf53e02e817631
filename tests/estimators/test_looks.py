"""Many points that no search reaches: the closed forms and witnesses of many in one pass, for as long as looks may take."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, Budget, L1Ball, L2Ball, LinfBall, LocalLipschitz, Vector, WholeSpace, certify
from lipreg.bounds.pass_cost import BLINK, signs_work
from lipreg.estimators import frozen_analysis
from lipreg.estimators.cheap_bounds import AT_FIRST, spans
from lipreg.estimators.witnesses import proved_values, witness
from lipreg.estimators.witnesses.proved_norm import operator_norms
from lipreg.estimators.witnesses.sampling import NO_POINT
from lipreg.results import Certificate, Status

MANY = 2 * AT_FIRST + 6
QUESTION = LocalLipschitz(LinfBall(0.2), Vector(), p=math.inf, q=1)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def points(count: int = MANY) -> Tensor:
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def standing() -> float:
    return 0.0


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many Jacobians' norms were proved together, one number for each call."""
    seen: list[int] = []

    def noted(problem: LocalLipschitz, matrix: Tensor, error: Tensor) -> Any:
        seen.append(len(matrix))
        return operator_norms(problem, matrix, error)

    monkeypatch.setattr(proved_values, "operator_norms", noted)
    return seen


@pytest.mark.parametrize("name", ["branch_and_bound", None])
def test_points_that_no_search_reaches_share_their_passes(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    passes: list[int] = []
    from lipreg.estimators import cheap_bounds

    least = cheap_bounds._least
    monkeypatch.setattr(
        cheap_bounds, "_least", lambda part, *a, **k: (passes.append(part.placed.batch), least(part, *a, **k))[1]
    )
    proved = counted(monkeypatch)
    found = certify(network(), QUESTION, points(), estimator=name, budget=Budget(0.0, clock=standing))
    assert sum(passes) >= MANY - 1 and len(passes) <= 5 and len(proved) <= 10
    for i in (0, 1, MANY - 1):
        (alone,) = certify(network(), QUESTION, points()[i : i + 1], estimator=name, budget=Budget(0.0, clock=standing))
        assert found[i].upper == pytest.approx(alone.upper, rel=1e-9)
        assert found[i].lower == pytest.approx(alone.lower, rel=1e-9) and 0 < found[i].lower <= found[i].upper
    exact = [one for one in found if one.certificate is Certificate.EXACT]
    assert len(exact) < MANY // 4 and all(one.status is Status.TIME_LIMIT for one in found if one not in exact)
    assert "No search was begun" in found[-1].detail


def test_points_without_time_for_a_look_have_one_product_of_norms() -> None:
    """On a clock on which each look takes a second, only the first points are looked at, in any case."""
    ticks = itertools.count()
    found = certify(
        network(),
        QUESTION,
        points(),
        estimator="branch_and_bound",
        budget=Budget(0.0, clock=lambda: float(next(ticks))),
    )
    (product,) = certify(network(), QUESTION, points()[:1], estimator="spectral")
    late = [one for one in found if one.proof == "spectral"]
    assert MANY - AT_FIRST - 1 <= len(late) < MANY and found[0].lower > 0
    for one in late:
        assert one.upper == pytest.approx(product.upper, rel=1e-12) and one.lower == 0.0
        assert one.status is Status.TIME_LIMIT and "No search was begun" in one.detail


@pytest.mark.parametrize("name", ["random_points", "sampling"])
def test_samplers_look_at_the_clock_between_parts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    proved = counted(monkeypatch)
    found = certify(network(), QUESTION, points(), estimator=name, budget=Budget(0.0, clock=standing))
    assert len(proved) <= 8 and all(one.detail != NO_POINT for one in found)
    ticks = itertools.count()
    slow = certify(network(), QUESTION, points(), estimator=name, budget=Budget(0.0, clock=lambda: float(next(ticks))))
    assert slow[0].lower > 0
    assert all(one.lower == 0 and one.detail == NO_POINT for one in slow[AT_FIRST:])
    assert {one.status for one in slow} == {Status.TIME_LIMIT}


def test_parts_go_by_what_those_before_them_took() -> None:
    now = [0.0]
    analysis = frozen_analysis(network(), QUESTION, points(2), None)

    def parts(seconds: float, each: float, count: int = 1000) -> list[int]:
        now[0], sizes = 0.0, list[int]()
        for span in spans(analysis, count, Budget(seconds, clock=lambda: now[0]).started(), 300):
            sizes.append(span.stop - span.start)
            now[0] += each * sizes[-1]
        return sizes

    assert parts(1e6, 0.0) == [32, 64, 128, 256, 300, 220]
    assert sum(parts(1e6, 1.0)) == 1000
    assert parts(0.0, BLINK / 4) == [32]
    late = parts(0.0, BLINK / 100)
    assert 100 - AT_FIRST <= sum(late) <= 101
    assert sum(parts(1.0, 1e-2)) <= 110, "a twentieth of the budget beyond it at most"


@pytest.mark.parametrize("p, q", list(itertools.product((1.0, 2.0, math.inf), repeat=2)))
def test_norms_of_many_matrices_are_those_of_each(p: float, q: float) -> None:
    problem = LocalLipschitz(LinfBall(0.2), Vector(), p=p, q=q)
    matrix = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix[1], matrix[2, 0, 0], matrix[3] = 0.0, math.nan, matrix[3] * 1e-200
    error = torch.full_like(matrix, 1e-14) * matrix.nan_to_num(1.0).abs()
    together = operator_norms(problem, matrix, error)
    for i, (low, high) in enumerate(together):
        ((one, other),) = operator_norms(problem, matrix[i : i + 1], error[i : i + 1])
        assert (one, other) == pytest.approx((low, high), rel=1e-13)
    assert together[1] == (0.0, 0.0) and together[2] == (0.0, math.inf)
    # over the corners of the ball of p, its axes, or many of its directions
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    around = torch.randn(4000, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = {1.0: torch.eye(4, dtype=torch.float64), math.inf: signs, 2.0: around / around.norm(dim=1, keepdim=True)}[p]
    for i in (0, 3, 4):
        unit = float(matrix[i].abs().max())
        reached = unit * float(torch.linalg.vector_norm(y @ (matrix[i] / unit).T, q, dim=1).max())
        assert reached * (1 - 1e-9) <= together[i][1]
        assert together[i][0] <= reached * (1 + (0.05 if p == 2.0 else 1e-9))


@pytest.mark.parametrize("region", [LinfBall(0.2), L2Ball(0.3, low=0.0), L1Ball(0.3), WholeSpace()], ids=str)
def test_what_a_point_draws_does_not_depend_on_the_batch(region: Any) -> None:
    placed = frozen_analysis(network(), LocalLipschitz(region, AllLogits()), points(5), None).placed.region
    together = placed.sample(9, placed.generators(4))
    for i in range(5):
        part = placed[i : i + 1]
        torch.testing.assert_close(together[i : i + 1], part.sample(9, part.generators(4)[0]), rtol=0, atol=1e-15)
    assert bool(placed.contains(together).all())


@pytest.mark.parametrize(("inputs", "outputs", "q"), [(40, 16, 1), (16, 40, 2)])
def test_points_whose_signs_take_as_long_as_a_look_are_ranked_one_by_one(
    monkeypatch: pytest.MonkeyPatch, inputs: int, outputs: int, q: int
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))
    problem = LocalLipschitz(LinfBall(0.2), Vector(), p=math.inf, q=q)
    analysis = frozen_analysis(net, problem, torch.zeros(1, inputs), None)
    sizes, seen = list[int](), witness._seen
    monkeypatch.setattr(witness, "_seen", lambda of, x: sizes.append(x.shape[1]) or seen(of, x))
    budget = Budget(60.0, clock=standing).started()
    alone = replace(budget, rate=float(signs_work(analysis.placed)))  # a second a point
    x = analysis.placed.region.sample(7, analysis.placed.region.generators(0))
    one_by_one = witness.ranked(analysis, x, alone)
    assert sizes == [3, 3, 1]  # a twentieth of a minute
    sizes.clear()
    together = witness.ranked(analysis, x, budget)
    assert sizes == [7]
    torch.testing.assert_close(one_by_one, together, rtol=1e-12, atol=0.0)
