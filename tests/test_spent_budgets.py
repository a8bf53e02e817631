"""One budget bounds everything: what there is no time for is left out, and what is said instead is true."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Vector, certify
from lipreg.budget import BYTES_PER_NUMBER, OutOfBudget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.witnesses import witness
from lipreg.estimators.witnesses.sampling import NO_POINT, RandomPoints, Sampling
from lipreg.estimators.witnesses.witness import ranked
from lipreg.folding import fold, unstable_units
from lipreg.folding.forms import _Forms
from lipreg.folding.gradients import _Gradients
from lipreg.graph import node_size
from lipreg.milp import CellStatus, settle_cell, tighten
from lipreg.problem import Scope
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search import branch_and_bound
from lipreg.search.hunt import WitnessSearch
from lipreg.search.screen import PointEvaluator
from tests import oracles
from tests.sampling import one_in
from tests.test_budget import Clock

X = torch.tensor([[0.3, -0.2], [-0.4, 0.1]], dtype=torch.float64)
ENGINES = ["branch_and_bound", "mip", "lipmip", "mip_pointed"]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return oracles.mlp(2, 12, 12, 3).double()


def question(name: str) -> LocalLipschitz:
    """One that the estimator covers."""
    for scope in ("regional", "pointed"):
        for p in (math.inf, 2.0, 1.0):
            problem = LocalLipschitz(LinfBall(0.8), AllLogits(), scope, p)
            if ESTIMATORS[name].uncovered(problem) is None:
                return problem
    raise AssertionError(name)


@cache
def truth(problem: LocalLipschitz) -> list[CertifiedInterval]:
    """What is proved in any time."""
    return certify(network(), problem, X, budget=Budget(math.inf))


def local_analysis() -> Any:
    return frozen_analysis(network(), LocalLipschitz(LinfBall(0.8), AllLogits()), X[:1], None)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("there is no time for it")


def jumping(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, clock: Clock) -> None:
    """An hour passes whenever the method is called."""
    before: Callable[..., Any] = getattr(owner, method)

    def slowly(*args: Any) -> Any:
        clock.now += 3600.0
        return before(*args)

    monkeypatch.setattr(owner, method, slowly)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_a_spent_budget_is_answered_at_once_and_truly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, problem = network(), question(name)
    known_by_then = truth(problem)
    for place in ("folding.network.value_forms", "folding.network.gradient_forms", "milp.encode", "milp.encode_rise"):
        monkeypatch.setattr(f"lipreg.{place}", refuse)
    if ESTIMATORS[name].searches:
        monkeypatch.setattr("lipreg.bounds.jacobian_relaxation._linear_jacobian", refuse)
    found = certify(net, problem, X, estimator=name, budget=Budget(0.0))
    for one, known in zip(found, known_by_then, strict=True):
        if one.certificate is not Certificate.ESTIMATE:
            assert one.lower <= known.upper * (1 + 1e-9) and known.lower <= one.upper * (1 + 1e-9)
        if ESTIMATORS[name].searches:
            assert one.status is Status.TIME_LIMIT and "no time" in one.detail
        assert one.upper < math.inf or ESTIMATORS[name].certificate in (Certificate.LOWER, Certificate.ESTIMATE)
        if name in ENGINES:
            assert one.lower > 0.0


@pytest.mark.parametrize("name", [*ENGINES, "lp"])
@pytest.mark.parametrize("place", [(_Forms, "relu"), (_Gradients, "relu")], ids=["values", "gradients"])
@one_in(2)
def test_a_fold_that_does_not_end_is_a_time_limit(
    name: str, place: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point at hand keeps what is proved of it, and no point after it is begun."""
    net, problem, clock = network(), question(name), Clock()
    truth = certify(net, problem, X, budget=Budget(math.inf))
    jumping(monkeypatch, *place, clock)
    found = certify(net, problem, X, estimator=name, budget=Budget(60.0, clock=clock))
    if clock.now == 100.0:
        pytest.skip("it does not fold gradients")
    for one, known in zip(found, truth, strict=True):
        assert one.status is Status.TIME_LIMIT
        assert one.lower <= known.upper * (1 + 1e-9) and known.lower <= one.upper * (1 + 1e-9) < math.inf
    assert "here was" in found[0].detail or name == "lipmip"  # whose own program needs no fold
    assert "There was no time for more than the bound of" in found[1].detail


def test_nothing_is_kept_of_half_a_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    local, clock = local_analysis(), Clock()
    with monkeypatch.context() as patch:
        jumping(patch, _Gradients, "relu", clock)
        with pytest.raises(OutOfBudget) as over:
            fold(local, Budget(60.0, clock=clock).started())
    assert over.value.status is Status.TIME_LIMIT
    found, whole = fold(local, Budget(60.0, clock=clock).started()), fold(local_analysis())
    assert torch.equal(found.g_unit, whole.g_unit) and torch.equal(found.z.on_input, whole.z.on_input)
    assert fold(local, Budget(0.0).started()) is found  # what is there costs nothing


def test_a_stop_ends_a_fold_too() -> None:
    budget = Budget(math.inf).started()
    budget.stop.set()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OutOfBudget) as over:
        fold(local_analysis(), budget)
    assert over.value.status is Status.INTERRUPTED


def test_a_search_that_cannot_fold_its_tightened_network_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    local, clock = local_analysis(), Clock()
    uppers = torch.full((3,), 1e6, dtype=torch.float64)
    fresh = local_analysis()

    def slow(*_: Any) -> Any:
        clock.now += 3600.0
        return fresh

    monkeypatch.setattr("lipreg.search.engine.TIGHTEN_AFTER", 1)
    monkeypatch.setattr("lipreg.search.base.BATCH", (1, 1))
    monkeypatch.setattr("lipreg.search.engine.tighten_region", slow)
    found = branch_and_bound(local, uppers, 0.0, lambda points=None: 0.0, Budget(60.0, clock=clock))
    assert found.status is Status.TIME_LIMIT and found.nodes > 0 and found.upper <= 1e6


def test_tightening_and_cells_end_with_their_budget() -> None:
    local = local_analysis()
    assert tighten(local, Budget(0.0)) is local
    units = unstable_units(local)
    inside = local.graph.values(local.placed.region.center.unsqueeze(1))
    sources = {index: inside[node.source][0].flatten() for index, node in local.graph.relus()}
    pattern = torch.stack([sources[int(n)][p] > 0 for n, p in zip(units.node, units.position, strict=True)])
    at_center = pattern.double().numpy()
    assert settle_cell(local, units, at_center, Budget(0.0)) == (CellStatus.THIN, None)
    no_nodes = Budget(60.0, nodes=1).after(1)  # cells are not counted
    assert settle_cell(local, units, at_center, no_nodes)[0] is CellStatus.HAS_INTERIOR


def test_points_that_are_not_looked_at_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    local = local_analysis()
    points = local.placed.region.sample(12, torch.Generator().manual_seed(0))

    def seen(budget: Budget | None) -> Tensor:
        with torch.no_grad():
            return ranked(local, points, budget)

    whole = seen(None)
    sizes = [node_size(node) for node in local.graph.nodes]
    monkeypatch.setattr(
        "lipreg.estimators.witnesses.witness.BATCH_NUMBERS", 5 * (sum(sizes) + local.placed.rows.shape[1] * max(sizes))
    )
    torch.testing.assert_close(seen(Budget(60.0).started()), whole)
    torch.testing.assert_close(seen(Budget(0.0).started()), whole[:, :5])


def test_hunts_end_with_the_budget() -> None:
    local = local_analysis()
    for seconds in (0.0, 40.0, math.inf):
        (found,) = Sampling(7).intervals(local, Budget(seconds, clock=Clock(step=1.0)))
        turns = {0.0: "8 random points", 40.0: "in 2 turns", math.inf: "in 7 turns, which are all"}[seconds]
        assert turns in found.detail and found.lower > 0.0


def test_random_points_say_how_many_there_was_time_for() -> None:
    local = local_analysis()
    (all_,) = RandomPoints().intervals(local, Budget(1e9, memory=2**14, clock=Clock(step=1.0)))
    (some,) = RandomPoints().intervals(local, Budget(30.0, memory=2**14, clock=Clock(step=1.0)))
    assert all_.detail == "512 random points"
    count, _, words = some.detail.partition(" random points, ")
    assert 1 < int(count) < 512 and words == "for which there was time of 512"


@pytest.mark.parametrize("name", ["sampling", "random_points"])
@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_reference_points_without_time_have_no_point_and_say_so(
    name: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is begun is finished, so the first of them have one in any case."""
    monkeypatch.setattr("lipreg.budget.RATE", 1.0)  # no look at a point is judged to cost next to nothing
    monkeypatch.setattr("lipreg.estimators.witnesses.witness.BATCH_NUMBERS", 1)
    x = torch.linspace(-0.5, 0.5, 16, dtype=torch.float64).reshape(8, 2)
    problem, budget = LocalLipschitz(LinfBall(0.8), AllLogits()), Budget(seconds, clock=Clock(step=20.0))
    results = certify(network(), problem, x, estimator=name, budget=budget)
    first, last = results[0], results[-1]
    assert first.witness is not None and "for which there was time of 512" in first.detail
    assert {one.status for one in results} == {Status.TIME_LIMIT}
    assert last.witness is None and last.lower == 0.0 and last.status is Status.TIME_LIMIT and last.detail == NO_POINT
    assert all((one.witness is None) == (one.detail == NO_POINT) for one in results)


@pytest.mark.parametrize("memory", [1, 2**14, 2**17])
def test_points_are_looked_at_in_parts_that_fit_into_the_memory(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a point takes is its values at all nodes, and a gradient of each row at the largest; every part has one."""
    local, seen = local_analysis(), []
    look = witness._seen

    def noted(analysis: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x.shape[0] * x.shape[1])
        return look(analysis, x)

    monkeypatch.setattr(witness, "_seen", noted)
    sizes, rows = [node_size(node) for node in local.graph.nodes], local.placed.rows.shape[1]
    (whole,) = RandomPoints().intervals(local, Budget(1e9))
    seen.clear()
    (found,) = RandomPoints().intervals(local, Budget(1e9, memory=memory))
    fitting = max(1, memory // (BYTES_PER_NUMBER * (sum(sizes) + rows * max(sizes))))
    assert max(seen) == min(fitting, 512) and sum(seen) >= 512
    assert found.lower == whole.lower

    screen = PointEvaluator(local, memory)
    parts = screen._parts(torch.zeros(600, 2), 1 + rows)
    assert max(map(len, parts)) <= max(1, memory // (BYTES_PER_NUMBER * (1 + rows) * sum(sizes)))


def test_a_hunt_looks_at_the_time_between_its_parts() -> None:
    local = local_analysis()
    hunt = WitnessSearch(PointEvaluator(local, 2**14), torch.Generator().manual_seed(0))
    before = hunt.looked_at
    hunt.round(lambda: True)
    assert 0 < hunt.looked_at - before < 100


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_memory_for_one_point_alone_finds_a_witness_where_the_reference_point_is_none(scope: Scope) -> None:
    """Pools over a constant background tie at it, and a quotient needs another point."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)).double()
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.1), Vector(), scope=scope)
    (found,) = certify(net, problem, x, estimator="random_points", budget=Budget(0.0, memory=2**10))
    assert found.lower > 0 and found.witness is not None


def test_what_is_proved_once_the_time_is_over_is_not_proved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = frozen_analysis(network(), LocalLipschitz(LinfBall(0.8), AllLogits()), X, None)
    points = X.unsqueeze(1)
    sharp = witness.witnesses(analysis, points)
    monkeypatch.setattr(witness, "proved_value", lambda *_: pytest.fail("proved again"))
    late = witness.witnesses(analysis, points, budget=Budget(0.0, clock=Clock()).started())
    for one, other in zip(late, sharp, strict=True):
        assert one is not None and other is not None
        assert 0 < one.attained <= other.attained * (1 + 1e-12) and one.attained == pytest.approx(
            other.attained, rel=1e-8
        )
