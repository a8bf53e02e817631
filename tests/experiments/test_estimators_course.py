"""One question in worker processes: every estimator against enumeration, failures as answers, and going on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.estimators import course
from experiments.estimators.course import Effort, measure
from experiments.estimators.networks import Subject
from experiments.estimators.questions import Question, refusal
from experiments.estimators.tightness import cell_frame, rows_of, summary_frame
from lipreg.auditing import Processes, processes
from lipreg.errors import CrossingBounds
from lipreg.estimators import ESTIMATORS, Estimator
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, RecordFile, read_records
from lipreg.regions import L2Ball, LinfBall
from tests.auditing import cases

POINTS = 3
SUBJECT = Subject("shallow", cases.NET, cases.X[:POINTS], cases.Y[:POINTS], {"hidden layers": 1})


@pytest.fixture(scope="module")
def process() -> Any:
    with Processes(1) as started:
        yield started


def question(problem: LocalLipschitz = cases.PROBLEM, names: Any = None) -> Question:
    asked = [ESTIMATORS[name] for name in names or ESTIMATORS]
    refused = {e.name: text for e in asked if (text := refusal(e, problem))}
    return Question(SUBJECT, problem, tuple(e.name for e in asked if e.name not in refused), refused)


def measured(
    path: Path, process: Processes, asked: Question, budget: float = 20.0, again: tuple[str, ...] = ()
) -> list[AuditRecord]:
    """The cells as they are told while they come."""
    told: list[AuditRecord] = []
    file = RecordFile(path)
    earlier = [r for r in read_records(path) if isinstance(r, AuditRecord)]
    measure(asked, Effort(budget, 0, "highs", again), process, file, earlier, told.append)
    return told


def known_as(monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Estimator]) -> str:
    monkeypatch.setattr(kind, "name", name, raising=False)
    monkeypatch.setitem(ESTIMATORS, name, kind())
    return name


MISBEHAVING = {
    "killed": (cases.Killed, "failed", "SIGKILL"),
    "exhausted": (cases.Exhausted, "failed", "MemoryError: no more"),
    "hangs": (cases.Hangs, "time limit", "its process was ended"),
}


def test_every_estimator_and_those_that_fail(
    tmp_path: Path, process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds enclose what enumeration says, and a crash, an error and a hang cost one cell each."""
    for name, (kind, _, _) in MISBEHAVING.items():
        known_as(monkeypatch, name, kind)
    asked = question()
    # a crash must have the time to happen on a busy machine, and the hang ends by its limit alone
    others = replace(asked, able=tuple(name for name in asked.able if name != "hangs"))
    told = measured(tmp_path / "cells.jsonl", process, others, budget=600.0)
    monkeypatch.setattr(processes, "GRACE", 1.0)
    told += measured(tmp_path / "cells.jsonl", process, replace(asked, able=("hangs",)), budget=3.0)
    assert len(told) == POINTS * len(asked.able) == len({(r.point, r.estimator) for r in told})
    records = read_records(tmp_path / "cells.jsonl")
    rows = rows_of(cell_frame(records))
    for row in rows:
        exact = cases.truth(row["point"])
        assert row["lower"] <= exact * (1 + 1e-9) and row["upper"] >= exact * (1 - 1e-9), row["estimator"]
        assert row["truth_upper"] == pytest.approx(exact, rel=1e-5) and row["exact"]
        if row["estimator"] not in MISBEHAVING and row["certificate"] in ("upper", "exact"):
            assert row["ratio"] == pytest.approx(row["upper"] / exact, rel=1e-5) and row["status"] != "failed"
    for name, (_, status, says) in MISBEHAVING.items():
        cells = {r.point: r for r in told if r.estimator == name}
        assert [cells[0].upper, cells[2].upper] == [1e3, 1e3]
        lost = cells[1]
        assert (lost.lower, lost.upper, lost.status) == (0.0, math.inf, status) and says in lost.detail
    summary = {row["estimator"]: row for row in rows_of(summary_frame(records))}
    assert summary.keys() == set(ESTIMATORS), "who refuses is listed too"
    assert summary["killed"]["answers"] == 2 and "SIGKILL" in summary["killed"]["remark"]
    assert summary["hangs"]["cut"] == 1
    assert "scope 'regional' is not covered" in summary["mip_pointed"]["remark"]


def test_finished_cells_are_not_measured_again(
    tmp_path: Path, process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "cells.jsonl", question(names=["fastlip", "branch_and_bound", "sampling"])
    first = measured(path, process, asked)
    lines = path.read_text().count("audit")
    monkeypatch.setattr(course, "done", lambda *_: pytest.fail("nothing is left to do"))
    again = measured(path, process, asked)
    key = [(r.point, r.estimator, r.lower, r.upper) for r in first]
    assert sorted((r.point, r.estimator, r.lower, r.upper) for r in again) == sorted(key)
    assert path.read_text().count("audit") == lines
    monkeypatch.undo()
    more = question(names=["fastlip", "branch_and_bound", "sampling", "spectral"])
    told = measured(path, process, more, again=("fastlip",))
    assert len(told) == 4 * POINTS
    written = [r for r in read_records(path) if isinstance(r, AuditRecord)]
    counts = {name: sum(r.estimator == name for r in written) for name in more.able}
    assert counts == {"fastlip": 2 * POINTS, "branch_and_bound": POINTS, "sampling": POINTS, "spectral": POINTS}


def test_another_budget_measures_what_a_limit_had_ended(
    tmp_path: Path, process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(names=[known_as(monkeypatch, "waits", cases.Waits), "spectral"])
    path = tmp_path / "cells.jsonl"
    assert {r.status for r in measured(path, process, asked, budget=0.1)} == {"bounded", "time limit"}
    measured(path, process, asked, budget=0.1)
    measured(path, process, asked, budget=0.2)
    written = [r for r in read_records(path) if isinstance(r, AuditRecord)]
    assert [r.asked["budget"] for r in written if r.estimator == "waits"] == [0.1] * POINTS + [0.2] * POINTS
    assert len([r for r in written if r.estimator == "spectral"]) == POINTS


def test_a_contradiction_is_raised_and_names_the_estimator(
    tmp_path: Path, process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(names=["sampling", known_as(monkeypatch, "wrong", cases.Wrong)])
    with pytest.raises(CrossingBounds, match="'wrong' against sampling at point 1 of shallow"):
        measured(tmp_path / "cells.jsonl", process, asked)
    with pytest.raises(CrossingBounds, match=r"sampling proves at least .* wrong at most 0\.001"):
        cell_frame(read_records(tmp_path / "cells.jsonl"))


def test_a_question_that_all_refuse(tmp_path: Path, process: Processes) -> None:
    asked = question(LocalLipschitz(L2Ball(0.5), AllMargins()), ["mip", "lp"])
    assert measured(tmp_path / "cells.jsonl", process, asked) == []
    (first, second) = rows_of(summary_frame(read_records(tmp_path / "cells.jsonl")))
    assert {first["certificate"], second["certificate"]} == {"refused"} and "p=2 is not covered" in first["remark"]


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_refusals_say_what_is_covered(scope: Any) -> None:
    problem = LocalLipschitz(LinfBall(0.1), AllMargins(), scope, p=2.0)
    for name, estimator in ESTIMATORS.items():
        text = refusal(estimator, problem)
        assert bool(text) == (estimator.uncovered(problem) is not None), name
        assert not text or "is not covered; it covers" in text
