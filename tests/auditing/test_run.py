"""Audits: plans that are refused, results that survive failures and interrupts, and a world left as it was."""

from __future__ import annotations

import _thread
import copy
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.auditing import COMBINED, Attack, AuditPlan, PointAudit, audit
from lipreg.audits import AuditResult
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.callbacks.metrics import metric_names, summary
from lipreg.errors import CrossingBounds, InvalidInput, LipregError, UnsupportedRequest
from lipreg.estimators import (
    Bound,
    Estimator,
    EstimatorTask,
    certify,
    estimate,
    frozen_analysis,
    register,
    usual_estimators,
)
from lipreg.estimators.base import ESTIMATORS, PriorIntervals, lower_interval, upper_interval
from lipreg.estimators.exact.branch_and_bound import BranchAndBound
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.graph import Difference, capture
from lipreg.outputs import AllLogits, AllMargins, Combination, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.records import RunRecord
from lipreg.records.endings import NO_TIME, NOT_REACHED
from lipreg.regions import L2Ball, LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.transfer import radius_factor
from tests import oracles
from tests.test_budget import Clock

PROBLEM = LocalLipschitz(LinfBall(0.5), AllMargins())
X = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.5, 0.2]], dtype=torch.float64)
Y = torch.tensor([0, 1, 2])
NET = oracles.network("shallow")

Answer = Callable[[Analysis, Budget, PriorIntervals], list[CertifiedInterval]]


@pytest.fixture
def fake() -> Iterator[Callable[..., str]]:
    """Registers estimators that answer by a function, for one test."""
    before = dict(ESTIMATORS)

    def add(name: str, answer: Answer, searching: bool = True, proves: Certificate = Certificate.UPPER) -> str:
        class Fake(Estimator):
            certificate = proves
            searches = searching

            def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
                return answer(work.analysis, work.budget, work.known)

        register(name)(Fake)
        return name

    yield add
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


def infinite(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
    """Nothing proved, at every point."""
    return [lower_interval(analysis, i, None) for i in range(analysis.placed.batch)]


def truth(point: int) -> float:
    center = X[point].numpy()
    cells = oracles.cells(NET, oracles.Domain(center, center - 0.5, center + 0.5))
    label, eye = int(Y[point]), np.eye(3)
    rows = np.array([eye[label] - eye[j] for j in range(3) if j != label])
    return oracles.regional(cells, rows, math.inf, None)


# ---------------------------------------------------------------- plans


def test_searches_come_before_relaxations_which_have_an_eighth_beside_them(fake: Callable[..., str]) -> None:
    clock, given = Clock(), dict[str, float]()

    def uses_all(name: str) -> Answer:
        def answer(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
            given.setdefault(name, budget.seconds_left)
            clock.now += budget.seconds_left
            return [replace(each, status=Status.TIME_LIMIT) for each in infinite(analysis, budget, known)]

        return answer

    names = fake("dear", uses_all("dear")), fake("both", uses_all("both"), proves=Certificate.BRACKET)
    audit(NET, AuditPlan(PROBLEM, names, Budget(8.0, clock=clock), attack=None), X[:1], Y[:1])
    assert list(given) == ["both", "dear"]
    assert given["both"] == pytest.approx(7 * given["dear"])


def test_a_relaxation_that_was_not_solved_is_in_no_mean(fake: Callable[..., str]) -> None:
    def dear(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        first = torch.equal(analysis.placed.region.center[0], X[0])
        status = Status.BOUNDED if first else Status.TIME_LIMIT
        return [upper_interval(analysis, 0, 100.0 if first else 1e6, "a theorem", status)]

    def never(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        return [upper_interval(analysis, 0, 1e6, "a theorem", Status.TIME_LIMIT)]

    names = fake("dear", dear), fake("never", never), "affine_relu", "branch_and_bound"
    plan = AuditPlan(PROBLEM, names, Budget(5.0))
    found = audit(NET, plan, X, Y)
    told = summary(found, "affine_relu")
    assert (told["audit/dear"], told["audit/dear_points"], told["audit/never_points"]) == (100.0, 1.0, 0.0)
    assert "audit/never" not in told and "audit/affine_relu_points" not in told
    assert told["audit/bound"] == told["audit/affine_relu"]
    names = set(metric_names(plan, "affine_relu", False, "audit"))
    assert set(told) - names == {"audit/dear_points", "audit/never_points"}, "which nothing can monitor"
    cut = summary(found, "dear")
    assert cut["audit/bound"] == 100.0 and not {"audit/tightness", "audit/calibrated_bound"} & set(cut)
    assert "audit/bound" not in summary(found, "never")


def test_a_search_that_is_not_begun_says_what_it_lacks() -> None:
    """The rounds of an audit go by it, and its table counts such points."""
    lacking = list[float]()
    budget = replace(Budget(2.0, clock=Clock()).started(), rate=1.0)  # a multiplication a second
    analysis = frozen_analysis(NET, PROBLEM, X[:1], Y[:1])
    (found,) = BranchAndBound().intervals(analysis, budget, progress=lambda at: lacking.append(at.lacking))
    assert lacking and lacking[-1] > 100.0 and "of the point's time was left" in found.detail
    (point,) = audit(NET, AuditPlan(PROBLEM, ("branch_and_bound",), Budget(5.0)), X[:1], Y[:1])
    short = replace(point, intervals={**point.intervals, "branch_and_bound": found})
    assert point.searched("branch_and_bound") and not short.searched("branch_and_bound")
    table = AuditResult(PROBLEM, (short, point), RunRecord("a")).table()
    assert "no search was begun, for which the time was too short: branch_and_bound at 1 point" in table


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"estimators": ()}, "list of estimator names"),
        ({"estimators": "mip"}, "list of estimator names"),
        ({"estimators": ("mip", "magic")}, "magic"),
        ({"budget": -1.0}, "budget=-1.0"),
        ({"budget": math.nan}, "budget=nan"),
        ({"budget": math.inf}, "a finite number"),
        ({"budget": "60"}, "budget='60'"),
        ({"budget": [60.0]}, "budget"),
        ({"settings": "highs"}, "settings='highs'"),
    ],
)
def test_plans_that_cannot_be_right(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        AuditPlan(PROBLEM, **settings)


def test_an_audit_without_any_time_says_what_costs_next_to_nothing() -> None:
    """As ``certify`` does."""
    for point in audit(NET, AuditPlan(PROBLEM, budget=0.0), X, Y):
        assert 0.0 <= point.combined.lower <= point.combined.upper < math.inf
        assert point.combined.certificate is Certificate.EXACT or point.combined.status is Status.TIME_LIMIT


@pytest.mark.parametrize(
    "limits, says",
    [
        ({"gap": 1.0}, "gap=1.0"),
        ({"gap": "0.1"}, "gap='0.1'"),
        ({"nodes": 0}, "nodes=0"),
        ({"nodes": 2.5}, "nodes=2.5"),
    ],
)
def test_limits_that_cannot_be_right(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Budget(**limits)


def test_a_solver_that_is_none_of_semidefinite_programs() -> None:
    with pytest.raises(InvalidInput, match="sdp_solver='HIGHS'"):
        AuditPlan(PROBLEM, settings=Settings(sdp_solver="HIGHS"))


def test_no_estimator_has_the_name_of_what_all_prove_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ESTIMATORS, "combined", ESTIMATORS["fastlip"])
    with pytest.raises(InvalidInput, match=r"an estimator named 'combined'.*other names.*Register it by another"):
        AuditPlan(PROBLEM, ["combined"], 1.0)


def test_a_plan_that_is_not_covered_is_refused_when_it_is_made() -> None:
    with pytest.raises(UnsupportedRequest, match="mip"):
        AuditPlan(LocalLipschitz(L2Ball(0.1), scope="pointed"), ("mip",))
    assert AuditPlan(LocalLipschitz(L2Ball(0.1)), ("affine_relu",)).budget == Budget(60.0)


@pytest.mark.parametrize(
    "problem, names",
    [
        (PROBLEM, ("affine_relu", "mixing", "sampling", "lp", "branch_and_bound")),
        (LocalLipschitz(LinfBall(0.1), p=2), ("affine_relu", "mixing", "sampling", "branch_and_bound")),
        (LocalLipschitz(L2Ball(0.1)), ("affine_relu", "mixing", "sampling", "branch_and_bound")),
        (LocalLipschitz(L2Ball(0.1), p=1), ("affine_relu", "sampling", "lp", "branch_and_bound")),
        (replace(PROBLEM, scope="pointed"), ("affine_relu", "mixing", "sampling", "branch_and_bound")),
        (
            LocalLipschitz(L2Ball(0.1), Vector(), p=2),
            ("affine_relu", "sampling", "branch_and_bound"),
        ),
    ],
)
def test_without_names_it_takes_the_usual_ones_that_cover_the_question(
    problem: LocalLipschitz, names: tuple[str, ...]
) -> None:
    assert tuple(AuditPlan(problem).recipes) == names == usual_estimators(problem)


def test_limits_of_the_plan_reach_the_searches_and_the_records(fake: Callable[..., str]) -> None:
    seen: list[Budget] = []

    def note(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        seen.append(budget)
        return infinite(analysis, budget, known)

    points = audit(NET, AuditPlan(PROBLEM, (fake("note", note),), Budget(gap=0.25, nodes=7)), X, Y)
    assert {(budget.gap, budget.nodes) for budget in seen} == {(0.25, 7)}
    for record in points[0].records("run", 0):
        assert (record.asked["gap"], record.asked["nodes"], record.asked["budget"]) == (0.25, 7, 60.0)


def test_each_kind_of_program_goes_to_its_own_solver() -> None:
    problem = LocalLipschitz(LinfBall(0.5), Combination((1.0, -1.0, 0.0)), p=2)
    for name in ("SCS", "CLARABEL"):
        plan = AuditPlan(problem, ("lipsdp", "branch_and_bound"), settings=Settings(sdp_solver=name))
        records = {r.estimator: r for r in audit(NET, plan, X[:1])[0].records("run", 0)}
        lipsdp, search = records["lipsdp"], records["branch_and_bound"]
        assert (lipsdp.asked["sdp_solver"], lipsdp.asked.get("solver")) == (name, None)
        assert name in lipsdp.engine and name in lipsdp.detail
        assert (search.asked["solver"], search.asked.get("sdp_solver")) == ("highs", None)


def test_closed_forms_run_before_searches_and_relaxations_last() -> None:
    names = list(AuditPlan(PROBLEM, ("mip", "lp", "sampling", "affine_relu", "mip")).methods())
    assert names == ["sampling", "affine_relu", "mip", "lp"]


# ---------------------------------------------------------------- results


def test_exact_is_the_intersection_and_holds_the_truth() -> None:
    seen: list[PointAudit] = []
    audits = audit(NET, AuditPlan(PROBLEM), X, Y, seen.append)
    assert seen == audits
    assert [a.point for a in audits] == [0, 1, 2]
    for a in audits:
        others = [i for name, i in a.intervals.items() if name != COMBINED]
        assert set(a.intervals) == {COMBINED, "branch_and_bound", "mixing", "lp", "affine_relu", "sampling"}
        assert a.combined.lower == max(i.lower for i in others)
        assert a.combined.upper == min(i.upper for i in others)
        assert a.combined.lower <= truth(a.point) * (1 + 1e-9)
        assert a.combined.upper >= truth(a.point) * (1 - 1e-9)
        assert a.combined.certificate is Certificate.EXACT
        assert a.combined.status is Status.PROVED
        assert a.seconds[COMBINED] == pytest.approx(sum(s for n, s in a.seconds.items() if n != COMBINED))


def test_labels_margins_and_correctness() -> None:
    outputs = oracles.evaluate(NET, X.numpy())
    for a, out, label in zip(audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X, Y), outputs, Y.tolist(), strict=True):
        margin = out[label] - max(v for i, v in enumerate(out) if i != label)
        assert a.label == label
        assert a.margin == pytest.approx(margin)
        assert a.correct is bool(margin > 0)
    problem = LocalLipschitz(LinfBall(0.5), AllLogits())
    for a in audit(NET, AuditPlan(problem, ("fastlip",)), X):
        assert (a.label, a.correct, a.margin) == (-1, None, None)


def test_records_say_what_the_audit_says() -> None:
    (a, *_) = audit(NET, AuditPlan(PROBLEM, ("fastlip", "random_points")), X, Y)
    records = {r.estimator: r for r in a.records("mine", 7, "fastlip")}
    assert set(records) == {COMBINED, "fastlip", "random_points"}
    assert [name for name, r in records.items() if r.penalised] == ["fastlip"]
    for name, record in records.items():
        interval = a.intervals[name]
        assert (record.run, record.epoch, record.point, record.label) == ("mine", 7, 0, 0)
        assert (record.lower, record.upper) == (interval.lower, interval.upper)
        assert record.question == PROBLEM.describe()
        assert record.fingerprint == a.fingerprint
    witness = np.array(records["random_points"].witness)
    rows = np.array([[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]])
    attained = oracles.slope_norm(oracles.jacobian(NET, witness), rows, math.inf, None)
    assert records["random_points"].lower == pytest.approx(attained, rel=1e-9)


def test_own_preactivations_of_an_estimator() -> None:
    for methods in (["interval"], ["ball"], ["crown", "interval"]):
        plan = AuditPlan(PROBLEM, (Bound("affine_relu", methods), "abs_chain"))
        found = audit(NET, plan, X, Y)
        own = estimate(NET, PROBLEM, X, Y, bound=Bound("affine_relu", methods, "exact"))
        rest = estimate(NET, PROBLEM, X, Y, bound="abs_chain")
        for a, ours, theirs in zip(found, own.tolist(), rest.tolist(), strict=True):
            assert a.intervals[Bound("affine_relu", methods).label].upper == pytest.approx(ours, rel=1e-8)
            assert a.intervals["abs_chain"].upper == pytest.approx(theirs, rel=1e-8)


def test_the_same_seed_gives_the_same_audit() -> None:
    runs = [audit(NET, AuditPlan(PROBLEM, ("mip", "sampling"), settings=Settings(seed=5)), X, Y) for _ in range(2)]
    for one, two in zip(*runs, strict=True):
        assert one.intervals == two.intervals
        assert one.fingerprint == two.fingerprint


def test_the_world_is_left_as_it_was() -> None:
    net = oracles.network("deep").train()
    net[1].eval()  # a mode of its own
    weights = copy.deepcopy(net.state_dict())
    modes = [m.training for m in net.modules()]
    random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    points = X.clone()
    audit(net, AuditPlan(PROBLEM, budget=600.0), points, Y)
    after = random.getstate(), np.random.get_state(), torch.get_rng_state()
    assert before[0] == after[0]
    for one, two in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert torch.equal(before[2], after[2])
    assert modes == [m.training for m in net.modules()]
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(points, X)


def test_a_bound_that_stands_in_for_a_failure_is_no_failure_of_the_interval(fake: Callable[..., str]) -> None:
    def standing_in(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        return [upper_interval(analysis, i, 100.0, "a theorem", Status.FAILED, "too large") for i in range(3)]

    def cut_short(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        found = BranchAndBound().intervals(analysis, Budget(60.0))
        return [replace(f, upper=200.0, proof="a search", status=Status.NODE_LIMIT, detail="2 nodes") for f in found]

    for names, status in ((("stands",), Status.BOUNDED), (("stands", "searches"), Status.NODE_LIMIT)):
        plan = AuditPlan(
            PROBLEM, (fake("stands", standing_in, False), fake("searches", cut_short, False))[: len(names)]
        )
        for a in audit(NET, plan, X, Y):
            assert (a.combined.upper, a.combined.proof, a.combined.status) == (100.0, "a theorem", status)
            assert a.intervals["stands"].status is Status.FAILED
            assert a.combined.detail == ("2 nodes" if len(names) == 2 else "too large")


def test_random_states_are_kept_from_estimators_that_draw(fake: Callable[..., str]) -> None:
    def draws(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        random.random()
        np.random.rand(3)
        torch.rand(3)
        return infinite(analysis, budget, known)

    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
    audit(NET, AuditPlan(PROBLEM, (fake("draws", draws), "fastlip")), X, Y)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("error", [ZeroDivisionError("on purpose"), MemoryError("too big"), InvalidInput("bad luck")])
@pytest.mark.parametrize("searching", [True, False])
def test_a_crash_is_a_result_and_the_others_survive(
    fake: Callable[..., str], error: Exception, searching: bool
) -> None:
    def crash(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        raise error

    audits = audit(NET, AuditPlan(PROBLEM, (fake("crash", crash, searching), "mip", "fastlip")), X, Y)
    assert len(audits) == 3
    for a in audits:
        failed = a.intervals["crash"]
        assert failed.status is Status.FAILED
        assert (failed.lower, failed.upper) == (0.0, math.inf)
        assert type(error).__name__ in failed.detail
        assert a.intervals["mip"].status is Status.PROVED
        assert a.combined.certificate is Certificate.EXACT


def test_a_crash_at_one_point_leaves_the_others(fake: Callable[..., str]) -> None:
    def crash(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        if torch.equal(analysis.placed.region.center[0], X[1]):
            raise RuntimeError("here")
        return [upper_interval(analysis, 0, 1e6, "fake")]

    audits = audit(NET, AuditPlan(PROBLEM, (fake("sometimes", crash),)), X, Y)
    assert [a.intervals["sometimes"].status for a in audits] == [Status.BOUNDED, Status.FAILED, Status.BOUNDED]


@pytest.mark.parametrize("searching", [True, False])
def test_too_few_answers_are_a_failure(fake: Callable[..., str], searching: bool) -> None:
    for a in audit(NET, AuditPlan(PROBLEM, (fake("short", lambda a, e, k: [], searching), "mip")), X, Y):
        assert a.intervals["short"].status is Status.FAILED
        assert "0 intervals for" in a.intervals["short"].detail
        assert a.combined.certificate is Certificate.EXACT


def test_contradicting_estimators_raise_after_earlier_points_are_handed_on(fake: Callable[..., str]) -> None:
    def low(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        wrong = torch.equal(analysis.placed.region.center[0], X[2])
        return [upper_interval(analysis, 0, 1e-3 if wrong else 1e3, "a wrong theorem")]

    seen: list[PointAudit] = []
    with pytest.raises(CrossingBounds, match=r"exceeds upper 0\.001"):
        audit(NET, AuditPlan(PROBLEM, ("random_points", fake("low", low))), X, Y, seen.append)
    assert [a.point for a in seen] == [0, 1]
    assert all(a.intervals["low"].upper == 1e3 for a in seen)


def test_a_listener_that_fails_is_heard() -> None:
    def refuse(point: PointAudit) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X, Y, refuse)


@pytest.mark.parametrize("labels", [True, False])
def test_weights_that_are_not_numbers_are_an_error(labels: bool) -> None:
    net = oracles.network("shallow")
    with torch.no_grad():
        net[2].bias[0] = math.nan
    problem = PROBLEM if labels else LocalLipschitz(LinfBall(0.5), AllLogits())
    with pytest.raises(LipregError, match="NaN"):
        audit(net, AuditPlan(problem, ("mip", "fastlip")), X, Y if labels else None)


def test_points_that_do_not_fit() -> None:
    cut = LocalLipschitz(LinfBall(0.5, low=0.0, high=1.0), Logit(0))
    with pytest.raises(InvalidInput, match="outside the data range"):
        audit(NET, AuditPlan(cut, ("fastlip",)), X)
    with pytest.raises(InvalidInput, match="label"):
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X)


# ---------------------------------------------------------------- budget and interrupts


def test_the_budget_is_shared_out_over_the_points_that_are_left(fake: Callable[..., str]) -> None:
    given: list[float] = []
    clock = Clock()

    def note(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        given.append(budget.seconds_left)
        clock.now += 0.3 if len(given) == 1 else 0.0
        return infinite(analysis, budget, known)

    audit(NET, AuditPlan(PROBLEM, (fake("note", note),), Budget(3.0, clock=clock)), X, Y)
    assert given == pytest.approx([1.0, 1.35, 2.7])  # a third, half of what 0.3 seconds leave, and the rest
    given.clear()
    audit(NET, AuditPlan(PROBLEM, ("note",), Budget(0.2, clock=clock)), X, Y)
    assert given[1:] == [0.0, 0.0], "an overrun leaves nothing, and no negative time"


def test_a_search_goes_on_in_the_next_round_from_what_it_had_proved(fake: Callable[..., str]) -> None:
    seen: list[CertifiedInterval] = []
    clock = Clock()

    def slowly(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        seen.extend(known)
        clock.now += 0.1
        if len(seen) % 2:
            families = (100.0, 60.0)
            unfinished = upper_interval(analysis, 0, 100.0, "a first round", Status.TIME_LIMIT)
            return [replace(unfinished, families=families)]
        return [upper_interval(analysis, 0, 50.0, "a second round")]

    plan = AuditPlan(PROBLEM, ("random_points", fake("slowly", slowly)), Budget(60.0, clock=clock))
    (point,) = audit(NET, plan, X[:1], Y[:1])
    assert [k.upper for k in seen] == [math.inf, 100.0]
    assert seen[1].families == (100.0, 60.0)
    assert (point.intervals["slowly"].upper, point.intervals["slowly"].status) == (50.0, Status.BOUNDED)
    assert (point.combined.upper, point.combined.proof) == (50.0, "a second round")
    assert point.seconds["slowly"] == pytest.approx(0.2)


def test_searches_know_the_witness_of_closed_forms(fake: Callable[..., str]) -> None:
    seen: list[PriorIntervals] = []

    def note(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        seen.append(known)
        return infinite(analysis, budget, known)

    audits = audit(NET, AuditPlan(PROBLEM, (fake("note", note), "random_points", "fastlip")), X, Y)
    for a, (one,) in zip(audits, seen, strict=True):
        assert one.lower == a.intervals["random_points"].lower
        assert one.upper == a.intervals["fastlip"].upper


def interrupting(at: int, calls: list[int]) -> Answer:
    """Waits until it is stopped; at its ``at``-th call, Ctrl-C arrives in the main thread meanwhile."""

    def answer(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        calls.append(len(calls))
        if len(calls) - 1 == at:
            threading.Timer(0.2, _thread.interrupt_main).start()
            assert budget.stop.wait(120), "the interrupt must reach the search"
        witness = best_witness(analysis, 0, analysis.placed.region.center)
        return [lower_interval(analysis, 0, witness)]

    return answer


def test_an_interrupt_keeps_every_point_and_is_raised_again(fake: Callable[..., str]) -> None:
    calls: list[int] = []
    seen: list[PointAudit] = []
    plan = AuditPlan(
        PROBLEM, ("fastlip", fake("slow", interrupting(1, calls), proves=Certificate.BRACKET), "mip"), budget=60.0
    )
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        audit(NET, plan, X, Y, seen.append)
    assert time.monotonic() - began < 110
    assert [a.point for a in seen] == [0, 1, 2]
    first, *rest = seen
    assert first.intervals["mip"].status is Status.PROVED
    for a in rest:
        assert a.intervals["mip"].status is Status.INTERRUPTED
        assert a.combined.upper <= a.intervals["fastlip"].upper < math.inf
        assert a.combined.lower <= truth(a.point) * (1 + 1e-9)
        assert a.combined.upper >= truth(a.point) * (1 - 1e-9)
        assert a.intervals["slow"].lower > 0  # what it had proved by then


def test_a_second_interrupt_is_raised_at_once(fake: Callable[..., str]) -> None:
    release = threading.Event()

    def deaf(analysis: Analysis, budget: Budget, known: PriorIntervals) -> list[CertifiedInterval]:
        threading.Timer(0.2, _thread.interrupt_main).start()
        threading.Timer(0.9, _thread.interrupt_main).start()
        release.wait(120)
        return infinite(analysis, budget, known)

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            audit(NET, AuditPlan(PROBLEM, (fake("deaf", deaf),)), X, Y)
        assert time.monotonic() - began < 110
    finally:
        release.set()


def test_stop_ends_the_audit_without_an_error() -> None:
    stop = threading.Event()
    stop.set()
    audits = audit(NET, AuditPlan(PROBLEM, ("fastlip", "mip")), X, Y, stop=stop)
    # a bound that meets the witness of the sampling at the start of the search leaves nothing to stop
    statuses = [a.intervals["mip"].status for a in audits if a.intervals["mip"].certificate is not Certificate.EXACT]
    assert set(statuses) == {Status.INTERRUPTED}
    for a in audits:
        assert a.combined.upper <= a.intervals["fastlip"].upper
        assert a.combined.upper >= truth(a.point) * (1 - 1e-9)


@pytest.mark.parametrize("executor", ["inline", {"kind": "processes", "count": 1}])
def test_the_stop_of_the_budget_ends_it_too(executor: Any) -> None:
    stop = threading.Event()
    stop.set()
    budget = copy.deepcopy(Budget(1000.0, stop=stop))
    audits = audit(NET, AuditPlan(PROBLEM, ("fastlip", "mip"), budget), X, Y, executor=executor)
    statuses = [a.intervals["mip"].status for a in audits if a.intervals["mip"].certificate is not Certificate.EXACT]
    assert set(statuses) == {Status.INTERRUPTED}


def test_certify_and_audit_agree() -> None:
    direct = certify(NET, PROBLEM, X, Y, budget=Budget(600.0))
    for a, interval in zip(audit(NET, AuditPlan(PROBLEM, ("mip",)), X, Y), direct, strict=True):
        assert a.intervals["mip"].lower == pytest.approx(interval.lower, rel=1e-9)
        assert a.intervals["mip"].upper == pytest.approx(interval.upper, rel=2e-6)


def test_records_say_that_a_difference_was_asked_about() -> None:
    torch.manual_seed(0)
    first, second = (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(2))
    problem, x = LocalLipschitz(LinfBall(0.1), AllLogits()), torch.zeros(2, 2)
    y = torch.zeros(2, dtype=torch.long)
    for point in audit(Difference(first, second), AuditPlan(problem, attack=Attack()), x, y):
        records = point.records("run", 0)
        (said,) = {record.functional for record in records}
        assert said.endswith(" of f - g"), said
        # its outputs are no logits: nothing is said of margins, and no other class is sought
        assert all(record.attacked is None and radius_factor(record) is None for record in records)
    (alone,) = audit(first, AuditPlan(problem), x[:1])
    assert not any("f - g" in record.functional for record in alone.records("run", 0))


def test_points_without_classes_of_a_network_of_rows() -> None:
    """No margin is asked for: no network is evaluated at no points."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3, padding=1, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).mean((2, 3))

    plan = AuditPlan(LocalLipschitz(LinfBall(0.1), AllLogits()), ["affine_relu"], budget=5.0)  # type: ignore[arg-type]
    x = torch.randn(2, 1, 6, 6)
    assert [point.combined.upper > 0 for point in audit(Rows(), plan, x)] == [True, True]
    graph = capture(Rows(), x).frozen()
    assert graph(x.double()[:0]).shape == (0, 2)


@pytest.mark.parametrize("why", [NO_TIME, NOT_REACHED])
def test_what_was_left_out_is_told_of_the_point_too(why: str) -> None:
    """Its search's own words come first, where it has some; an exact interval has nothing to tell."""
    (point,) = audit(NET, AuditPlan(PROBLEM, budget=0.0), X[:1], Y[:1])
    bare = replace(
        point,
        intervals={"combined": CertifiedInterval(PROBLEM, point.combined.functional, subject=point.combined.subject)},
    )
    left_out = bare.without_answer("mip", Status.TIME_LIMIT, why)
    assert (left_out.combined.status, left_out.combined.detail) == (Status.TIME_LIMIT, why)
    exact = point.combined
    said = replace(exact, status=Status.TIME_LIMIT, detail="7 nodes", upper=exact.lower + 1.0)
    both = left_out.joined("branch_and_bound", said, 1.0).without_answer("lp", Status.TIME_LIMIT, why)
    assert (both.combined.status, both.combined.detail) == (Status.TIME_LIMIT, "7 nodes")
    closed = both.joined("lp", replace(said, status=Status.PROVED, upper=said.lower, detail="all"), 1.0)
    assert closed.combined.certificate is Certificate.EXACT and closed.combined.status is Status.PROVED
