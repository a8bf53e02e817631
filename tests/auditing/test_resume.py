"""Resuming: what is saved and fits is not done again, what does not fit is named, and the result is the same."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from lipreg.auditing import COMBINED, AuditPlan, PointAudit, Processes, audit
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds
from lipreg.estimators.exact.mip import MixedInteger
from lipreg.estimators.settings import Settings
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, RecordFile, read_records
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.auditing.cases import NET, PROBLEM, X, Y, truth

PLAN = AuditPlan(PROBLEM, ("mip", "lp", "affine_relu", "random_points"), 30.0)


@cache
def whole() -> list[PointAudit]:
    """The audit that nothing has cut short."""
    return audit(NET, PLAN, X, Y)


def saved(points: list[PointAudit], folder: Path) -> list[AuditRecord]:
    """Through a file and back."""
    file = RecordFile(folder / "records.jsonl")
    for p in points:
        for record in p.records("run", 3):
            file.append(record)
    return [r for r in read_records(file.path) if isinstance(r, AuditRecord)]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """Which points the MIP is run at, and what it is given."""
    calls: list[tuple[int, Any]] = []
    own = MixedInteger.intervals

    def intervals(self: MixedInteger, analysis: Analysis, budget: Budget, *given: Any) -> list[CertifiedInterval]:
        (point,) = (i for i, x in enumerate(X) if torch.equal(x, analysis.placed.region.center[0]))
        calls.append((point, given[1]))
        return own(self, analysis, budget, *given)

    monkeypatch.setattr(MixedInteger, "intervals", intervals)
    return calls


def test_what_is_done_is_not_done_again(tmp_path: Path, searched: list[Any]) -> None:
    first = whole()
    records = saved(first, tmp_path)
    assert not any(r.resumed for r in records)
    searched.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = audit(NET, PLAN, X, Y, earlier=records)
    assert searched == []
    for one, two in zip(first, second, strict=True):
        assert {n: (i.lower, i.upper, i.status, i.witness) for n, i in one.intervals.items()} == {
            n: (i.lower, i.upper, i.status, i.witness) for n, i in two.intervals.items()
        }
        assert all(r.resumed for r in two.records("run", 3))
        assert two.seconds[COMBINED] == pytest.approx(one.seconds[COMBINED], abs=1e-2)


def test_another_solver_starts_anew(tmp_path: Path) -> None:
    plan = AuditPlan(LocalLipschitz(LinfBall(0.5), AllLogits(), p=2), ("lipsdp", "fastlip"))
    records = saved(audit(NET, plan, X[:1]), tmp_path)
    (same,) = audit(NET, plan, X[:1], earlier=records)
    assert same.resumed == {"lipsdp", "fastlip", COMBINED}
    with pytest.warns(UserWarning, match="settings differ"):
        (other,) = audit(NET, replace(plan, settings=Settings(sdp_solver="CLARABEL")), X[:1], earlier=records)
    assert "lipsdp" not in other.resumed and "fastlip" in other.resumed
    assert "CLARABEL" in other.intervals["lipsdp"].detail


def test_an_audit_that_was_cut_short_goes_on(tmp_path: Path, searched: list[Any]) -> None:
    seen: list[PointAudit] = []

    def cut(point: PointAudit) -> None:
        seen.append(point)
        if point.point == 1:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        audit(NET, PLAN, X, Y, cut)
    records = saved(seen, tmp_path)
    searched.clear()
    points = audit(NET, PLAN, X, Y, earlier=records)
    assert [point for point, _ in searched] == [2, 3, 4]
    assert [all(r.resumed for r in p.records("run", 3)) for p in points] == [True, True, False, False, False]
    for uncut, p in zip(whole(), points, strict=True):
        # searches that a busy machine gives other parts of their time to end in other last digits
        assert (p.combined.lower, p.combined.upper) == pytest.approx(
            (uncut.combined.lower, uncut.combined.upper), rel=1e-9
        )


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.INTERRUPTED, Status.FAILED])
def test_a_bracket_is_where_the_search_goes_on(tmp_path: Path, searched: list[Any], status: Status) -> None:
    records = saved(whole(), tmp_path)
    # as if the MIP had proved a loose bound only, at one point, and the LP nothing
    loose = [
        replace(r, status=status.value, upper=1.5 * r.upper, families=[1.5 * u for u in r.families])
        if (r.point, r.estimator) == (2, "mip")
        else r
        for r in records
        if (r.point, r.estimator) not in ((2, COMBINED), (2, "lp"))
    ]
    searched.clear()
    points = audit(NET, PLAN, X, Y, earlier=loose)
    ((point, known),) = searched
    assert point == 2
    mip = next(r for r in loose if (r.point, r.estimator) == (2, "mip"))
    assert known[0].lower == mip.lower
    assert known[0].upper <= mip.upper
    assert known[0].families == tuple(mip.families)
    assert points[2].combined.certificate is Certificate.EXACT
    assert points[2].combined.lower <= truth(2) * (1 + 1e-9)
    assert points[2].combined.upper >= truth(2) * (1 - 1e-9)


@pytest.mark.parametrize(
    "saved_status, plan, goes_on",
    [
        (Status.GAP_LIMIT, replace(PLAN, budget=Budget(600.0, gap=0.5)), False),
        (Status.GAP_LIMIT, replace(PLAN, budget=Budget(600.0, gap=0.1)), True),
        (Status.NODE_LIMIT, replace(PLAN, budget=Budget(600.0, nodes=10)), False),
        (Status.NODE_LIMIT, replace(PLAN, budget=Budget(600.0, nodes=11)), True),
        (Status.NODE_LIMIT, PLAN, True),
    ],
)
def test_searches_that_ended_at_a_limit_go_on_under_a_wider_one(
    tmp_path: Path, searched: list[Any], saved_status: Status, plan: AuditPlan, goes_on: bool
) -> None:
    records = saved(audit(NET, replace(PLAN, budget=Budget(600.0, nodes=10)), X, Y), tmp_path)
    loose = [
        replace(r, status=saved_status.value, upper=1.5 * r.upper, families=[1.5 * u for u in r.families])
        if (r.point, r.estimator) == (2, "mip")
        else r
        for r in records
        if r.estimator != "lp" and (r.point, r.estimator) != (2, COMBINED)
    ]
    searched.clear()
    points = audit(NET, replace(plan, estimators=("mip", "affine_relu", "random_points")), X, Y, earlier=loose)
    assert [point for point, _ in searched] == ([2] if goes_on else [])
    assert (points[2].combined.certificate is Certificate.EXACT) == goes_on
    assert points[2].combined.lower <= truth(2) * (1 + 1e-9) and points[2].combined.upper >= truth(2) * (1 - 1e-9)


@pytest.mark.parametrize(
    "change, why",
    [
        ({"question": LocalLipschitz(LinfBall(0.4)).describe()}, "the question is another one"),
        ({"fingerprint": "0" * 16}, "the network is another one"),
        ({"subject": "0" * 16}, "the reference point is another one"),
        ({"functional": "logit 3"}, "the functional is another one"),
        ({"versions": {"lipreg": "0.0.1"}}, "another version proved it (.*lipreg 0.0.1, here"),
        ({"engine": "HiGHS 0.1"}, "another version proved it (HiGHS 0.1, here"),
        ({"tolerances": {"dual_bound": 1e-6}}, "its proof rests on other tolerances"),
        ({"asked": {"seed": 9, "preactivations": ["interval"]}}, "the settings differ"),
        ({"point": 17}, "there is no point 17 here: this run has points 0 to 4"),
        ({"estimator": "fastlip"}, "the estimator fastlip is not in the plan"),
        ({"status": "done"}, "not attain what the record says"),
        ({"witness": [0.0]}, "the witness does not attain"),
        ({"witness": [9.0, 9.0]}, "the witness does not attain"),
        ({"witness": None}, "the witness does not attain"),
    ],
)
def test_records_that_do_not_fit_are_named_and_not_used(
    tmp_path: Path, searched: list[Any], change: dict[str, Any], why: str
) -> None:
    records = saved(whole(), tmp_path)
    changed = [replace(r, **change) if (r.point, r.estimator) == (2, "mip") else r for r in records]
    searched.clear()
    with pytest.warns(
        UserWarning, match=rf"^1 of 20 earlier records is not used, because .*{why.split('(')[0]}"
    ) as told:
        points = audit(NET, PLAN, X, Y, earlier=changed)
    assert ("(at point 2)" in str(told[0].message)) == ("point" not in change)
    assert [point for point, _ in searched] == [2]
    assert points[2].combined.certificate is Certificate.EXACT


def test_a_witness_is_evaluated_anew(tmp_path: Path) -> None:
    """A lower end that the network does not attain is not believed, however the record says it."""
    records = saved(whole(), tmp_path)
    lying = [replace(r, lower=1.01 * r.lower, upper=1.01 * r.upper) if r.estimator == "mip" else r for r in records]
    with pytest.warns(UserWarning, match="5 of 20 earlier records are not used, because the witness does not attain"):
        points = audit(NET, PLAN, X, Y, earlier=lying)
    for p in points:
        assert p.combined.lower <= truth(p.point) * (1 + 1e-9)
        assert not next(r for r in p.records("run", 3) if r.estimator == "mip").resumed


def test_a_witness_that_shows_more_than_its_record_is_as_good(tmp_path: Path, searched: list[Any]) -> None:
    """As where a record was written with little time for digits."""
    records = saved(whole(), tmp_path)
    less = [replace(r, lower=r.lower * (1 - 1e-7)) if r.estimator == "mip" else r for r in records]
    searched.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = audit(NET, PLAN, X, Y, earlier=less)
    assert not searched
    assert [p.combined.certificate for p in points] == [Certificate.EXACT] * len(points)


def test_records_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    records = saved(whole(), tmp_path)
    wrong = [replace(r, upper=0.5 * r.upper) if r.estimator == "lp" else r for r in records]
    with pytest.raises(CrossingBounds):
        audit(NET, PLAN, X, Y, earlier=wrong)


def test_other_weights_start_from_nothing(tmp_path: Path, searched: list[Any]) -> None:
    records = saved(whole(), tmp_path)
    other = oracles.network("shallow")
    with torch.no_grad():
        other[0].weight += 1e-12
    searched.clear()
    with pytest.warns(UserWarning, match="none of 20 earlier records is used, because the network is another one"):
        points = audit(other, PLAN, X, Y, earlier=records)
    assert len(searched) == 5
    assert not any(p.resumed for p in points)


def test_resuming_in_worker_processes(tmp_path: Path, shared_workers: Processes) -> None:
    problem = LocalLipschitz(LinfBall(0.5), AllLogits())
    plan = AuditPlan(problem, ("mip", "random_points"), 30.0)
    first = audit(NET, plan, X)
    records = [r for r in saved(first, tmp_path) if r.point != 3]
    points = audit(NET, plan, X, earlier=records, executor=shared_workers)
    for one, two in zip(first, points, strict=True):
        assert (one.combined.lower, one.combined.upper) == (two.combined.lower, two.combined.upper)
    assert [bool(p.resumed) for p in points] == [True, True, True, False, True]
    assert math.isfinite(points[3].combined.upper)


def test_it_is_said_which_points_there_are_no_longer(tmp_path: Path) -> None:
    records = saved(whole(), tmp_path)
    with pytest.warns(UserWarning, match="12 of 20 earlier records are not used, because") as told:
        audit(NET, PLAN, X[:2], Y[:2], earlier=records)
    assert "there are no points 2 to 4 here: this run has points 0 to 1" in str(told[0].message)


def lists(*estimators: str, memory: int = 2**28) -> AuditPlan:
    return AuditPlan(PROBLEM, estimators, Budget(60.0, memory=memory), attack=None)


def run(plan: AuditPlan, number: int, earlier: list[AuditRecord]) -> tuple[PointAudit, list[AuditRecord]]:
    """One run of several on one file, of the first point: what it proved, and the file behind it."""
    (point,) = audit(NET, plan, X[:1], Y[:1], earlier=earlier, on_unused=lambda words: None)
    return point, [*earlier, *point.records("run", 0, run_id=str(number))]


def lower_ends_of(records: list[AuditRecord], upper: float) -> list[AuditRecord]:
    """As if the last run's mixing had ended for want of memory with so small a bound of another method."""
    return [replace(r, upper=upper, families=[]) if r.estimator in ("mixing", COMBINED) else r for r in records]


@pytest.mark.parametrize(
    "second, third",
    [
        (("mixing",), ("mixing",)),
        (("mixing", "affine_relu"), ("mixing",)),
        (("affine_relu",), ("mixing", "affine_relu")),
        (("mixing", "fastlip"), ("fastlip", "mixing", "affine_relu")),
    ],
)
def test_what_one_of_three_runs_proved_is_not_lost(second: tuple[str, ...], third: tuple[str, ...]) -> None:
    """The first run's bound stood in for a method that the second one did itself: its own is larger."""
    first, records = run(lists("mixing", memory=64), 1, [])
    assert first.intervals["mixing"].status is Status.MEMORY_LIMIT
    low = 0.6 * first.combined.upper
    records = lower_ends_of(records, low)
    point, records = run(lists(*second), 2, records)
    if "mixing" in second:
        assert point.combined.upper == low < point.intervals["mixing"].upper
    point, records = run(lists(*third), 3, records)
    assert point.combined.upper == low and COMBINED in point.resumed
    assert point.intervals["mixing"].status is Status.BOUNDED and point.intervals["mixing"].upper > low


def test_what_all_together_proved_counts_where_nothing_of_its_run_is_doubted() -> None:
    """The second run's records alone: only that of all together has the smaller end."""
    _, records = run(lists("mixing", memory=64), 1, [])
    low = 0.6 * next(r.upper for r in records if r.estimator == COMBINED)
    _, both = run(lists("mixing"), 2, lower_ends_of(records, low))
    alone = [r for r in both if r.run_id == "2"]
    assert [r.estimator for r in alone if r.upper == low] == [COMBINED]
    assert run(lists("mixing"), 3, alone)[0].combined.upper == low
    doubted = [
        [replace(r, engine="HiGHS 0.1") if r.estimator == "mixing" else r for r in alone],
        [replace(r, tolerances={"exact": 1e-3}) if r.estimator == COMBINED else r for r in alone],
        [replace(r, versions={"lipreg": "0.0.1"}) if r.estimator == COMBINED else r for r in alone],
    ]
    for records in doubted:
        assert run(lists("mixing"), 3, records)[0].combined.upper > low
    # of a method that this run has not, nothing was checked
    assert run(lists("affine_relu"), 3, alone)[0].combined.upper > low


def test_a_record_that_fits_counts_behind_a_later_one_that_does_not() -> None:
    _, records = run(lists("random_points"), 1, [])
    other = replace(lists("random_points"), settings=Settings(seed=7))
    _, both = run(other, 2, records)
    told: list[str] = []
    (point,) = audit(NET, lists("random_points"), X[:1], Y[:1], earlier=both, on_unused=told.append)
    assert "random_points" in point.resumed and not told
