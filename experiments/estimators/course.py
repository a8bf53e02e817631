"""One question in worker processes, a cell for each estimator and reference point; finished cells are kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.estimators.questions import Question
from lipreg.auditing import COMBINED, AuditPlan, Executor, PointAudit
from lipreg.auditing.points import begin
from lipreg.auditing.resume import with_earlier
from lipreg.auditing.tasks import Assignment, Contradiction, Event, Task, TaskAnswer, TaskLost
from lipreg.budget import UNLIMITED, Budget
from lipreg.errors import CrossingBounds
from lipreg.estimators import Bound, frozen_analysis
from lipreg.estimators.settings import Settings
from lipreg.records import AuditRecord, RecordFile, RunRecord
from lipreg.results import CertifiedInterval, Status

UNFINISHED = (Status.TIME_LIMIT, Status.INTERRUPTED, Status.FAILED)
"""How cells end that another budget may change."""


@dataclass(frozen=True)
class Effort:
    """What a cell may spend.

    Attributes:
        budget: seconds of wall-clock time; a process that overruns it by more than a few seconds is ended.
        seed: of every random choice.
        solver: of the programs.
        again: estimators whose kept cells do not count.
        sdp_solver: of the semidefinite programs; None for none.
    """

    budget: float
    seed: int
    solver: str
    again: tuple[str, ...] = ()
    sdp_solver: str | None = None


def measure(
    question: Question,
    effort: Effort,
    executor: Executor,
    file: RecordFile,
    earlier: Iterable[AuditRecord],
    on_cell: Callable[[AuditRecord], None],
) -> None:
    """Has every estimator answer at every point, and appends each answer to ``file`` when it comes.

    Every estimator works from all pre-activation methods that fit the network, so that methods are compared and not what
    they start from; the tables name them without saying it each time.

    An estimator that raises, crashes or does not end is an answer too: the ends it would have without any work, and a
    status and a line that say why.

    Args:
        earlier: records of a run that was cut short.
        on_cell: called with each cell, those that are not redone first.

    Raises:
        CrossingBounds: two estimators contradict each other. Both cells have been kept.
    """
    subject, problem = question.subject, question.problem
    facts: dict[str, Any] = {
        "about": subject.about,
        "output": problem.output.phrase(),
        "sizes": subject.sizes,
        "refused": question.refused,
    }
    if not question.able:
        file.append(RunRecord(subject.name, question=problem.describe(), sentence=problem.sentence(), settings=facts))
        return
    label = {name: Bound(name, "all").label for name in question.able}
    recipes = [Bound(name, "all") for name in question.able]
    plan = AuditPlan(
        problem, recipes, Budget(effort.budget), Settings(effort.solver, effort.sdp_solver, seed=effort.seed)
    )
    analysis = frozen_analysis(subject.network, problem, subject.x, subject.y)
    blank = begin(analysis, subject.y, plan, UNLIMITED)
    saved = [replace(record, estimator=label[record.estimator]) for record in kept(question, effort, earlier)]
    points = with_earlier(blank, analysis, saved)
    facts["undecided"] = float(analysis.unstable_units().double().mean())
    file.append(RunRecord(subject.name, question=problem.describe(), sentence=problem.sentence(), settings=facts))
    for point in points:
        for record in point.records(subject.name, 0):
            if record.estimator in point.resumed and record.estimator != COMBINED:
                on_cell(replace(record, estimator=record.recipe["estimator"]))

    def enter(index: int, name: str, interval: CertifiedInterval, seconds: float) -> None:
        alone = blank[index].joined(label[name], interval, seconds)
        (record,) = (r for r in alone.records(subject.name, 0) if r.estimator == label[name])
        record = replace(record, estimator=name)
        file.append(record)
        on_cell(record)
        points[index] = together(points[index], label[name], interval, subject.name)

    tasks = [
        Task(i, i + 1, (label[name],), effort.budget)
        for name in question.able
        for i, point in enumerate(points)
        if label[name] not in point.resumed
    ]
    if tasks:
        assignment = Assignment(plan, analysis, plan.methods())
        names = {own: name for name, own in label.items()}
        for event, seconds in done(assignment, tasks, executor):
            match event:
                case TaskAnswer(task, own, (interval,), _, cpu_seconds):
                    enter(task.first, names[own], interval, cpu_seconds)
                case TaskLost(task, status, reason):
                    (own,) = task.estimators
                    nothing = blank[task.first].without_answer(own, status, reason).intervals[own]
                    enter(task.first, names[own], nothing, seconds)
                case Contradiction(_, error):
                    raise error


def done(assignment: Assignment, tasks: Sequence[Task], executor: Executor) -> Iterable[tuple[Event, float]]:
    """Does the tasks; gives what happens as it happens, with the wall-clock seconds since its task was handed out."""
    waiting, handed_out = list(tasks), {}
    executor.begin(assignment, threading.Event())
    try:
        while waiting or executor.running():
            while waiting and executor.free():
                task = waiting.pop(0)
                handed_out[task] = time.monotonic()
                executor.submit(task)
            for event in executor.collect(0.5):
                yield event, time.monotonic() - handed_out[event.task]
    finally:
        executor.end()


def kept(question: Question, effort: Effort, earlier: Iterable[AuditRecord]) -> list[AuditRecord]:
    """The records of this question that need not be made again."""
    asked, name = question.problem.describe(), question.subject.name
    mine = [r for r in earlier if r.run == name and r.question == asked and r.estimator in question.able]
    last = {(r.point, r.estimator): r for r in mine if r.estimator not in effort.again}
    ended_early = tuple(status.value for status in UNFINISHED)
    return [r for r in last.values() if r.asked["budget"] == effort.budget or r.status not in ended_early]


def together(point: PointAudit, name: str, interval: CertifiedInterval, network: str) -> PointAudit:
    """What is known at a point with one more answer.

    Raises:
        CrossingBounds: it contradicts what is known; the message says which estimator, network and point.
    """
    try:
        return point.joined(name, interval, 0.0)
    except CrossingBounds as error:
        others = ", ".join(sorted(n for n in point.intervals if n not in (name, COMBINED)))
        where = f"estimator {name!r} against {others} at point {point.point} of {network}, {error.where}"
        raise CrossingBounds(error.got, where=where, accepted=error.accepted, todo=error.todo) from None
