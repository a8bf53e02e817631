"""The schedule of one audit: closed forms in blocks of points, then searches in rounds, whatever executor does the tasks."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from lipreg.auditing.blocks import SHARE, Blocks
from lipreg.auditing.contradictions import while_running
from lipreg.auditing.executors import CannotStart, Executor, Inline
from lipreg.auditing.plan import proves_one_end
from lipreg.auditing.points import PointAudit
from lipreg.auditing.rounds import Rounds
from lipreg.auditing.standing import ProductFallback
from lipreg.auditing.tasks import Assignment, Contradiction, Event, Task, TaskAnswer, TaskDone, TaskLost
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds
from lipreg.estimators.base import repeated
from lipreg.records.endings import NO_TIME, NOT_REACHED
from lipreg.results import Certificate, Status

OVERTIME = 5.0
"""Seconds after a stop in which points that no search has had yet are still given a task without seconds."""
OVERRUN, LEAST_OVERRUN = 1 / 5, 1.0
"""The same after the end of the budget: a part of it, at least so many seconds and at most ``OVERTIME``."""

ATTEMPTS = 2
"""Processes that a search may cost at a point until it has failed there. With fewer it is given to another one: the system
may have killed the first, or the machine may be gone."""

Publish = Callable[[PointAudit, bool, float], None]


class AuditScheduler:
    """Runs one audit, in a thread of its own.

    Args:
        assignment: the plan, the analysis and the methods.
        points: what is proved of each point so far.
        only: those that are audited; a block of closed forms is done whole if one of its points is.
        executor: does the tasks.
        searching: the budget of all this; its time runs from the first task on, so that no start of processes counts.
        stop: ends the audit; what is proved by then is kept.
        publish: called with each point when a search added to it, whether it is done, and the seconds left.
        warn: called with a text when the executor had to be replaced.
    """

    def __init__(
        self,
        assignment: Assignment,
        points: Sequence[PointAudit],
        only: range,
        executor: Executor,
        searching: Budget,
        stop: threading.Event,
        publish: Publish,
        warn: Callable[[str], None],
    ) -> None:
        self._assignment, self._executor, self._searching, self._stop = assignment, executor, searching, stop
        self._publish, self._warn = publish, warn
        self._points, self._only, self._standing = list(points), only, ProductFallback(assignment)
        ordered = list(assignment.estimators)
        self._searches = [n for n in ordered if assignment.estimators[n].searches]
        self._closed_forms = [n for n in ordered if n not in self._searches]
        self._unfinished: dict[int, list[str]] = {}  # searches that are not finished, by point
        self._others: dict[int, list[int]] = {}  # points whose question is that of an earlier one, by that one
        self._unanswered: dict[int, set[str]] = {}  # of the task that runs at a point
        self._deaths: Counter[tuple[int, str]] = Counter()  # of processes, by point and the estimator that ran
        self._rounds = Rounds((), 1, Budget(math.inf))
        self._blocks: Blocks | None = None  # from the first task on
        self._overrun = min(OVERTIME, max(LEAST_OVERRUN, OVERRUN * searching.seconds))
        self._stopped_at: float | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """Begins nothing further, as nobody waits for the results any more; called from another thread."""
        self._abandoned = True
        self._stop.set()

    def run(self) -> None:
        """Runs the audit to its end.

        Raises:
            CrossingBounds: two proofs contradict each other; the points before that one have been published.
            InvalidInput: the assignment cannot be handed to worker processes.
        """
        try:
            try:
                if not self._stop.is_set():
                    self._executor.begin(self._assignment, self._stop)
            except CannotStart as reason:
                self._replace_executor(reason)
            if self._stop.is_set():
                self._work_here()  # what remains to be done is not worth a wait for processes
            self._run_closed_forms()
            self._run_searches()
        finally:
            self._executor.end()

    def _run_closed_forms(self) -> None:
        names = self._closed_forms
        if all(self._answered(self._points[i], name) for i in self._only for name in names):
            return  # resumed, or nothing to do
        self._until_all_are_back(self._next_closed_forms, self._take_closed_forms)
        stopped = (Status.INTERRUPTED, "stopped before it was run")
        why = stopped if self._stop.is_set() else (Status.TIME_LIMIT, NO_TIME)
        for i, p in enumerate(self._points):
            exact = p.combined.certificate is Certificate.EXACT  # nothing more is asked there
            for name in [n for n in names if n not in p.intervals or not (exact or p.has_answer(n))]:
                self._points[i] = self._standing.without_answer(self._points[i], name, *why)

    def _answered(self, point: PointAudit, name: str) -> bool:
        """Whether a method has nothing to add at a point to what earlier records say."""
        exact = point.combined.certificate is Certificate.EXACT
        return name in point.intervals and (exact or not point.unfinished(name))

    def _run_searches(self) -> None:
        same, first = self._assignment.analysis.placed.representatives(), dict[int, int]()
        for p in (self._points[i] for i in self._only):
            representative = first.setdefault(same[p.point], p.point)
            if representative != p.point:  # its question is searched once
                self._others.setdefault(representative, []).append(p.point)
        for p in (self._points[i] for i in first.values()):
            exact = p.combined.certificate is Certificate.EXACT
            remaining = [n for n in self._searches if n not in p.intervals or (p.unfinished(n) and not exact)]
            if remaining:
                self._unfinished[p.point] = remaining
            else:
                self._done(p.point)
        self._searching = self._searching.started()  # it runs already where closed forms were evaluated
        self._rounds = Rounds(self._unfinished, self._executor.slots, self._searching)
        try:
            self._until_all_are_back(self._next_search, self._take_search)
        except CrossingBounds as error:
            for point in sorted(self._unfinished):
                if point < self._contradicted:
                    self._close(point, Status.INTERRUPTED, f"ended by a contradiction at point {self._contradicted}")
            raise error
        for point in sorted(self._unfinished):
            if self._stop.is_set():
                self._close(point, Status.INTERRUPTED, "stopped before it was reached")
            else:
                self._close(point, Status.TIME_LIMIT, NOT_REACHED)

    def _next_closed_forms(self) -> Task | None:
        if self._blocks is None:  # now there is somebody to take it
            self._searching = self._searching.started()
            methods = {name: self._assignment.estimators[name] for name in self._closed_forms}
            share, slots = SHARE if self._searches else 1.0, self._executor.slots
            self._blocks = Blocks(self._only, len(self._points), methods, slots, self._searching, share)
        return None if self._over() else self._blocks.next(self._stop.is_set())

    def _next_search(self) -> Task | None:
        stopped = self._stop.is_set()
        turn = None if self._over() else self._rounds.next(only_new=stopped)
        if turn is None:
            return None
        (point, seconds), names = turn, tuple(self._unfinished[turn[0]])
        self._unanswered[point] = set(names)
        return Task(point, point + 1, names, 0.0 if stopped else seconds, self._points[point].combined, stopped)

    def _over(self) -> bool:
        """Whether even the time after the end is gone (``OVERTIME``, ``OVERRUN``); passes a stop on to the executor."""
        if self._stop.is_set() and self._stopped_at is None:
            self._stopped_at = self._searching.clock()
            self._executor.stop()
        if self._abandoned:
            return True
        if self._stopped_at is not None:
            return self._searching.clock() > self._stopped_at + OVERTIME
        end = self._searching.deadline
        return end is not None and self._searching.clock() > end + self._overrun

    def _until_all_are_back(self, source: Callable[[], Task | None], take: Callable[[Event], None]) -> None:
        """Submits the tasks of ``source`` and takes their events, until there are neither tasks nor events to come."""
        while True:
            while (free := self._executor.free() > 0) and (task := source()) is not None:
                self._executor.submit(task)
            # nothing is free and nothing runs: processes are starting
            if self._executor.running() == 0 and (free or self._over()):
                return
            try:
                events = self._executor.collect(0.2)
            except CannotStart as reason:
                self._replace_executor(reason)
                continue
            for event in events:
                take(event)
            self._over()

    def _replace_executor(self, reason: CannotStart) -> None:
        if not self._stop.is_set():
            self._warn(f"no worker process can be started, so the audit goes on in its own process. {reason}")
        self._work_here()

    def _work_here(self) -> None:
        self._executor.end()
        self._executor = Inline()
        self._executor.begin(self._assignment, self._stop)

    def _take_closed_forms(self, event: Event) -> None:
        task = event.task
        match event:
            case Contradiction():
                raise while_running(event, {}, self._assignment.estimators)
            case TaskAnswer(estimator=name, intervals=intervals, seconds=seconds):
                for i, interval in enumerate(intervals, task.first):
                    self._points[i] = self._points[i].joined(name, interval, seconds / len(intervals))
            case TaskLost(status=status):
                first = self._points[task.first]
                names = tuple(n for n in task.estimators if n not in first.intervals)
                # a crash of its own: find out which point it was
                crash = task.end - task.first > 1 and status is Status.FAILED and not self._stop.is_set()
                tried = bool(names) and self._is_tried_again(event, names[0])
                if self._blocks is not None and (tried or crash):
                    self._blocks.again(task, names, point_by_point=not tried)
                    return
                for i in range(task.first, task.end):
                    for name in names:
                        reason = self._why_lost(event, name)
                        self._points[i] = self._standing.without_answer(self._points[i], name, status, reason)
            case TaskDone():
                pass

    def _take_search(self, event: Event) -> None:
        point = event.task.first
        try:
            match event:
                case Contradiction():
                    raise while_running(event, self._points[point].intervals, self._assignment.estimators)
                case TaskAnswer(estimator=name, intervals=(interval,), seconds=seconds):
                    self._points[point] = self._points[point].joined(name, interval, seconds)
                    self._unanswered[point].discard(name)
                    if event.lacking > 0.0:
                        self._rounds.lacks(point, event.lacking)
                    if interval.status is not Status.TIME_LIMIT:
                        self._unfinished[point].remove(name)
                    self._publish(self._points[point], False, self._searching.seconds_left)
                case TaskLost(task=task, status=status):
                    names = [n for n in task.estimators if n in self._unanswered[point]]
                    if names and self._is_tried_again(event, names[0]):
                        self._rounds.again(point)
                        return
                    # what failed is the first; those behind it never had their turn
                    failed = status is Status.FAILED and not self._stop.is_set()
                    for name in names[:1] if failed else names:
                        reason = self._why_lost(event, name)
                        self._points[point] = self._standing.without_answer(self._points[point], name, status, reason)
                        self._unfinished[point].remove(name)
                    if failed and names[1:]:
                        self._rounds.again(point)
                    else:
                        self._attempted(point, done=not failed)
                case TaskDone():
                    self._attempted(point)
        except CrossingBounds:
            self._contradicted = point
            raise

    def _is_tried_again(self, lost: TaskLost, name: str) -> bool:
        """Whether another process is to repeat the task of one that died while this estimator, the first without an answer,
        ran."""
        died = (lost.task.first, name)
        self._deaths[died] += lost.died
        return lost.died and self._deaths[died] < ATTEMPTS and not self._stop.is_set()

    def _why_lost(self, lost: TaskLost, name: str) -> str:
        deaths = self._deaths[lost.task.first, name]
        return lost.reason + (f", the last of {deaths}" if deaths > 1 else "")

    def _attempted(self, point: int, done: bool = False) -> None:
        """Takes note that an attempt is over, and finishes the point if nothing remains to be done there."""
        if self._unfinished[point] and not done:
            engines = [name for name in self._searches if not proves_one_end(self._assignment.estimators[name])]
            settled = bool(engines) and not set(engines) & set(self._unfinished[point])
            self._rounds.back(point, self._points[point].combined.gap, settled)
            return
        self._rounds.back(point, None)
        del self._unfinished[point]
        self._done(point)

    def _close(self, point: int, status: Status, detail: str) -> None:
        """Publishes a point that is not finished; searches that never answered get a status that says why."""
        for name in self._unfinished[point]:
            if not self._points[point].has_answer(name):
                self._points[point] = self._standing.without_answer(self._points[point], name, status, detail)
        self._done(point)

    def _done(self, point: int) -> None:
        """Publishes a point that nothing more is done about, and with it those whose question is the same."""
        self._publish(self._points[point], True, self._searching.seconds_left)
        intervals, analysis = self._points[point].intervals, self._assignment.analysis
        for other in self._others.pop(point, ()):
            for name in self._searches:
                self._points[other] = self._points[other].joined(
                    name, repeated(analysis, intervals[name], other, point), 0.0
                )
            self._publish(self._points[other], True, self._searching.seconds_left)
