"""What never ends, or brings nothing: the checks end all the same, and say what they waited for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lipreg.auditing import EXECUTORS, Inline, register_executor
from lipreg.auditing.tasks import Assignment, Event
from lipreg.budget import Budget
from lipreg.milp import SOLVERS, Found, Highs, Options, Program, get_solver, register_solver
from lipreg.results import Status
from lipreg.testing import CheckFailed, check_executor, check_solver, executors, solving
from lipreg.testing.programs import knapsack
from tests.conformance.test_lying_solvers import Liar


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    known: list[dict[Any, Any]] = [EXECUTORS, SOLVERS]
    before = [dict(each) for each in known]
    yield
    for each, old in zip(known, before, strict=True):
        each.clear()
        each.update(old)


# ---------------------------------------------------------------- solvers


class Endless(Liar):
    """Hears neither its limit nor a stop."""

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        if len(program.integer) > 10:
            threading.Event().wait()
        return Highs().run(program, budget, options)


@pytest.mark.parametrize(
    ("aspect", "says"),
    [
        ("time", "not over 0.5 s after its limit of 0.6 s; run has to look at budget.seconds_left and at budget.stop"),
        ("stops", "not over 0.5 s after a stop; run has to look"),
        ("ctrl-c", "Ctrl-C after [0-9]+ s of 60; budget.stop is set by it"),
    ],
)
def test_a_solver_that_never_ends_is_named(aspect: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "PATIENCE", 0.5)
    register_solver("endless")(Endless)
    with pytest.raises(CheckFailed, match=f"^{aspect}: endless: .*{says}"):
        check_solver("endless", aspects=[aspect])


class WithoutHeuristics(Liar):
    """Has no point where its time is over."""

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        found = Highs().run(program, budget, options)
        return found if found.status is Status.PROVED else dataclasses.replace(found, point=None)


def test_a_solver_without_heuristics_passes() -> None:
    register_solver("plain")(WithoutHeuristics)
    check_solver("plain", aspects=["time"])


class Short(Liar):
    """A point one entry short."""

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        found = Highs().run(program, budget, options)
        return dataclasses.replace(found, point=None if found.point is None else found.point[:-1])


class Silent(Liar):
    """Returns nothing."""

    def run(self, program: Program, budget: Budget, options: Options) -> Any:
        return None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Short, r"a point of shape \(3,\) for 4 columns"),
        (Silent, "run returned None, a NoneType, where a Found is wanted"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(wrong: type[Liar], says: str) -> None:
    register_solver("wrong")(wrong)
    outcome = get_solver("wrong").solve(knapsack(), Budget(5.0))
    assert outcome.status is Status.FAILED and outcome.point is None
    with pytest.raises(CheckFailed, match=f"optima: wrong: .*{says}"):
        check_solver("wrong", aspects=["optima"])


# ---------------------------------------------------------------- executors


class Full(Inline):
    """Never has a place."""

    def free(self) -> int:
        return 0


class Quiet(Inline):
    """Brings nothing, and says that it runs."""

    def collect(self, timeout: float) -> list[Event]:
        return []


class Twice(Inline):
    """Gives each event twice."""

    def collect(self, timeout: float) -> list[Event]:
        return 2 * super().collect(timeout)


class NoList(Inline):
    def collect(self, timeout: float) -> Any:
        super().collect(timeout)


class Stuck(Inline):
    """Is of no use once there are two estimators."""

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        super().begin(assignment, stop)
        if len(assignment.estimators) > 1:
            threading.Event().wait()


class Deaf(Inline):
    """Does not tell its tasks that they are to stop."""

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        super().begin(assignment, threading.Event())

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(
    ("wrong", "aspects", "says"),
    [
        (Full, None, "tasks: 0 free, 0 running at first, where a task has to find a place"),
        (Quiet, None, "tasks: collect has brought nothing for 1 s: 0 free, 1 running, 4 not submitted"),
        (Twice, None, r"tasks: 5 tasks: found \[0, 0, .*where each is wanted once"),
        (NoList, None, "tasks: collect gives None, where a list of events is wanted"),
        (Stuck, None, "results: an audit of 5 points is not over 2 s after its start"),
        (Deaf, ["budgets"], "budgets: an audit of 5 points is not over 6 s after a stop, of which it is told by stop"),
    ],
)
def test_an_executor_that_never_ends_is_named(
    wrong: type[Inline], aspects: list[str] | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "AT_ONCE", 1.0)
    monkeypatch.setattr(executors, "AUDITED", 2.0 if wrong is not Deaf else 6.0)
    register_executor("wrong")(dataclass(eq=False)(wrong))
    with pytest.raises(CheckFailed, match=f"executor 'wrong', {says}"):
        check_executor("wrong", aspects=aspects)
