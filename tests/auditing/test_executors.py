"""Executors by name, with their options, as objects; and one of somebody's own."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lipreg.auditing import (
    EXECUTORS,
    AuditPlan,
    Executing,
    Executor,
    Inline,
    Processes,
    audit,
    get_executor,
    register_executor,
)
from lipreg.auditing.tasks import Assignment, Event, Task, TaskAnswer, perform
from lipreg.errors import InvalidInput
from tests.auditing.cases import NET, PROBLEM, X, Y
from tests.auditing.test_processes import without_seconds


@pytest.mark.parametrize(
    "given, kind, slots",
    [
        (None, Inline, 1),
        ("inline", Inline, 1),
        ({"kind": "inline"}, Inline, 1),
        ({"kind": "processes", "count": 3}, Processes, 3),
        (Processes(3), Processes, 3),
    ],
    ids=str,
)
def test_names_options_and_objects_mean_the_same(given: Executing | None, kind: type[Executor], slots: int) -> None:
    found = get_executor(given)
    assert type(found) is kind and found.slots == slots
    assert (found is given) == isinstance(given, Executor)


@pytest.mark.parametrize(
    "given, says",
    [
        ("slurm", "slurm.*inline, processes, ray"),
        (2, r"executor=2.*Processes\(4\)"),
        ({"count": 2}, "executor=.*'processes'"),
        ({"kind": "processes", "number": 2}, "unknown option 'number'.*count"),
        ({"kind": "inline", "count": 2}, "unknown option 'count'"),
    ],
    ids=str,
)
def test_what_cannot_be_meant(given: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X, Y, executor=given)


def test_a_copy_has_the_options_and_nothing_that_runs() -> None:
    with Processes(1) as executor:
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X[:1], Y[:1], executor=executor)
        copy = pickle.loads(pickle.dumps(executor))
        assert executor._processes and not copy._processes and copy.count == 1
    assert not executor._processes


@pytest.fixture
def threads() -> Iterator[type[Executor]]:
    """Somebody's own executor: a thread for each task."""

    @register_executor("threads")
    @dataclass(eq=False)
    class Threads(Executor):
        count: int = 2

        def __post_init__(self) -> None:
            self.slots, self.events, self.alive, self.closed = self.count, [], 0, 0
            self.changed = threading.Condition()

        def begin(self, assignment: Assignment, stop: threading.Event) -> None:
            self.assignment, self.asked_to_stop = assignment, stop

        def free(self) -> int:
            return self.slots - self.alive

        def running(self) -> int:
            return self.alive

        def submit(self, task: Task) -> None:
            self.alive += 1
            threading.Thread(target=self._do, args=(task,), daemon=True).start()

        def _do(self, task: Task) -> None:
            for event in perform(self.assignment, task, self.asked_to_stop):
                with self.changed:
                    self.events.append(event)
                    self.changed.notify()

        def collect(self, timeout: float) -> list[Event]:
            with self.changed:
                self.changed.wait_for(lambda: self.events, timeout)
                found, self.events = self.events, []
            self.alive -= sum(not isinstance(event, TaskAnswer) for event in found)
            return found

        def stop(self) -> None:
            self.asked_to_stop.set()

        def end(self) -> None:
            pass

        def kill(self) -> bool:
            return False

        def close(self) -> None:
            self.closed += 1

    yield Threads
    del EXECUTORS["threads"]


def test_an_executor_of_ones_own_gives_the_same_results(threads: type[Any]) -> None:
    plan = AuditPlan(PROBLEM, ("affine_relu", "sampling", "branch_and_bound"))
    wanted = without_seconds(audit(NET, plan, X, Y))
    assert without_seconds(audit(NET, plan, X, Y, executor={"kind": "threads", "count": 3})) == wanted
    own = threads()
    assert without_seconds(audit(NET, plan, X, Y, executor=own)) == wanted
    assert own.closed == 0  # whoever made it closes it


def test_names_are_taken_once(threads: type[Any]) -> None:
    with pytest.raises(InvalidInput, match="name belongs to"):
        register_executor("threads")(Inline)
