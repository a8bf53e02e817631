"""The audit itself: what several estimators prove together at reference points, under a budget, kept as it comes."""

from __future__ import annotations

import contextlib
import queue
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lipreg.arguments import moved_arguments
from lipreg.auditing.executors import Executing, Executor, get_executor
from lipreg.auditing.interrupts import first_interrupt_stops
from lipreg.auditing.moved import moved_workers
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import PointAudit, begin
from lipreg.auditing.resume import with_earlier
from lipreg.auditing.schedule import OVERTIME, AuditScheduler
from lipreg.auditing.tasks import Assignment
from lipreg.bounds import Analysis
from lipreg.budget import AnyOf, Budget, Stop
from lipreg.certificates import certificates_of
from lipreg.errors import InvalidInput
from lipreg.estimators import Estimator, frozen_analysis
from lipreg.estimators.evaluate import Network
from lipreg.graph import Graph, untouched_random_state
from lipreg.records import AuditRecord

MARGINS_SHARE = 1 / 8
"""The part of the time after the analysis in which margins are computed to more digits than their signs need."""
ATTACK_SHARE = 1 / 4
"""The part of the time after the margins in which points are attacked; those not tried by then count as not attacked."""


@dataclass(frozen=True)
class AuditProgress:
    """How far an audit is.

    Attributes:
        point: the point to which something was added.
        finished: whether it is done.
        done, points: how many points are done, of how many.
        seconds_left: what remains of the budget.
    """

    point: PointAudit
    finished: bool
    done: int
    points: int
    seconds_left: float


@moved_arguments(moved_workers())
def audit(
    network: Network,
    plan: AuditPlan,
    x: Tensor,
    y: Tensor | None = None,
    on_point: Callable[[PointAudit], None] | None = None,
    stop: threading.Event | None = None,
    *,
    executor: Executing | None = None,
    earlier: Iterable[AuditRecord] = (),
    only: range | None = None,
    on_progress: Callable[[AuditProgress], None] | None = None,
    on_unused: Callable[[str], None] | None = None,
) -> list[PointAudit]:
    """Runs a plan at every reference point.

    Works on a frozen float64 copy on the CPU. Results and the calls of ``on_point`` are in the order of the points,
    whatever the executor; apart from seconds and from what a time limit cuts, so are the numbers in them. Setting ``stop``,
    or that of the plan's budget, or Ctrl-C, ends the running searches at their proved intervals; points that no search
    reached keep their closed-form bounds. A Ctrl-C is raised again after that; a second one at once.

    Args:
        network: a module, a capture or a frozen graph.
        plan: what to run.
        x, y: reference points ``(batch, *shape)`` and labels ``(batch,)``.
        on_point: called with each point that is done, once all before it are done; with certificates, which are written
            when all searches are over, once the point has its own.
        stop: set it to end the audit early.
        executor: where searches run: "inline", the default, in this process; "processes", one for each core of this
            machine; "ray", in a Ray cluster; or one of them with its options, ``Inline()``, ``Processes(4)``,
            ``Ray(address="HOST:PORT")``. In processes, a crash or a hang of a solver costs one point; their start takes
            some seconds, which the budget does not count: those of an executor that is passed as an object stay for the
            next audit until its ``close``.
        earlier: records of an audit that was cut short. What it proved about the same network, points and question, with
            the same settings and versions, is not done again, and unfinished points go on from there.
        only: the indices of the points to audit here, where other processes audit the others with the same arguments. The
            results are those of an audit of all.
        on_progress: called, in no particular order of points, whenever a search has added to a point.
        on_unused: called with why earlier records are not used, if some are not; None warns.

    Raises:
        CrossingBounds: two estimators contradict each other. Earlier points have been handed on.
        InvalidInput: reference points that do not fit the region or the network, outputs that are not finite, an executor
            that cannot be, a Ray cluster that cannot be reached, or something of the user's
            that cannot be sent to worker processes.
        UnsupportedRequest: an estimator does not cover the network; raised before any bound is computed.
        MissingExtra: ray is not installed.
    """
    does = get_executor(executor, "audit")
    with untouched_random_state():
        whole = plan.budget.started()
        covered = plan

        def covering(graph: Graph) -> Iterable[Estimator]:
            nonlocal covered
            covered = plan.covering(graph)
            return covered.methods().values()

        analysis = frozen_analysis(network, plan.problem, x, y, where="audit", budget=whole, estimators=covering)
        plan, estimators = covered, covered.methods()
        if not torch.isfinite(analysis.graph(analysis.placed.region.center)).all():
            raise InvalidInput(
                "the network's outputs hold NaN or infinity", where="audit", todo="Training may have diverged"
            )
        points = begin(analysis, y, plan, whole.share(MARGINS_SHARE))
        wanted = range(len(points)) if only is None else only
        # a class is not kept or lost by some inputs alone, nor by the difference of two networks
        if plan.attack is not None and plan.problem.measured is None and not analysis.graph.of:
            attack_budget = whole.share(ATTACK_SHARE)
            attacked = plan.attack.on(
                analysis, [(p.label, p.correct) for p in points], wanted, plan.settings.seed, attack_budget
            )
            points = [replace(p, attacked=attacked.get(p.point)) for p in points]
        points = with_earlier(points, analysis, earlier, on_unused)
        # what analysis and attack took is not the searches' any more; that processes start is
        searching = replace(plan.budget, seconds=whole.seconds_left)
        try:
            assignment = Assignment(plan, analysis, estimators)
            stops = [each for each in (stop, plan.budget.stop) if each is not None]
            course = _AuditThread(assignment, points, wanted, does, searching, AnyOf(tuple(stops)))
            if not plan.certificates:
                return course.follow(on_point, on_progress)
            searched = course.follow(None, on_progress)  # certificates would take their time from the searches
            return _certified(searched, analysis, replace(plan.budget, nodes=None, stop=AnyOf(tuple(stops))), on_point)
        finally:
            if does is not executor:
                does.close()


def _certified(
    points: list[PointAudit], analysis: Analysis, budget: Budget, on_point: Callable[[PointAudit], None] | None
) -> list[PointAudit]:
    """The points with their certificates, or with the reason why they have none; handed on as they come."""
    budget, certified = budget.started(), list[PointAudit]()
    for point in points:
        certificates = certificates_of(analysis, {point.point: point.combined}, budget)
        certificate = certificates.written.get(point.point) or certificates.lacking[point.point]
        certified.append(replace(point, certificate=certificate))
        if on_point is not None:
            on_point(certified[-1])
    return certified


class _AuditThread:
    """An audit that runs in a thread of its own, seen from the thread that started it.

    Solvers are in compiled code for long, and a Ctrl-C reaches the main thread alone: so this one only waits, hands on what
    comes, and stops the other.
    """

    def __init__(
        self,
        assignment: Assignment,
        points: list[PointAudit],
        only: range,
        executor: Executor,
        searching: Budget,
        stop: Stop,
    ) -> None:
        self._stop, self._outer_stop = threading.Event(), stop
        self._executor, self._only = executor, only
        self._mail: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._pass_on_stop()

        def publish(point: PointAudit, finished: bool, seconds_left: float) -> None:
            classified = point.classified(assignment.analysis.graph) if finished else point
            self._mail.put(("point", (classified, finished, seconds_left)))

        self._schedule = AuditScheduler(
            assignment,
            points,
            only,
            executor,
            searching,
            self._stop,
            publish,
            lambda text: self._mail.put(("warning", text)),
        )

        def run() -> None:
            try:
                self._schedule.run()
                self._mail.put(("end", None))
            except BaseException as error:
                self._mail.put(("end", error))

        self._thread = threading.Thread(target=run, name="lipreg audit", daemon=True)

    def follow(
        self, on_point: Callable[[PointAudit], None] | None, on_progress: Callable[[AuditProgress], None] | None
    ) -> list[PointAudit]:
        self._thread.start()
        try:
            with first_interrupt_stops(self._stop):
                handed_on = self._hand_on(on_point, on_progress)
        except BaseException as error:
            self._give_up(wait=not isinstance(error, KeyboardInterrupt))
            raise
        self._thread.join()
        return handed_on

    def _hand_on(
        self, on_point: Callable[[PointAudit], None] | None, on_progress: Callable[[AuditProgress], None] | None
    ) -> list[PointAudit]:
        done: dict[int, PointAudit] = {}
        handed_on: list[PointAudit] = []
        while True:
            kind, content = self._next()
            if kind == "end":
                if content is not None:
                    raise content
                return handed_on
            if kind == "warning":
                warnings.warn(content, stacklevel=5)
                continue
            point, finished, seconds_left = content
            if finished:
                done[point.point] = point
            if on_progress is not None:
                on_progress(AuditProgress(point, finished, len(done), len(self._only), seconds_left))
            while len(handed_on) < len(self._only) and self._only[len(handed_on)] in done:
                handed_on.append(done[self._only[len(handed_on)]])
                if on_point is not None:
                    on_point(handed_on[-1])

    def _next(self) -> tuple[str, Any]:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._mail.get(timeout=0.2)
            self._pass_on_stop()

    def _pass_on_stop(self) -> None:
        if self._outer_stop.is_set():
            self._stop.set()

    def _give_up(self, wait: bool) -> None:
        """Leaves nothing running behind an error or a second Ctrl-C, as far as it lets itself be ended.

        After a Ctrl-C there is no waiting for a search in this process: it may be in compiled code for long.
        """
        self._schedule.abandon()
        if self._executor.kill() or wait:
            self._thread.join(OVERTIME)
