"""check_executor: whether an audit's tasks are done elsewhere as they are here, and what a fault costs."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch

from lipreg.auditing import AuditPlan, Executing, Executor, PointAudit, audit, get_executor
from lipreg.auditing.tasks import Assignment, Event, Task, TaskAnswer, TaskDone
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds
from lipreg.estimators import frozen_analysis
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from lipreg.testing import networks
from lipreg.testing.failures import CheckFailed, aspects_of, differences, expect, within
from lipreg.testing.faulty import ContradictingEstimator, FailingEstimator, WaitingEstimator, X, registered_as

PROBLEM = LocalLipschitz(LinfBall(0.5), AllMargins())
Y = torch.tensor([0, 1, 2, 0, 1])
AMPLE = 300.0
"""Seconds that suffice on any machine for what takes almost none on an idle one."""
LONGEST = 600.0
"""Seconds in which a check is over."""
AUDITED = 100.0
"""Seconds in which an audit of all points is over, the start of workers included."""
AT_ONCE = 30.0
"""Seconds within which a task is over that has been killed, or one that takes no time."""


def check_executor(executor: Executing, *, aspects: Iterable[str] | None = None) -> None:
    """Checks an executor: it gives the results of ``Inline()``, whatever happens to a task.

    Audits have the same intervals in the same order; an estimator that fails costs its own answer, one that contradicts a
    proof ends the audit with CrossingBounds; a budget, a stop and an error of whoever listens end it, with the points that
    there are; ``kill`` may come from another thread, and has ended what ran where it returns True; after ``end``, which
    gives up what still runs, and ``close`` the next audit starts anew; a copy has the options and nothing that runs. The
    caller who made an object closes it.

    Args:
        executor: an object, a name, or plain data.
        aspects: the names of some checks (``ASPECTS``); None for all of them.

    Raises:
        CheckFailed: it does not pass.
        InvalidInput: there is no such executor.

    Example:
        >>> check_executor("inline", aspects=["results"])
    """
    subject = get_executor(executor)
    try:
        for aspect in aspects_of(aspects, ASPECTS, "check_executor"):
            try:
                within(LONGEST, partial(ASPECTS[aspect], subject), f"not over after {LONGEST:g} s")
            except CheckFailed as error:
                raise CheckFailed(f"executor {subject.name!r}, {aspect}: {error}") from None
            except Exception as error:
                raise CheckFailed(f"executor {subject.name!r}, {aspect}: {type(error).__name__}: {error}") from error
    finally:
        if subject is not executor:
            subject.close()


def _plan(*estimators: str, seconds: float = AMPLE) -> AuditPlan:
    return AuditPlan(PROBLEM, estimators, Budget(seconds))


def _audit(executor: Executor | None, plan: AuditPlan, ends: str = "its start", **given: Any) -> list[PointAudit]:
    stop = given.pop("stop", threading.Event())
    try:
        return within(
            AUDITED,
            lambda: audit(networks.network("shallow"), plan, X, Y, executor=executor, stop=stop, **given),
            f"an audit of {len(X)} points is not over {AUDITED:g} s after {ends}",
        )
    finally:
        stop.set()  # for what is left of it


def _numbers(points: list[PointAudit]) -> list[Any]:
    """All that an audit records, but for seconds."""
    return [replace(record, seconds=0.0) for point in points for record in point.records("run", 0)]


def results(executor: Executor) -> None:
    """The numbers, certificates and words of an audit in this process, in the order of the points, twice."""
    plan = _plan("affine_relu", "random_points", "branch_and_bound", seconds=1e7)  # no share of it decides anything
    here = _numbers(_audit(None, plan))
    for turn in ("first", "second"):
        seen: list[PointAudit] = []
        points = _audit(executor, plan, on_point=seen.append)
        expect([point.point for point in points] == list(range(len(X))), f"points {[point.point for point in points]}")
        expect(seen == points, f"on_point was called with {[point.point for point in seen]}")
        for ours, theirs in zip(_numbers(points), here, strict=True):
            expect(ours == theirs, f"{turn} audit, point {ours.point}, beside inline: {differences(ours, theirs)}")


def tasks(executor: Executor) -> None:
    """A submitted task runs until its last event, TaskDone, has been collected; others find their place meanwhile."""
    plan = _plan("affine_relu")
    methods = plan.methods()
    stop = threading.Event()
    assignment = Assignment(plan, frozen_analysis(networks.network("shallow"), PROBLEM, X, Y), methods)
    executor.begin(assignment, stop)
    free, running = executor.free(), executor.running()
    expect(free >= 1 and running == 0, f"{free} free, {running} running at first, where a task has to find a place")
    events: list[Event] = []
    waiting = [Task(i, i + 1, tuple(methods), AMPLE) for i in range(len(X))]
    last = time.monotonic()
    while waiting or executor.running():
        while waiting and executor.free():
            executor.submit(waiting.pop())
        expect(executor.running() <= executor.slots, f"{executor.running()} running in {executor.slots} slots")
        come = executor.collect(0.2)
        expect(isinstance(come, list), f"collect gives {come!r}, where a list of events is wanted")
        events += come
        last = time.monotonic() if come else last
        state = f"{executor.free()} free, {executor.running()} running, {len(waiting)} not submitted"
        expect(time.monotonic() < last + AT_ONCE, f"collect has brought nothing for {AT_ONCE:g} s: {state}")
    executor.end()
    executor.begin(assignment, stop)
    executor.submit(Task(0, 1, tuple(methods), AMPLE))
    executor.end()
    remaining = executor.running()
    expect(
        remaining == 0,
        f"{remaining} running after end, which gives up what still runs: the next audit would get its answers",
    )
    ended = sorted(event.task.first for event in events if isinstance(event, TaskDone))
    answered = sorted(event.task.first for event in events if isinstance(event, TaskAnswer))
    once = ended == answered == list(range(len(X)))
    expect(once, f"{len(X)} tasks: found {answered}, ended {ended}, where each is wanted once")


def faults(executor: Executor) -> None:
    """An estimator that raises costs its answer at its point; proofs that contradict each other end the audit."""
    with registered_as(FailingEstimator) as name:
        points = _audit(executor, _plan("affine_relu", name))
    for point in points:
        interval = point.intervals[name]
        failed = interval.status is Status.FAILED and "no more" in interval.detail
        expect(
            failed == (point.point == 1), f"an estimator that fails at point 1 says {interval} of point {point.point}"
        )
        expect(point.combined.upper < 1e3, f"point {point.point} has lost the other bound: {point.combined}")
    with registered_as(ContradictingEstimator) as name:
        try:
            _audit(executor, _plan("random_points", name))
        except CrossingBounds:
            return
    expect(False, "two proofs that contradict each other went unnoticed")


def budgets(executor: Executor) -> None:
    """A budget and a stop end the audit; every point has an answer, the cheap ones at least."""
    with registered_as(WaitingEstimator) as name:
        began = time.monotonic()
        points = _audit(executor, _plan("affine_relu", name, seconds=1.0))
        _all_there(points, time.monotonic() - began, "a budget of one second")
        stop = threading.Event()
        timer = threading.Timer(1.0, stop.set)
        timer.start()
        began = time.monotonic()
        points = _audit(executor, _plan("affine_relu", name), "a stop, of which it is told by stop()", stop=stop)
        _all_there(points, time.monotonic() - began, "a stop after one second")
        timer.cancel()


def _all_there(points: list[PointAudit], seconds: float, description: str) -> None:
    expect(seconds < AMPLE / 2, f"{description}: {seconds:.0f} s")
    bounded = [point.combined.upper < 1e3 for point in points]
    expect(len(bounded) == len(X) and all(bounded), f"{description}: {[point.combined for point in points]}")


def listeners(executor: Executor) -> None:
    """An error of whoever listens is raised, and the next audit is like any other."""

    def refuse(point: PointAudit) -> None:
        raise KeyError("enough")

    plan = _plan("affine_relu", "lp")
    try:
        _audit(executor, plan, on_point=refuse)
    except KeyError:
        expect(
            _numbers(_audit(executor, plan)) == _numbers(_audit(None, plan)), "other results after a listener's error"
        )
        return
    expect(False, "a listener's error is lost")


def kills(executor: Executor) -> None:
    """A stop has its effect; ``kill`` from another thread returns whether it could; the audit ends with all points."""
    outcomes: list[Any] = []
    stop = threading.Event()

    def run() -> None:
        try:
            outcomes.append(_audit(executor, _plan("affine_relu", name), stop=stop))
        except BaseException as error:
            outcomes.append(error)

    with registered_as(WaitingEstimator) as name:
        _ends_what_runs(executor, name, threading.Event.set, "after stop a task that waits for it is not over")
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        time.sleep(1.0)
        could = executor.kill()
        stop.set()
        thread.join(AUDITED)
        expect(isinstance(could, bool), f"kill gives {could!r}")
        expect(not thread.is_alive(), "an audit does not end after kill and a stop")
        expect(isinstance(outcomes[0], list) and len(outcomes[0]) == len(X), f"after kill and a stop: {outcomes[0]!r}")
        if could:
            message = "kill gives True, and a task that ran is not over"
            _ends_what_runs(executor, name, lambda stop: executor.kill(), message)


def _ends_what_runs(executor: Executor, waits: str, how: Callable[[threading.Event], object], message: str) -> None:
    """A task that has begun is over once it is killed, without a stop, and once it is stopped."""
    plan, stop, began = _plan("affine_relu", waits), threading.Event(), WaitingEstimator.began
    methods, task = plan.methods(), Task(0, 1, tuple(plan.recipes), AMPLE)
    over, given_up, failed = threading.Event(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            executor.begin(Assignment(plan, frozen_analysis(networks.network("shallow"), PROBLEM, X, Y), methods), stop)
            executor.submit(task)
            stopped = False
            while executor.running():
                if stop.is_set() and not stopped:
                    executor.stop()
                    stopped = True
                if any(isinstance(event, TaskAnswer) for event in executor.collect(0.2)):
                    began.set()  # elsewhere: the first of its two estimators has answered
                if given_up.is_set():
                    break
            else:
                over.set()
            executor.end()
        except BaseException as error:
            failed.append(error)

    began.clear()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    began.wait(AT_ONCE)
    how(stop)
    ended = over.wait(AT_ONCE)
    given_up.set()
    stop.set()
    if ended or failed:
        thread.join(AUDITED)
    expect(not failed, f"after kill or stop: {failed}")
    expect(ended, f"{message} {AT_ONCE:g} s later")


def closing(executor: Executor) -> None:
    """It can be closed twice, and starts anew for the next audit."""
    plan = _plan("affine_relu")
    executor.close()
    executor.close()
    expect(_numbers(_audit(executor, plan)) == _numbers(_audit(None, plan)), "other results after close")


def copies(executor: Executor) -> None:
    """A copy, and plain data, have the options and do the same."""
    options = {field.name: getattr(executor, field.name) for field in fields(executor) if field.init}  # type: ignore[arg-type]
    for copy in (pickle.loads(pickle.dumps(executor)), get_executor({"kind": executor.name, **options})):
        same = type(copy) is type(executor) and copy.slots == executor.slots
        copied: Mapping[str, Any] = {name: getattr(copy, name) for name in options}
        expect(
            same and copied == options,
            f"a copy has {copied} and {copy.slots} slots, not {options} and {executor.slots}",
        )
        with copy:
            expect(copy.running() == 0, "something runs in a copy")


ASPECTS: dict[str, Callable[[Executor], None]] = {
    "tasks": tasks,
    "results": results,
    "faults": faults,
    "budgets": budgets,
    "listeners": listeners,
    "kills": kills,
    "copies": copies,
    "closing": closing,
}
"""What is checked of an executor, one after the other."""
