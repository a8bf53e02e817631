"""What a budget of seconds or memory left out: its status, the words below a table, what is logged, and a second run."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

import lipreg
from lipreg.auditing import COMBINED, AuditPlan, PointAudit, audit
from lipreg.auditing.budget_notes import budget_notes
from lipreg.budget import Budget
from lipreg.callbacks.metrics import summary
from lipreg.outputs import AllMargins, Logit
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord
from lipreg.records.endings import EARLIER, NO_TIME, NOT_BEGUN
from lipreg.records.lines import SCHEMA, from_line, to_line
from lipreg.regions import LinfBall
from lipreg.results import CertifiedInterval, Status
from tests import oracles
from tests.test_budget import Clock

PROBLEM = LocalLipschitz(LinfBall(0.5), AllMargins())
X = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.5, 0.2]], dtype=torch.float64)
Y = torch.tensor([0, 1, 2])
NET = oracles.network("shallow")
SCARCE = 64
"""Bytes, of which any program has more."""


def records(points: list[PointAudit]) -> list[AuditRecord]:
    return [record for point in points for record in point.records("run", 0)]


def spent(*estimators: str, x: torch.Tensor = X, **limits: object) -> list[PointAudit]:
    """An audit at whose clock no second passes, of which there are none."""
    budget = Budget(0.0, clock=Clock(), **limits)  # type: ignore[arg-type]
    return audit(NET, AuditPlan(PROBLEM, estimators, budget, attack=None), x, Y[: len(x)])


def ends(point: PointAudit) -> list[str]:
    return [name for name in point.intervals if name != COMBINED]


@pytest.mark.parametrize("method", ["lp", "deviation", "mixing"])
def test_what_does_not_fit_into_memory_has_a_status_of_its_own(method: str) -> None:
    (found,) = lipreg.certify(NET, PROBLEM, X[:1], Y[:1], estimator=method, budget=Budget(60.0, memory=SCARCE))
    (whole,) = lipreg.certify(NET, PROBLEM, X[:1], Y[:1], estimator=method)
    assert found.status is Status.MEMORY_LIMIT and found.status.cut
    assert ("Budget(memory=" if method == "lp" else "too many to write down in 64 bytes") in found.detail
    assert whole.status is Status.BOUNDED and "too many" not in whole.detail + whole.proof


def test_boxes_that_do_not_fit_into_memory_are_not_split() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    question = LocalLipschitz(LinfBall(0.5), Logit(0))
    (found,) = lipreg.certify(
        net, question, X[:1], estimator="branch_and_bound", budget=Budget(math.inf, nodes=4, memory=SCARCE)
    )
    assert found.status is Status.MEMORY_LIMIT and "are more than 64 bytes" in found.detail
    assert NOT_BEGUN in found.detail


def test_records_keep_the_status_and_their_schema_says_that_it_is_new() -> None:
    (point,) = audit(NET, AuditPlan(PROBLEM, ("lp",), Budget(60.0, memory=SCARCE), attack=None), X[:1], Y[:1])
    lp = next(record for record in records([point]) if record.estimator == "lp")
    line = to_line(lp)
    assert from_line(line) == lp and lp.status == "memory limit" and lp.asked["memory"] == SCARCE
    assert json.loads(line)["schema"] == SCHEMA >= 8
    before = json.loads(line) | {"schema": 7, "status": "time limit"}
    assert from_line(json.dumps(before)) == replace(lp, status="time limit")
    assert point.combined.status is Status.MEMORY_LIMIT


def test_more_memory_goes_on_where_less_did_not_begin() -> None:
    def proved(memory: int, earlier: list[AuditRecord]) -> list[PointAudit]:
        plan = AuditPlan(PROBLEM, ("lp",), Budget(60.0, memory=memory), attack=None)
        return audit(NET, plan, X[:1], Y[:1], earlier=earlier)

    first = proved(SCARCE, [])
    (again,) = proved(SCARCE, records(first))
    assert again.intervals["lp"].status is Status.MEMORY_LIMIT and again.intervals["lp"].detail.startswith(EARLIER)
    assert budget_notes([again]) == [], "this audit has not asked for it"
    (more,) = proved(2**28, records(first))
    assert more.intervals["lp"].status is Status.BOUNDED and more.intervals["lp"].upper < first[0].intervals["lp"].upper


def test_the_engine_says_how_a_point_ended_and_the_others_are_heard_too() -> None:
    """Where a relaxation had no memory after a search had no more nodes, the status is the search's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    x, y = torch.zeros(1, 4, dtype=torch.float64), Y[:1]
    question = LocalLipschitz(LinfBall(2.0), AllMargins())
    (found,) = lipreg.certify(net, question, x, y, budget=Budget(math.inf, nodes=1, memory=500))
    assert found.status is Status.NODE_LIMIT and "nothing was built" in found.detail and " nodes" in found.detail


def test_every_method_is_in_one_line_below_the_table() -> None:
    points = spent("affine_relu", "mixing", "lp", "branch_and_bound", x=X)
    notes = budget_notes(points)
    counts = Counter({name: int(count) for line in notes for name, count in re.findall(r"(\w+) at (\d+) point", line)})
    assert {"lp", "branch_and_bound"} <= set(counts) and COMBINED not in counts
    assert max(counts.values()) == len(X), notes
    short = {name for point in points for name in ends(point) if point.intervals[name].status is Status.TIME_LIMIT}
    assert set(counts) == short
    assert any(line.startswith("left out") for line in notes) or any(line.startswith("cut short") for line in notes)


def test_what_failed_and_what_had_no_memory_are_named_below_the_table() -> None:
    (point,) = spent("mixing", "lp", x=X[:1])

    def ended(status: Status, detail: str) -> PointAudit:
        return replace(point, intervals={**point.intervals, "lp": replace(whole, status=status, detail=detail)})

    whole = point.intervals["lp"]
    lines = [
        next(line for line in budget_notes([ended(status, detail)]) if "lp" in line)
        for status, detail in (
            (Status.FAILED, "it broke"),
            (Status.MEMORY_LIMIT, "too many"),
            (Status.TIME_LIMIT, NO_TIME),
            (Status.TIME_LIMIT, "1 of 2"),
        )
    ]
    beginnings = [line.split(":")[0] for line in lines]
    assert beginnings == [
        "failed",
        "not begun for want of memory",
        "left out for want of time",
        "cut short for want of time",
    ]


def test_nothing_is_logged_of_a_search_that_was_not_begun() -> None:
    points = spent("affine_relu", "branch_and_bound", x=X)
    told = summary(points)
    assert not {"audit/branch_and_bound_lower", "audit/branch_and_bound_upper"} & set(told)
    assert told["audit/branch_and_bound_points"] == 0.0 and "audit/combined_upper" in told
    (done,) = audit(NET, AuditPlan(PROBLEM, ("affine_relu", "branch_and_bound"), Budget(60.0)), X[:1], Y[:1])
    told = summary([done, *points[1:]])
    mean = done.intervals["branch_and_bound"]
    assert told["audit/branch_and_bound_points"] == 1.0
    assert told["audit/branch_and_bound_lower"] == pytest.approx(mean.lower, rel=1e-6) and mean.lower > 0


def test_a_second_run_does_not_say_that_it_was_the_one_which_had_no_time() -> None:
    """Settled points ask nothing more: what the first run left unfinished is said to be of that."""
    plan = AuditPlan(PROBLEM, ("lp", "branch_and_bound"), Budget(60.0), attack=None)
    whole = audit(NET, plan, X[:1], Y[:1])
    cut = [
        replace(r, status="time limit", detail="There was time for 0 of 2 programs") if r.estimator == "lp" else r
        for r in records(whole)
    ]
    (second,) = audit(NET, plan, X[:1], Y[:1], earlier=cut)
    lp: CertifiedInterval = second.intervals["lp"]
    assert lp.detail == f"{EARLIER}: There was time for 0 of 2 programs" and budget_notes([second]) == []
    (third,) = audit(NET, plan, X[:1], Y[:1], earlier=records([second]))
    assert third.intervals["lp"].detail == lp.detail, "said once"


def test_a_comparison_names_the_bound_that_stands_in_for_one_without_time() -> None:
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3)).double() for _ in range(2))
    compared = lipreg.compare(one, two, PROBLEM, X, Y, budget=Budget(0.0, clock=Clock()), estimators=("lp",))
    names = {point.closed_by for side in (compared.regularised, compared.twin) for point in side.points}
    assert names and "lp" not in names, names


def test_a_bound_that_is_done_replaces_one_that_was_cut_whatever_cut_it() -> None:
    """The number of the cut one was another method's; the point keeps it, and the method does not."""

    def proved(budget: Budget, earlier: list[AuditRecord]) -> PointAudit:
        (point,) = audit(NET, AuditPlan(PROBLEM, ("mixing",), budget, attack=None), X[:1], Y[:1], earlier=earlier)
        return point

    own, short = proved(Budget(60.0), []), proved(Budget(60.0, memory=SCARCE), [])
    low = 0.5 * own.intervals["mixing"].upper
    assert short.intervals["mixing"].proof != own.intervals["mixing"].proof
    for status in (Status.MEMORY_LIMIT, Status.TIME_LIMIT, Status.INTERRUPTED, Status.FAILED):
        cut = [
            replace(r, upper=low, families=[], status=status.value) for r in records([short]) if r.estimator != COMBINED
        ]
        again = proved(Budget(60.0), cut)
        mixing, whole = again.intervals["mixing"], own.intervals["mixing"]
        assert (mixing.upper, mixing.proof, mixing.status) == (whole.upper, whole.proof, Status.BOUNDED)
        assert not mixing.detail.startswith(EARLIER)
        assert (again.combined.upper, again.combined.status) == (
            low,
            Status.BOUNDED,
        ) and again.combined.detail.startswith(EARLIER)


def test_where_an_earlier_run_proved_more_its_words_stand_beside_its_number() -> None:
    (first,) = spent("affine_relu", "lp", x=X[:1])
    words = "There was time for 1 of 2 programs"
    for status in (Status.TIME_LIMIT, Status.INTERRUPTED):
        less = (
            0.5 * first.intervals["lp"].upper
            if math.isfinite(first.intervals["lp"].upper)
            else first.combined.upper / 2
        )
        better = [
            replace(r, upper=less, proof="LP", status=status.value, detail=words, families=[])
            for r in records([first])
            if r.estimator == "lp"
        ]
        plan = AuditPlan(PROBLEM, ("affine_relu", "lp"), Budget(0.0, clock=Clock()), attack=None)
        (second,) = audit(NET, plan, X[:1], Y[:1], earlier=better)
        lp = second.intervals["lp"]
        assert (lp.upper, lp.proof, lp.status, lp.detail) == (less, "LP", status, f"{EARLIER}: {words}")


def test_a_point_lacked_time_where_one_method_did_and_another_lacked_memory() -> None:
    (point,) = spent("mixing", "lp", x=X[:1])
    mixing = replace(point.intervals["mixing"], status=Status.MEMORY_LIMIT, detail="too many")
    late = replace(point.intervals["lp"], status=Status.TIME_LIMIT, detail=NO_TIME)
    bare = replace(point, intervals={COMBINED: point.combined})
    joined = bare.joined("mixing", mixing, 0.0)
    assert joined.combined.status is Status.MEMORY_LIMIT
    joined = joined.joined("lp", late, 0.0)
    assert joined.combined.status is Status.TIME_LIMIT and "too many" in joined.combined.detail


def test_a_search_that_was_not_begun_again_keeps_the_words_of_the_one_that_ran() -> None:
    name, (idle,) = "branch_and_bound", spent("affine_relu", "branch_and_bound", x=X[:1])
    unbegun = replace(idle.combined, status=Status.TIME_LIMIT, detail=f"0 programs, 0 nodes. {NOT_BEGUN}: no time")
    once = idle.joined(name, unbegun, 0.0)
    assert not once.searched(name) and "audit/branch_and_bound_upper" not in summary([once])
    ran = replace(
        unbegun, upper=0.5 * (unbegun.lower + unbegun.upper), detail="10 nodes", proof="branch and bound", families=()
    )
    again = once.joined(name, ran, 0.0).joined(name, replace(ran, detail=unbegun.detail), 0.0)
    assert again.intervals[name].detail == "10 nodes" and again.searched(name)
    assert budget_notes([again]) == [], "it ran, and the table has its status"


def test_a_witness_keeps_the_words_of_the_run_that_found_it() -> None:
    (first,) = spent("sampling", x=X[:1])
    found = replace(first.intervals["sampling"], detail="8 points")
    before = replace(first, intervals={COMBINED: first.combined, "sampling": found})
    assert found.witness is not None
    half = 0.5 * found.lower
    less = replace(found, lower=half, detail="1 point", witness=replace(found.witness, attained=half))
    assert before.joined("sampling", less, 0.0).intervals["sampling"].detail == "8 points"
