"""What an audit hands out piece by piece: some estimators at some points, for some seconds; and how a piece is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from lipreg.auditing.plan import AuditPlan
from lipreg.bounds import Analysis, analyse
from lipreg.errors import CrossingBounds
from lipreg.estimators import Estimator
from lipreg.results import CertifiedInterval, Status


@dataclass(frozen=True)
class Assignment:
    """What all tasks of one audit share.

    Attributes:
        plan: what was asked.
        analysis: of all points.
        estimators: the methods themselves by the labels of their recipes, in the order in which they are to run; because a
            worker process knows only the registry of lipreg.
    """

    plan: AuditPlan
    analysis: Analysis
    estimators: Mapping[str, Estimator]


@dataclass(frozen=True)
class Task:
    """Points ``first`` to ``end`` (not included) and what is to be run there.

    Attributes:
        estimators: names, run one after the other; each search starts from what those before it found.
        seconds: for all of them.
        patience: seconds more in which nobody ends it: a bound in closed form, which has no steps, is worth a wait.
        known: for a task of one point, what is proved there.
        stopped: the audit has been stopped; the task is only to say what costs nothing.
    """

    first: int
    end: int
    estimators: tuple[str, ...]
    seconds: float
    known: CertifiedInterval | None = None
    stopped: bool = False
    patience: float = 0.0


@dataclass(frozen=True)
class Found:
    """One estimator's answer within a task, an interval for each of its points.

    Attributes:
        seconds: of wall-clock time.
        cpu_seconds: of this process and all its threads, for comparisons that other programs do not disturb.
    """

    task: Task
    estimator: str
    intervals: tuple[CertifiedInterval, ...]
    seconds: float
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """A task that is over, all its estimators having answered."""

    task: Task


@dataclass(frozen=True)
class Lost:
    """A task that ended without the answers of some estimators, and why.

    Attributes:
        died: with its process, which may have nothing to do with the task: another process may do it.
    """

    task: Task
    status: Status
    reason: str
    died: bool = False


@dataclass(frozen=True)
class Contradicted:
    """A task in which two proofs contradicted each other."""

    task: Task
    error: CrossingBounds


Event = Found | Ended | Lost | Contradicted


def perform(assignment: Assignment, task: Task, stop: threading.Event) -> Iterator[Event]:
    """Does a task; each answer is given as it comes.

    A failing estimator is an answer with status FAILED; contradicting bounds end the task.
    """
    plan, local, known = assignment.plan, assignment.analysis[task.first : task.end], task.known
    budget = replace(plan.budget, seconds=task.seconds, stop=stop).started()
    for position, name in enumerate(task.estimators):
        began, cpu_began = budget.clock(), time.process_time()
        part = budget.share(1 / (len(task.estimators) - position))
        start = () if known is None or known.witness is None else (known,)
        try:
            methods = plan.recipes[name].methods
            with torch.no_grad():
                own = local if methods is None else analyse(local.graph, local.placed, methods, budget=part.share(0.5))
            intervals = tuple(assignment.estimators[name].intervals(own, part, plan.settings, start))
            if len(intervals) != local.placed.batch:
                raise ValueError(f"{len(intervals)} intervals for {local.placed.batch} points")
            if known is not None:
                known = known.intersect(intervals[0])
        except CrossingBounds as error:
            yield Contradicted(task, error)
            return
        except Exception as error:  # a solver that fails must not sink the other points
            detail = f"{name} failed: {type(error).__name__}: {error}"
            intervals = tuple(failure(local, i, detail) for i in range(local.placed.batch))
        yield Found(task, name, intervals, budget.clock() - began, time.process_time() - cpu_began)
    yield Ended(task)


def failure(local: Analysis, index: int, detail: str) -> CertifiedInterval:
    """Nothing proved, because the method failed."""
    placed = local.placed
    return CertifiedInterval(
        placed.problem, placed.functionals[index], status=Status.FAILED, detail=detail, subject=local.subject(index)
    )
