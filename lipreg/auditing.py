"""Audits: what several estimators prove together at reference points, under a budget, kept as it comes."""

from __future__ import annotations

import concurrent.futures
import functools
import importlib.metadata
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.estimators import Effort, Estimator, frozen_analysis, get_estimator
from lipreg.estimators.evaluate import Network
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord
from lipreg.results import Certificate, CertifiedInterval, Status

EXACT = "exact"
"""The name under which the intersection of all estimators at a point is recorded."""


@dataclass(frozen=True)
class AuditPlan:
    """What an audit runs.

    Args:
        problem: the question.
        estimators: registered names; closed-form bounds and sampling run before searches, whatever their order here.
        budget: seconds of wall-clock time for the searches of one audit, shared out over the points that are left.
        seed: of every random choice.
        solver: of the searches' programs: "highs", or another of ``lipreg.milp.installed_solvers()``.
        preactivations: pre-activation methods by estimator, where they should differ from all of them; the bound that a
            penalty lowers is audited with the penalty's own.

    Raises:
        InvalidInput: no or unknown estimators, no budget, or an unknown solver.
        MissingExtra: the solver is not installed.
        UnsupportedRequest: an estimator does not cover the question; raised here, before any training.
    """

    problem: LocalLipschitz
    estimators: Sequence[str] = ("mip", "lp", "affine_relu", "sampling")
    budget: float = 60.0
    seed: int = 0
    solver: str = "highs"
    preactivations: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.estimators, str) or not self.estimators:
            raise InvalidInput(f"estimators={self.estimators!r}", where="audit", accepted="a list of estimator names")
        if not self.budget > 0:
            raise InvalidInput(f"budget={self.budget!r}", where="audit", accepted="seconds above 0")
        Effort(solver=self.solver)  # refuses one that is unknown or not installed
        for name in self.estimators:
            get_estimator(name).check(self.problem)

    def ordered(self) -> list[Estimator]:
        """Cheap methods first, in the given order; then searches, which profit from what is known."""
        chosen = [get_estimator(name) for name in dict.fromkeys(self.estimators)]
        return sorted(chosen, key=lambda e: (e.searches, e.certificate is Certificate.BRACKET))


@dataclass(frozen=True)
class PointAudit:
    """Everything proved at one reference point.

    Attributes:
        point: its index in the batch.
        label: its class, -1 without labels.
        correct, margin: of the network's classification; None without labels.
        intervals: by estimator name, and under ``EXACT`` their intersection.
        seconds: by estimator name; batched methods count their share.
        fingerprint: of the audited graph.
    """

    point: int
    label: int
    correct: bool | None
    margin: float | None
    intervals: dict[str, CertifiedInterval]
    seconds: dict[str, float]
    fingerprint: str

    @property
    def exact(self) -> CertifiedInterval:
        return self.intervals[EXACT]

    def records(self, run: str, epoch: int, penalised: str | None = None) -> list[AuditRecord]:
        """One record for each estimator."""
        return [
            AuditRecord(
                run=run,
                epoch=epoch,
                point=self.point,
                label=self.label,
                estimator=name,
                certificate=interval.certificate.value,
                status=interval.status.value,
                lower=interval.lower,
                upper=interval.upper,
                seconds=round(self.seconds[name], 4),
                functional=interval.functional,
                question=interval.problem.describe(),
                fingerprint=self.fingerprint,
                correct=self.correct,
                margin=self.margin,
                penalised=name == penalised,
                proof=interval.proof,
                detail=interval.detail,
                estimate=interval.estimate,
                witness=None if interval.witness is None else list(interval.witness.point),
                versions=dict(_versions()),
            )
            for name, interval in self.intervals.items()
        ]


def audit(
    network: Network,
    plan: AuditPlan,
    x: Tensor,
    y: Tensor | None = None,
    on_point: Callable[[PointAudit], None] | None = None,
    stop: threading.Event | None = None,
) -> list[PointAudit]:
    """Runs a plan at every reference point.

    Works on a frozen float64 copy on the CPU. Points are finished in order, and ``on_point`` is called as each is done,
    so a caller that writes there loses nothing. Setting ``stop``, or Ctrl-C, ends the running search at its proved
    interval; points that no search reached keep their closed-form bounds. A Ctrl-C is raised again after that.

    Args:
        network: a module, a capture or a frozen graph.
        plan: what to run.
        x, y: reference points ``(batch, *shape)`` and labels ``(batch,)``.

    Raises:
        CrossingBounds: two estimators contradict each other. Records of earlier points have been handed on.
        InvalidInput: reference points that do not fit the region or the network, outputs that are not finite.
    """
    stop = stop or threading.Event()
    interrupts: list[KeyboardInterrupt] = []
    closed_form = [e for e in plan.ordered() if not e.searches]
    searches = [e for e in plan.ordered() if e.searches]
    with untouched_random_state():
        analysis = frozen_analysis(network, plan.problem, x, y)
        if not torch.isfinite(analysis.reach[-1].value).all():
            raise InvalidInput(
                "the network's outputs hold NaN or infinity", where="audit", todo="Training may have diverged"
            )
        audits = _start(analysis, y)
        deadline = time.monotonic() + plan.budget
        for estimator in closed_form:
            methods = plan.preactivations.get(estimator.name)
            own = analysis if methods is None else frozen_analysis(network, plan.problem, x, y, methods)
            began = time.monotonic()
            effort = Effort(seconds=plan.budget, seed=plan.seed, solver=plan.solver, stop=stop)
            found = _run(estimator, own, effort, interrupts)
            share = (time.monotonic() - began) / len(audits)
            audits = [_with(a, estimator.name, i, share) for a, i in zip(audits, found, strict=True)]
        for at, point in enumerate(audits):
            local = analysis[at : at + 1]
            for estimator in searches:
                # a point may use what earlier ones left over, never what later ones need
                seconds = max(0.0, deadline - time.monotonic()) / (len(audits) - at)
                known = (point.exact,) if point.exact.witness is not None else ()
                effort = Effort(seconds=seconds, seed=plan.seed, known=known, solver=plan.solver, stop=stop)
                began = time.monotonic()
                (found_here,) = _run(estimator, local, effort, interrupts)
                point = _with(point, estimator.name, found_here, time.monotonic() - began)
            audits[at] = point
            if on_point is not None:
                on_point(point)
    if interrupts:
        raise interrupts[0]
    return audits


def _start(analysis: Analysis, y: Tensor | None) -> list[PointAudit]:
    """Points about which nothing but the classification is known."""
    placed, outputs = analysis.placed, analysis.reach[-1].value
    fingerprint = analysis.graph.fingerprint()
    audits = []
    for i in range(placed.batch):
        nothing = CertifiedInterval(placed.problem, placed.functionals[i], subject=analysis.subject(i))
        label, correct, margin = -1, None, None
        if y is not None:
            label = int(y[i])
            others = outputs[i].clone()
            others[label] = -torch.inf
            margin = float(outputs[i, label] - others.max())
            correct = margin > 0
        audits.append(PointAudit(i, label, correct, margin, {EXACT: nothing}, {EXACT: 0.0}, fingerprint))
    return audits


def _with(point: PointAudit, name: str, interval: CertifiedInterval, seconds: float) -> PointAudit:
    together = point.exact.intersect(interval)
    intervals = {**point.intervals, name: interval, EXACT: together}
    spent = {**point.seconds, name: seconds, EXACT: point.seconds[EXACT] + seconds}
    return replace(point, intervals=intervals, seconds=spent)


def _run(
    estimator: Estimator, analysis: Analysis, effort: Effort, interrupts: list[KeyboardInterrupt]
) -> list[CertifiedInterval]:
    """Runs an estimator in a thread, so that Ctrl-C reaches this one while a solver is in compiled code.

    A first Ctrl-C stops the search and keeps what it proved; a second one is raised at once. A failing estimator is a
    result with status FAILED; contradicting bounds are an error.
    """
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(estimator.intervals, analysis, effort)
    pool.shutdown(wait=False)
    while not future.done():
        try:
            concurrent.futures.wait([future], timeout=0.5)
        except KeyboardInterrupt as interrupt:
            effort.stop.set()
            interrupts.append(interrupt)
            if len(interrupts) > 1:
                raise
    try:
        return future.result()
    except CrossingBounds:
        raise
    except Exception as error:  # a solver or a worker that fails must not sink the other points
        placed = analysis.placed
        detail = f"{estimator.name} failed: {type(error).__name__}: {error}"
        return [CertifiedInterval(placed.problem, f, status=Status.FAILED, detail=detail) for f in placed.functionals]


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Restores the global random states of Python, numpy and torch (CPU and, where started, CUDA) after the block."""
    python, legacy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


@functools.cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "highspy", "cvxpy")}
