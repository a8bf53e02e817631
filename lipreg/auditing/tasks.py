"""The tasks of an audit: some estimators at some points, for some seconds; and how a task is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from lipreg.auditing.plan import AuditPlan, shares
from lipreg.bounds import Analysis, analyse
from lipreg.ctrl_c import pass_on_ctrl_c
from lipreg.errors import CrossingBounds
from lipreg.estimators import Estimator
from lipreg.results import CertifiedInterval, Status
from lipreg.search import SearchProgress


@dataclass(frozen=True)
class Assignment:
    """What all tasks of one audit share.

    Attributes:
        plan: the plan of the audit.
        analysis: of all points.
        estimators: the methods themselves by the labels of their recipes, in the order in which they are to run; because a
            worker process knows only the registry of lipreg.
    """

    plan: AuditPlan
    analysis: Analysis
    estimators: Mapping[str, Estimator]


@dataclass(frozen=True)
class Task:
    """Some points, and what is to be run there.

    Attributes:
        first, end: the indices of the first point, and of the one behind the last.
        estimators: labels, run one after the other; each search starts from what those before it proved.
        seconds: for all of them.
        proved: for a task of one point, the interval proved there before; None for none.
        stopped: whether the audit has been stopped, so that only what costs nothing is to be done.
        patience: seconds more in which nobody ends it: a bound in closed form, which has no steps, is worth a wait.
    """

    first: int
    end: int
    estimators: tuple[str, ...]
    seconds: float
    proved: CertifiedInterval | None = None
    stopped: bool = False
    patience: float = 0.0


@dataclass(frozen=True)
class TaskAnswer:
    """One estimator's answer within a task.

    Attributes:
        task: the task.
        estimator: the label of its recipe.
        intervals: one for each point of the task, in their order.
        seconds: of wall-clock time.
        cpu_seconds: of this process and all its threads, for comparisons that other programs do not disturb.
        lacking: seconds that such a task was short of for the search to begin, as far as that was judged.
    """

    task: Task
    estimator: str
    intervals: tuple[CertifiedInterval, ...]
    seconds: float
    cpu_seconds: float = 0.0
    lacking: float = 0.0


@dataclass(frozen=True)
class TaskDone:
    """The event of a task that is over, all its estimators having answered.

    Attributes:
        task: the task.
    """

    task: Task


@dataclass(frozen=True)
class TaskLost:
    """The event of a task that ended without the answers of some estimators.

    Attributes:
        task: the task.
        status: how the work of these estimators ended.
        reason: why, in words.
        died: whether its process died, which may have nothing to do with the task: another process may do it.
    """

    task: Task
    status: Status
    reason: str
    died: bool = False


@dataclass(frozen=True)
class Contradiction:
    """The event of a task in which two proofs contradicted each other.

    Attributes:
        task: the task.
        error: both proofs.
        estimator: the label of the method that ran.
    """

    task: Task
    error: CrossingBounds
    estimator: str = ""


Event = TaskAnswer | TaskDone | TaskLost | Contradiction
"""What an executor says of a task: an answer, or how the task ended."""


def perform(assignment: Assignment, task: Task, stop: threading.Event) -> Iterator[Event]:
    """Does a task.

    A failing estimator is an answer with status FAILED; contradicting bounds end the task.

    Args:
        assignment: what the tasks of the audit share.
        task: the points and the estimators.
        stop: ends the running search with what it has.

    Yields:
        A ``TaskAnswer`` for each estimator as it comes, one that contradicts what was proved before too; a ``TaskDone`` or a
        ``Contradiction`` last.
    """
    plan, local, proved = assignment.plan, assignment.analysis[task.first : task.end], task.proved
    budget = replace(plan.budget, seconds=task.seconds, stop=stop).started()
    parts = shares([assignment.estimators[name] for name in task.estimators])
    for name, share in zip(task.estimators, parts, strict=True):
        began, cpu_began, part = budget.clock(), time.process_time(), budget.share(share)
        last = {"lacking": 0.0}

        def watch(at: SearchProgress, last: dict[str, float] = last) -> None:
            last["lacking"] = at.lacking

        start = () if proved is None or proved.witness is None else (proved,)
        try:
            methods = plan.recipes[name].methods
            with torch.no_grad():
                local_analysis = (
                    local if methods is None else analyse(local.graph, local.placed, methods, budget=part.share(0.5))
                )
            intervals = tuple(assignment.estimators[name].intervals(local_analysis, part, plan.settings, start, watch))
            if len(intervals) != local.placed.batch:
                raise ValueError(f"{len(intervals)} intervals for {local.placed.batch} points")
        except CrossingBounds as error:
            yield Contradiction(task, error, name)
            return
        except Exception as error:  # a solver that fails must not sink the other points
            pass_on_ctrl_c(error)
            detail = f"{name} failed: {type(error).__name__}: {error}"
            intervals = tuple(failure(local, i, detail) for i in range(local.placed.batch))
        took = budget.clock() - began, time.process_time() - cpu_began
        yield TaskAnswer(task, name, intervals, *took, last["lacking"] / share)
        if proved is not None:
            try:
                proved = proved.intersect(intervals[0])
            except CrossingBounds as error:
                yield Contradiction(task, error, name)
                return
    yield TaskDone(task)


def failure(local: Analysis, index: int, detail: str) -> CertifiedInterval:
    """The interval of a method that failed, and so has proved nothing.

    Args:
        local: the analysis of the task's points.
        index: of the point among them.
        detail: what failed, and how.
    """
    placed = local.placed
    return CertifiedInterval(
        placed.problem,
        placed.functional_names[index],
        status=Status.FAILED,
        detail=detail,
        subject=local.subject(index),
    )
