"""Budgets: one clock, parts that end with the whole, and everything that takes its time under one of them."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Settings, certify
from lipreg.bounds import analyse
from lipreg.budget import RATE, AnyOf, OutOfBudget
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.milp.cells import CellStatus
from lipreg.results import Certificate, Status
from lipreg.search.engine import Search
from lipreg.search.outcome import no_search_message
from tests import oracles

X = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
PROBLEM = LocalLipschitz(LinfBall(0.8), AllLogits())


@dataclass
class Clock:
    """A clock that goes on by ``step`` whenever it is read, and otherwise when it is told to."""

    now: float = 100.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_time_runs_from_the_start_and_parts_end_with_the_whole() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock)
    clock.now += 50.0
    assert (budget.seconds_left, budget.stop_reason()) == (10.0, None)
    started = budget.started()
    clock.now += 4.0
    assert started.started() is started and started.seconds_left == 6.0
    half, short, long = started.share(0.5), started.within(1.0), started.within(60.0)
    assert [part.seconds_left for part in (half, short, long)] == [3.0, 1.0, 6.0]
    clock.now += 3.0
    assert [part.stop_reason() for part in (half, short, started)] == [Status.TIME_LIMIT, Status.TIME_LIMIT, None]
    clock.now += 30.0
    assert started.seconds_left == 0.0 and started.share(0.5).stop_reason() is Status.TIME_LIMIT


def test_nodes_and_stops_end_it_too() -> None:
    stop = threading.Event()
    budget = Budget(math.inf, nodes=5, stop=stop).started()
    assert budget.after(4).stop_reason() is None and budget.after(4).nodes == 1
    assert budget.after(5).stop_reason() is budget.after(9).stop_reason() is Status.NODE_LIMIT
    either = replace(budget, stop=AnyOf((threading.Event(), stop)))
    assert either.stop_reason() is None
    stop.set()
    assert either.stop_reason() is budget.stop_reason() is Status.INTERRUPTED


def test_a_copy_in_another_process_has_what_is_left() -> None:
    clock = Clock()
    budget = Budget(10.0, nodes=3, gap=0.1, clock=clock).started()
    clock.now += 4.0
    copied: Budget = pickle.loads(pickle.dumps(budget))
    assert (copied.seconds, copied.nodes, copied.gap, copied.deadline) == (6.0, 3, 0.1, None)
    assert copied.stop_reason() is None and copied.stop is not budget.stop
    assert Budget(1.0) == Budget(1.0) and len({Budget(1.0), Budget(1.0), Budget(2.0)}) == 2


@pytest.mark.parametrize("given", [-1.0, math.nan, "10", True, [1.0]], ids=str)
def test_what_is_no_budget_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput, match="budget"):
        certify(oracles.network("shallow"), PROBLEM, X, budget=given)


def test_seconds_that_no_clock_counts_are_no_limit() -> None:
    assert Budget(10**400).started().seconds_left == math.inf


@pytest.mark.parametrize("seed", ["a", 1.5, None, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(InvalidInput, match="seed"):
        Settings(seed=seed)


def test_a_number_of_seconds_is_a_budget_and_limits_beside_one_are_refused() -> None:
    assert Budget.of(3.0, "here") == Budget(3.0) and Budget.of(None, "here") == Budget()
    assert Budget.of(3.0, "here", gap=0.1, nodes=7) == Budget(3.0, 7, gap=0.1)
    with pytest.raises(InvalidInput, match="beside"):
        Budget.of(Budget(3.0), "here", gap=0.1)


def test_pre_activation_bounds_end_with_their_budget_and_say_what_they_left_out() -> None:
    net = oracles.mlp(2, 40, 40, 40, 2).double()
    whole = frozen_analysis(net, PROBLEM, X, None)
    with torch.no_grad():
        cut = analyse(whole.graph, whole.placed, budget=Budget(0.0).started())
        without = analyse(whole.graph, whole.placed, ("ball", "interval"))
    assert "CROWN" in cut.left_out and whole.left_out == ""
    for ours, theirs, wide in zip(cut.value_bounds, without.value_bounds, whole.value_bounds, strict=True):
        assert torch.equal(ours.lower, theirs.lower) and (wide.lower >= ours.lower - 1e-12).all()
    (found,) = ESTIMATORS["jacobian_crown"].intervals(cut, Budget())
    assert cut.left_out in found.detail
    with torch.no_grad():  # without another method intervals stand in
        alone = analyse(whole.graph, whole.placed, ("crown",), budget=Budget(0.0).started())
        interval = analyse(whole.graph, whole.placed, ("interval",))
    assert "CROWN" in alone.left_out
    for ours, theirs in zip(alone.value_bounds, interval.value_bounds, strict=True):
        assert torch.equal(ours.lower, theirs.lower) and torch.equal(ours.upper, theirs.upper)


def test_parts_end_where_there_is_no_time_for_another_one_as_long() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock).started()
    taken = []
    for seconds in budget.paced([1.0, 4.0, 2.0, 1.0]):
        clock.now += seconds
        taken.append(seconds)
    assert taken == [1.0, 4.0, 2.0], "4 seconds and 3 are left"
    assert list(budget.paced([1.0])) == [1.0], "nothing is known of other work"
    clock.now += 3.0
    assert list(budget.paced([1.0])) == []
    assert list(Budget(math.inf).paced(range(3))) == [0, 1, 2]
    taken, budget = [], Budget(10.0, clock=clock).started()
    for cost in budget.paced([1.0, 4.0, 8.0], lambda part: part):
        clock.now += cost
        taken.append(cost)
    assert taken == [1.0, 4.0], "8 seconds, and 5 are left"


def test_memory_is_rows_of_a_pass_and_time_is_work() -> None:
    assert Budget(memory=64 * 100).rows(10) == 10 and Budget(memory=1).rows(10**6) == 1
    clock = Clock()
    budget = Budget(10.0, clock=clock).started()
    assert budget.affords(10 * RATE) and not budget.affords(10 * RATE, 0.5)
    clock.now += 9.0
    assert budget.affords(RATE) and not budget.affords(2 * RATE)
    budget.require(RATE)
    with pytest.raises(OutOfBudget):
        budget.require(2 * RATE)
    clock.now += 1.0
    assert not budget.affords(0.0), "over"


def test_work_is_judged_as_it_has_gone_where_that_was_slower() -> None:
    clock = Clock()
    budget = Budget(10.0, clock=clock).started()
    began = clock.now
    clock.now += 1.0
    slow, fast = budget.with_measured_rate(RATE / 4, began), budget.with_measured_rate(4 * RATE, began)
    assert slow.affords(2 * RATE) and not slow.affords(3 * RATE) and fast.affords(9 * RATE)
    assert slow.share(0.5).pace == slow.pace == RATE / 4 and fast.pace == RATE and slow.times(RATE) == 9.0 / 4
    assert pickle.loads(pickle.dumps(slow)).pace == RATE, "another machine may be a faster one"
    with pytest.raises(OutOfBudget) as over:
        slow.require(3 * RATE)
    assert (over.value.judged, over.value.remaining) == (12.0, 9.0)
    assert "judged to take at least 12 s, and 9 s of the point's time was left" in no_search_message(over.value)
    clock.now += 20.0
    with pytest.raises(OutOfBudget) as over:
        slow.require(RATE)
    assert "at least 4 s, and nothing of the point's time was left" in no_search_message(over.value)
    assert no_search_message(OutOfBudget(Status.TIME_LIMIT)).startswith("there was no time to fold the network")
    assert budget.with_measured_rate(1.0, clock.now) is budget, "too short to say anything"
    assert budget.with_measured_rate(0.0, began) is budget, "no work, whose time was another's"


@pytest.mark.parametrize("name", ["branch_and_bound", "mip", "lipmip", "lp", "lipsdp", "mip_pointed", None])
def test_every_search_counts_on_the_clock_that_it_is_given(name: str | None) -> None:
    """An hour has passed whenever anybody looks: a search ends with what costs nothing, and no one waits for it."""
    scope = "pointed" if name == "mip_pointed" else "regional"
    problem = LocalLipschitz(LinfBall(0.8), AllLogits(), scope, 2.0 if name == "lipsdp" else math.inf)
    (found,) = certify(
        oracles.network("deep"), problem, X, estimator=name, budget=Budget(1.0, clock=Clock(step=3600.0))
    )
    assert found.status is Status.TIME_LIMIT or found.certificate is Certificate.EXACT
    assert found.upper < math.inf


def test_linear_bounds_on_the_jacobian_end_with_the_budget() -> None:
    """Entries that are not reached keep their intervals, and the result says so."""
    torch.manual_seed(0)
    net, x = oracles.mlp(2, 8, 8, 8, 3).double(), X
    problem = LocalLipschitz(LinfBall(0.8), AllLogits())

    def bound(name: str, budget: Budget) -> Any:
        return certify(net, problem, x, estimator=name, budget=budget)[0]

    whole, interval = bound("jacobian_crown", Budget(math.inf)), bound("fastlip", Budget(math.inf))
    assert whole.upper < interval.upper and "no time" not in whole.detail
    seen = []
    for seconds in (0, 20, 40, 80, 160, 320):
        cut = bound("jacobian_crown", Budget(seconds, memory=1, clock=Clock(step=1.0)))  # entry by entry
        seen.append(cut.upper)
        assert whole.upper <= cut.upper * (1 + 1e-12)
        if "linear bounds on the gradients" not in cut.detail:
            assert cut.upper == whole.upper
    assert seen == sorted(seen, reverse=True) and seen[0] > seen[-1]
    exact = bound("branch_and_bound", Budget(math.inf))
    ended = bound("mip", Budget(30, clock=Clock(step=1.0)))
    assert exact.certificate is Certificate.EXACT
    assert ended.lower <= exact.upper * (1 + 1e-9) and exact.lower <= ended.upper * (1 + 1e-9)


def test_what_cannot_end_or_count_is_refused() -> None:
    with pytest.raises(InvalidInput, match="stop="):
        Budget(stop=3)
    for wrong in (None, 3):
        with pytest.raises(InvalidInput, match="clock="):
            Budget(clock=wrong)  # type: ignore[arg-type]
    assert Budget().stop is not Budget().stop and not Budget(stop=None).stop.is_set()
    with pytest.raises(InvalidInput, match="settings="):
        certify(oracles.network("line"), PROBLEM, X[:, :1], settings={"seed": 1})  # type: ignore[arg-type]


def test_numbers_may_be_of_any_type_that_means_them() -> None:
    """Whole ones with a point too, as configuration files and numpy write them."""
    for memory in (2.0**18, np.int64(2**18), np.float32(2**18)):
        found = Budget(np.float32(3.0), nodes=np.float64(7.0), memory=memory, gap=np.float32(0.5))  # type: ignore[arg-type]
        assert found == Budget(3.0, nodes=7, memory=2**18, gap=0.5)
        assert all(type(number) in (int, float) for number in (found.seconds, found.nodes, found.memory, found.gap))
    assert type(Budget(1e9, memory=1e9).memory) is int  # type: ignore[arg-type]
    assert Budget.of(np.float64(2.5), "here") == Budget(2.5)
    for wrong in (0.5, -2.0, math.inf, math.nan, True, "2**28", 2.0**18 + 0.5):
        with pytest.raises(
            InvalidInput, match=r"memory=.*a whole number of bytes of at least 1, such as 2\*\*28 or 1e9"
        ):
            Budget(memory=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"nodes=.*or None for no limit"):
        Budget(nodes=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Decimal, Fraction, np.array, torch.tensor, np.int8], ids=lambda kind: kind.__name__)
def test_a_number_is_a_number_whoever_holds_it(kind: Callable[[int], Any]) -> None:
    two = kind(2)
    for one in (two, two.reshape(1, 1)) if hasattr(two, "reshape") else (two,):
        assert Budget(one) == Budget(2.0), "of one number, whatever its axes"
    assert Budget(two, nodes=two, memory=two) == Budget(2.0, nodes=2, memory=2) and Budget.of(two, "here") == Budget(
        2.0
    )
    assert {type(Budget(two).seconds), type(Budget(nodes=two).nodes)} <= {int, float}
    assert LinfBall(two) == LinfBall(2.0), "and so in a region"


@pytest.mark.parametrize(
    "wrong",
    [
        Decimal("nan"),
        Decimal("sNaN"),
        torch.tensor(True),
        torch.tensor([1.0, 2.0]),
        torch.tensor(math.nan),
        torch.tensor(1.0, device="meta"),
        1j,
        -(10**5000),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_is_none_is_refused_in_few_letters(wrong: Any) -> None:
    for name in ("seconds", "gap", "nodes", "memory"):
        with pytest.raises(InvalidInput, match=f"Budget: {name}=.*a (whole )?number") as refused:
            Budget(**{name: wrong})
        assert len(str(refused.value)) < 400
    with pytest.raises(InvalidInput):
        LinfBall(wrong)


def test_limits_that_nothing_reaches_are_none() -> None:
    for huge in (10**400, 10**5000, 1e300):
        budget = Budget(1.0, nodes=huge, memory=huge)  # type: ignore[arg-type]
        assert budget.nodes is None and budget.rows(1) > 10**9 and len(repr(budget)) < 300
        assert Budget(Fraction(huge) * 10**400).seconds == math.inf  # type: ignore[arg-type]


def test_a_copy_in_this_process_is_the_budget_itself() -> None:
    budget = Budget(3.0)
    assert copy.copy(budget) is budget and copy.deepcopy([budget])[0] is budget


def test_a_search_whose_last_cells_had_no_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that they may hold no point."""
    clock, settled = Clock(), []

    def late(*given: Any) -> tuple[CellStatus, None]:
        settled.append(1)
        clock.now += 100.0
        return CellStatus.THIN, None

    monkeypatch.setattr("lipreg.search.engine.settle_cell", late)
    monkeypatch.setattr("lipreg.search.incumbent.Incumbent.offer", lambda *given: None)
    monkeypatch.setattr("lipreg.search.incumbent.Incumbent.local_search", lambda *given: None)
    torch.manual_seed(0)
    net = oracles.mlp(2, 6, 6, 2).double()
    monkeypatch.setattr("lipreg.estimators.exact.branch_and_bound.POINTS", 1)  # the reference point alone
    (found,) = certify(net, PROBLEM, X, estimator="branch_and_bound", budget=Budget(50.0, clock=clock))
    assert settled and found.certificate is Certificate.BRACKET and found.status is Status.TIME_LIMIT


def test_nodes_that_there_is_no_time_to_branch_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, settle = Clock(), Search._settle_leaves

    def late(search: Search, nodes: Any) -> Any:
        clock.now += 100.0
        return settle(search, nodes)

    def never(*given: Any) -> None:
        raise AssertionError("there is no time for it")

    torch.manual_seed(0)
    net = oracles.mlp(2, 8, 8, 2).double()
    (exact,) = certify(net, PROBLEM, X, estimator="branch_and_bound", budget=Budget(math.inf))
    monkeypatch.setattr(Search, "_settle_leaves", late)
    monkeypatch.setattr("lipreg.search.branching.branch", never)
    (cut,) = certify(net, PROBLEM, X, estimator="branch_and_bound", budget=Budget(50.0, clock=clock))
    assert cut.status is Status.TIME_LIMIT and cut.lower <= exact.upper <= cut.upper
