"""From where searches start: the least of the closed forms that the budget affords, and no work that would not end in it."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Logit, Vector, certify
from lipreg.bounds import without_pools
from lipreg.bounds.deviation import deviations_work
from lipreg.budget import RATE, OutOfBudget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import frozen_analysis
from lipreg.estimators.exact import starting
from lipreg.estimators.exact.branch_and_bound import BranchAndBound
from lipreg.estimators.exact.exact_estimator import START_SHARE
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.exact.remaining_time import spend_remaining_time
from lipreg.estimators.exact.starting import LATE, start
from lipreg.estimators.settings import DEFAULTS
from lipreg.estimators.witnesses.sampling import RandomPoints
from lipreg.folding import first_work, fold, fold_work, search_work
from lipreg.milp import families
from lipreg.records.endings import NOT_BEGUN
from lipreg.results import Status
from lipreg.search.hunt import WitnessSearch
from lipreg.testing import exact_constants
from tests import oracles
from tests.sampling import one_in
from tests.test_budget import Clock

X = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64)
CLOSED = ("fastlip", "jacobian_crown", "affine_relu", "deviation", "mixing")
STILL = 0.0
"""A clock that stands still there: what is begun or not is decided by work alone."""


@dataclass
class Ticks:
    """A clock that goes on whenever it is read."""

    step: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def still() -> float:
    return STILL


def network(*widths: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return oracles.mlp(*widths).double()


def late(analysis: Any) -> Budget:
    """A budget within which the root is bounded, but not within ``LATE`` of it."""
    seconds = first_work(analysis) / (LATE * RATE) / 2
    return Budget(seconds, clock=still).started()


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("output", [AllLogits(), Vector()])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_a_large_question_starts_from_the_least_of_every_closed_form(p: Any, output: Any, scope: Any) -> None:
    net = network(3, 20, 20, 20, 3)
    problem = LocalLipschitz(LinfBall(0.4), output, scope, p, None if output == AllLogits() else p)
    analysis = frozen_analysis(net, problem, X, None)
    begun = start(analysis, analysis, analysis, late(families(analysis)[0]))
    found = {}
    for name in CLOSED:
        try:
            (found[name],) = certify(net, problem, X, estimator=name)
        except UnsupportedRequest:
            continue
    assert begun.uppers.max() <= min(interval.upper for interval in found.values()) * (1 + 1e-6)
    (sampled,) = certify(net, problem, X, estimator="sampling")
    assert sampled.lower <= begun.uppers.max() and begun.left_out == ""


def test_a_small_one_leaves_that_to_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "written_down", lambda *given: pytest.fail("its root says as much"))
    analysis = frozen_analysis(network(3, 6, 6, 3), LocalLipschitz(LinfBall(0.4), AllLogits()), X, None)
    begun = start(analysis, analysis, analysis, Budget(1.0, clock=still).started())
    assert begun.proof == starting.LINEAR


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_the_end_of_each_family_is_above_its_own_constant(seed: int, p: Any) -> None:
    """By enumeration, a functional at a time."""
    net = network(3, 6, 5, 3, seed=seed)
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.8), AllLogits(), p=p), X, None)
    begun = start(analysis, analysis, analysis, late(analysis))
    for row, upper in enumerate(begun.uppers):
        ((truth, _),) = exact_constants(net, LocalLipschitz(LinfBall(0.8), Logit(row), p=p), X)
        assert truth <= upper * (1 + 1e-12)


def test_what_is_begun_late_is_not_begun() -> None:
    """A fold, and a node, that there is no time for by far; what closed forms prove stands."""
    net, problem = network(3, 30, 30, 30, 3), LocalLipschitz(LinfBall(0.8), AllLogits())
    analysis = frozen_analysis(net, problem, X, None)
    with pytest.raises(OutOfBudget):
        fold(analysis, Budget(fold_work(analysis) / RATE / 2, clock=still).started())
    assert fold(analysis, Budget(fold_work(analysis) / RATE * 2, clock=still).started()).count > 0

    for share, words in ((0.5, "to fold the network"), (1.5, "0 nodes")):
        own = frozen_analysis(net, problem, X, None)
        budget = Budget(fold_work(own) / RATE * share, clock=still)
        (found,) = certify(own.graph, problem, X, estimator="branch_and_bound", budget=budget)
        assert found.status is Status.TIME_LIMIT and words in found.detail and NOT_BEGUN in found.detail
        assert 0.0 < found.lower <= found.upper < math.inf


def test_time_goes_to_closed_forms_where_no_search_can_follow() -> None:
    """Half of it where one can, all of it where the network is folded too late."""
    net = nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 8, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 2)
    )
    torch.manual_seed(0)
    analysis = frozen_analysis(net.double(), LocalLipschitz(LinfBall(0.8), AllLogits()), X, None)
    local, shares = without_pools(analysis), []
    for budget in (Budget(1e-12, clock=still), Budget(10.0, clock=still)):
        begun = start(analysis, analysis, local, budget.started())
        shares.append(begun.uppers.max())
    assert shares[0] >= shares[1] > 0


@pytest.mark.parametrize(("time", "part"), [(0.9, 1.0), (1.1, 0.5)])
def test_they_have_all_of_it_where_not_even_a_node_can_follow(time: float, part: float) -> None:
    """Not half of it as soon as there is time to fold the network, and for nothing behind that."""
    net, problem = network(3, 60, 60, 3), LocalLipschitz(LinfBall(2.0), AllLogits())
    analysis = frozen_analysis(net, problem, X, None)
    assert 1.2 * fold_work(analysis) < search_work(analysis)
    budget = Budget(2.0 * time * search_work(analysis) / RATE, clock=still).started()
    assert start(analysis, analysis, analysis, budget).granted_seconds == pytest.approx(part * budget.seconds)


def test_they_have_all_of_it_from_where_work_goes_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that would follow at the pace by which work is judged does not at that of the first passes."""
    analysis = frozen_analysis(network(3, 60, 60, 3), LocalLipschitz(LinfBall(2.0), AllLogits()), X, None)
    clock, written = Ticks(0.0), starting.written_down
    budget = Budget(3.0 * search_work(analysis) / RATE, clock=clock).started()
    taken = 10.0 * deviations_work(analysis) / RATE

    def slow(*given: Any) -> Any:
        clock.now += taken
        return written(*given)

    monkeypatch.setattr(starting, "written_down", slow)
    monkeypatch.setattr("lipreg.budget.MIN_TIMED_SECONDS", 0.0)
    begun = start(analysis, analysis, analysis, budget)
    assert begun.budget.pace == pytest.approx(RATE / 10.0)
    assert begun.granted_seconds == pytest.approx(budget.seconds - taken)


@pytest.mark.parametrize("name", ["branch_and_bound", None])
def test_a_hunt_comes_before_forms_that_take_all_of_the_time(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    net, problem = network(3, 30, 30, 30, 3), LocalLipschitz(LinfBall(0.8), AllLogits())
    analysis = frozen_analysis(net, problem, X, None)
    (drawn,) = certify(net, problem, X, estimator="random_points")
    clock, linear = Ticks(1.0), starting.linear_jacobian
    monkeypatch.setattr("lipreg.budget.RATE", fold_work(analysis) / 1e3)

    def endless(*given: Any) -> Any:
        clock.now += 1e6
        return linear(*given)

    monkeypatch.setattr(starting, "linear_jacobian", endless)
    (found,) = certify(analysis.graph, problem, X, estimator=name, budget=Budget(1500.0, clock=clock))
    assert found.status is Status.TIME_LIMIT and drawn.lower <= found.lower <= found.upper < math.inf


def test_the_relaxation_of_an_operator_ends_with_the_time() -> None:
    """Rounds of passes that would not end are not begun, and what was proved by then is above all that is attained."""
    net, problem = network(3, 12, 12, 3, seed=4), LocalLipschitz(LinfBall(1.0), Vector(), p=2, q=2)
    ticks = itertools.count()
    (sampled,) = certify(net, problem, X, estimator="sampling")
    (whole,) = certify(net, problem, X, estimator="branch_and_bound")
    for seconds in (20, 40, 80):
        budget = Budget(float(seconds), clock=lambda: float(next(ticks)))
        (found,) = certify(net, problem, X, estimator="branch_and_bound", budget=budget)
        assert sampled.lower <= found.upper and whole.lower <= found.upper * (1 + 1e-9)


# ---------------------------------------------------------------- without a folded network


def pooled(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    first = (nn.Unflatten(1, (1, 12)), nn.Conv1d(1, 6, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ReLU())
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(24, 10), nn.ReLU(), nn.Linear(10, 2)).double()


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_a_search_that_cannot_fold_ends_with_the_best_closed_form(p: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its form takes beside what a search spends to begin: of the network without max pools nothing is asked."""
    monkeypatch.setattr("lipreg.budget.RATE", 1.0)
    net, x = pooled(), torch.full((1, 12), 0.2, dtype=torch.float64)
    problem, memory = LocalLipschitz(LinfBall(0.3), AllLogits(), p=p), 2**17

    def ended(name: str | None, seconds: float) -> Any:
        budget = Budget(seconds, memory=memory, clock=Ticks(200.0))
        return certify(net, problem, x, estimator=name, budget=budget)[0]

    tried = [50.0 * 1.2**k for k in range(80)]
    needed = tried[bisect_left(tried, True, key=lambda n: ended("jacobian_crown", n).status is Status.BOUNDED)]
    (whole,) = certify(net, problem, x, estimator="jacobian_crown", budget=math.inf)
    for name in ("branch_and_bound", None):
        found = ended(name, 2.0 * needed)
        assert found.upper <= whole.upper * (1 + 1e-9), (name, needed, found)
        assert ("to fold the network" in found.detail and "was judged to take at least" in found.detail) or name is None


def test_the_rest_of_the_time_goes_to_a_hunt(monkeypatch: pytest.MonkeyPatch) -> None:
    """And to closed forms once more, where others left more time than they had."""
    net, problem = network(3, 30, 30, 30, 3), LocalLipschitz(LinfBall(0.8), AllLogits())
    analysis = frozen_analysis(net, problem, X, None)
    (whole,) = certify(net, problem, X, estimator="jacobian_crown")
    (drawn,) = certify(net, problem, X, estimator="random_points")
    monkeypatch.setattr("lipreg.budget.RATE", fold_work(analysis) / 1e3)
    clock = Ticks(1.0)
    budget = Budget(1500.0, clock=clock)
    (found,) = certify(analysis.graph, problem, X, estimator="branch_and_bound", budget=budget)
    assert "The rest of the time went to" in found.detail and found.status is Status.TIME_LIMIT
    assert drawn.lower < found.lower <= found.upper <= whole.upper * (1 + 1e-9)
    assert clock.now < 1600.0


def test_forms_are_asked_again_with_more_time() -> None:
    net, problem = network(3, 30, 30, 30, 3), LocalLipschitz(LinfBall(0.8), AllLogits())
    analysis = frozen_analysis(net, problem, X, None)
    _ = analysis.value_bounds
    none = Budget(0.0).started()
    known = RandomPoints().intervals(analysis, none)[0]
    search = PointSearch.begin(analysis, none, DEFAULTS, known)
    search.give_up(Status.TIME_LIMIT, "no time")
    before = search.conclude(Status.TIME_LIMIT)
    found = spend_remaining_time(search, before, Budget(400.0, clock=Ticks(1.0)).started())
    (whole,) = certify(net, problem, X, estimator="jacobian_crown")
    assert found.upper <= whole.upper * (1 + 1e-9) < before.upper and found.lower > before.lower
    assert "linear bounds" in before.detail and "linear bounds" not in found.detail


def test_what_a_hunt_has_found_is_proved_first_and_in_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hunt before a search takes all of the start's time; random points that it has beaten are not looked at before,
    where there is memory for one at a time."""
    torch.manual_seed(0)
    net, clock, hunts = (
        nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 2)).double(),
        Clock(),
        list[WitnessSearch](),
    )

    def hunted(hunt: WitnessSearch, budget: Budget) -> None:
        hunt.go(lambda: False, 1)
        hunts.append(hunt)
        clock.now += START_SHARE * 8.0

    monkeypatch.setattr("lipreg.estimators.exact.branch_and_bound.hunt_on", hunted)
    monkeypatch.setattr("lipreg.estimators.exact.branch_and_bound.late", lambda *asked: True)
    problem, x = LocalLipschitz(LinfBall(1.0), AllLogits()), torch.zeros(1, 12, dtype=torch.float64)
    local = frozen_analysis(net, problem, x, None)
    begun = BranchAndBound().start(local, Budget(8.0, memory=1, clock=clock).started(), DEFAULTS)
    assert hunts[0].best > 0 and begun.lower >= hunts[0].best * (1 - 1e-5)
