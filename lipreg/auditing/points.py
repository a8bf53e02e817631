"""PointAudit: everything proved at one reference point, as it grows, and its records."""

from __future__ import annotations

import functools
import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipreg.auditing.plan import AuditPlan
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.certificates import Written
from lipreg.certificates.points import NOT_EXACT
from lipreg.estimators import BoundEstimator
from lipreg.estimators.usual import LIMITED
from lipreg.graph import Graph
from lipreg.graph.accurate import margins
from lipreg.labels import UNLABELLED, classes_if_any
from lipreg.records import EXACT, AuditRecord
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status
from lipreg.words import counted

NO_TIME, NOT_REACHED = "not asked: no time was left for it", "not reached before the budget was gone"
LEFT_OUT = NO_TIME, NOT_REACHED
"""What records say of methods that the budget left no time for."""


@dataclass(frozen=True)
class PointAudit:
    """Everything proved at one reference point.

    Attributes:
        point: its index in the batch.
        label: its class, -1 without one (``lipreg.labels``).
        correct, margin: of the network's classification; None without a class.
        intervals: by the label of the estimator's recipe, and under ``EXACT`` their intersection.
        seconds: by the same labels, over all rounds; batched methods count their share.
        fingerprint: of the audited graph.
        plan: what was asked.
        resumed: the estimators that started from saved records.
        reopened: those of them that had ended at a limit on nodes which the plan has raised.
        reference: hash of the reference point itself.
        attacked: whether a point of the region with another class was found; None where none was sought.
        outside: by how much the point that was given lay outside of the region (``PlacedProblem.outside``).
        certificate: what both ends of the interval are re-derived from; a text says why there is none, and None that none
            was asked for.
        predicted: the class that the network gives the reference point, in float64; None without a class.
        witnessed: the same of the estimators' witnesses, by their labels; of points that are done.
    """

    point: int
    label: int
    correct: bool | None
    margin: float | None
    intervals: dict[str, CertifiedInterval]
    seconds: dict[str, float]
    fingerprint: str
    plan: AuditPlan
    resumed: frozenset[str] = frozenset()
    reopened: frozenset[str] = frozenset()
    reference: str = ""
    attacked: bool | None = None
    outside: float = 0.0
    certificate: Written | str | None = None
    predicted: int | None = None
    witnessed: Mapping[str, int] = field(default_factory=dict)

    @property
    def exact(self) -> CertifiedInterval:
        return self.intervals[EXACT]

    def joined(self, name: str, interval: CertifiedInterval, seconds: float) -> PointAudit:
        """With an estimator's interval, in addition to what the same estimator proved in an earlier round.

        Raises:
            CrossingBounds: it contradicts what is known.
        """
        before = self.intervals.get(name)
        if before is not None:
            both = before.intersect(interval)
            # how the work ended is told by its last round
            ended = both if both.status is Status.PROVED else replace(both, status=interval.status)
            interval = replace(ended, detail=interval.detail or ended.detail, estimate=interval.estimate)
        intervals = {**self.intervals, name: interval}
        together = self._together(intervals)
        spent = {**self.seconds, name: self.seconds.get(name, 0.0) + seconds, EXACT: self.seconds[EXACT] + seconds}
        return replace(self, intervals={**intervals, EXACT: together}, seconds=spent)

    def _together(self, intervals: Mapping[str, CertifiedInterval]) -> CertifiedInterval:
        """What all but the one under ``EXACT`` prove: anew, so that it does not depend on the rounds in which they came.

        How the work ended at an interval that is not exact is told by the last bound or search that a limit ended, or else
        by one that was left out, whichever of them proved the smaller upper end; one that stands in for one that failed is
        proved all the same.
        """
        parts, together = [part for name, part in intervals.items() if name != EXACT], self._nothing()
        for part in parts:
            together = together.intersect(part)
        told = [part for part in parts if part.certificate is not Certificate.LOWER or part.detail in LEFT_OUT]
        limited = [part for part in told if part.status in LIMITED]
        if together.certificate is Certificate.EXACT or not (limited or together.status is Status.FAILED):
            return together
        if not limited:
            return replace(together, status=Status.BOUNDED)
        last = sorted(limited, key=lambda part: part.detail not in LEFT_OUT)[-1]
        return replace(together, status=last.status, detail=last.detail)

    def without_answer(self, name: str, status: Status, detail: str) -> PointAudit:
        """With an estimator that gave no answer: the ends it had proved before, if any, and why there is no more."""
        interval = replace(self.intervals.get(name, self._nothing()), status=status, detail=detail)
        intervals, seconds = {**self.intervals, name: interval}, {name: 0.0, **self.seconds}
        together = self._together(intervals)
        return replace(self, intervals={**intervals, EXACT: together}, seconds=seconds)

    @property
    def left_out(self) -> list[str]:
        """The methods that the budget left no time for."""
        return [name for name, interval in self.intervals.items() if interval.detail in LEFT_OUT]

    @property
    def cut_short(self) -> list[str]:
        """The bounds of a whole batch that the budget left no time for a part of."""
        asked = self.plan.methods()
        limited = [name for name, interval in self.intervals.items() if interval.status is Status.TIME_LIMIT]
        return [name for name in limited if name in asked and isinstance(asked[name], BoundEstimator)]

    def _nothing(self) -> CertifiedInterval:
        exact = self.exact
        return CertifiedInterval(exact.problem, exact.functional, subject=exact.subject)

    def unfinished(self, name: str) -> bool:
        """Whether a search that has answered here may still prove more under the plan."""
        interval = self.intervals[name]
        if interval.status is Status.GAP_LIMIT:  # of an earlier audit that asked for less
            return interval.gap > self.plan.budget.gap + EXACT_TOLERANCE
        return name in self.reopened or interval.status in (Status.TIME_LIMIT, Status.INTERRUPTED, Status.FAILED)

    def classified(self, graph: Graph) -> PointAudit:
        """With the classes of the witnesses, where classes are at stake."""
        found = {name: i.witness.point for name, i in self.intervals.items() if i.witness is not None}
        if self.predicted is None or not found:
            return self
        at = torch.tensor(list(found.values()), dtype=torch.float64).reshape(-1, *graph.input_shape)
        with torch.no_grad():
            classes = graph(at).flatten(1).argmax(1).tolist()
        return replace(self, witnessed=dict(zip(found, classes, strict=True)))

    def records(
        self, run: str, epoch: int, penalised: str | None = None, run_id: str = "", step: int | None = None
    ) -> list[AuditRecord]:
        """One record for each estimator.

        Args:
            run, run_id: the run's label and id.
            epoch, step: completed epochs and steps of the audited weights.
            penalised: label of the bound that the penalty lowers.
        """
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
                attacked=self.attacked,
                penalised=name == penalised,
                proof=interval.proof,
                detail=interval.detail,
                estimate=interval.estimate,
                witness=None if interval.witness is None else list(interval.witness.point),
                versions=versions(),
                subject=interval.subject,
                engine="" if name == EXACT else self.plan.method(name).engine(self.plan.solver_of(name)),
                tolerances={"exact": EXACT_TOLERANCE} if name == EXACT else self.plan.method(name).tolerances(),
                asked=self._asked(name),
                families=list(interval.families),
                resumed=name in self.resumed,
                recipe={} if name == EXACT else self.plan.recipes[name].describe(),
                run_id=run_id,
                step=step,
                reference=self.reference,
                outside=self.outside,
                certificate_file=self.certificate.name
                if name == EXACT and isinstance(self.certificate, Written)
                else "",
                predicted=self.predicted,
                witness_class=self.witnessed.get(name),
            )
            for name, interval in self.intervals.items()
        ]

    def _asked(self, name: str) -> dict[str, Any]:
        asked: dict[str, Any] = {**self.plan.limits(), "estimators": list(self.plan.recipes)}
        return asked | (asked if name == EXACT else self.plan.settings_of(name))


def save_certificates(points: Iterable[PointAudit], folder: Path) -> None:
    """Writes the certificates of points beside their records, which name them.

    Raises:
        InvalidInput: a folder that cannot be written.
    """
    for point in points:
        if isinstance(point.certificate, Written):
            point.certificate.save(folder / point.certificate.name)


def certificate_sentences(points: Sequence[PointAudit]) -> list[str]:
    """How many points have a certificate, and why exact ones have none; nothing where none were asked for."""
    found = [point.certificate for point in points if point.certificate is not None]
    if not found:
        return []
    why = Counter(each for each in found if isinstance(each, str) and each != NOT_EXACT)
    written = sum(isinstance(each, Written) for each in found)
    reasons = [f"no certificate of {counted(n, 'exact point')}: {each}" for each, n in why.items()]
    return [f"{written} of {counted(len(found), 'point')} with a certificate", *reasons]


def begin(analysis: Analysis, y: Tensor | None, plan: AuditPlan, budget: Budget) -> list[PointAudit]:
    """Points about which nothing but the classification is known.

    Args:
        analysis: of all points.
        y: their labels.
        plan: of the audit.
        budget: for the digits of margins; their signs are found in any case.
    """
    placed, outputs = analysis.placed, (analysis.placed.batch, *analysis.graph.output.shape)
    fingerprint = analysis.graph.fingerprint()
    labels = classes_if_any(y, *outputs)
    points, labelled = [], [i for i, label in enumerate(labels) if label is not None]
    own = torch.tensor([labels[i] for i in labelled], dtype=torch.int64)
    ahead = margins(analysis.graph, placed.region.center[labelled], own, budget)
    given = dict(zip(labelled, _classes(analysis, labelled), strict=True)) if not analysis.graph.of else {}
    nearest = dict(zip(labelled, ahead.scatter(1, own.unsqueeze(1), torch.inf).amin(1).tolist(), strict=True))
    for i in range(placed.batch):
        nothing = CertifiedInterval(placed.problem, placed.functionals[i], subject=analysis.subject(i))
        label, margin = labels[i], nearest.get(i)
        correct = None if margin is None else margin > 0
        known = UNLABELLED if label is None else label
        blank = PointAudit(i, known, correct, margin, {EXACT: nothing}, {EXACT: 0.0}, fingerprint, plan)
        points.append(
            replace(blank, reference=analysis.reference(i), outside=placed.outside[i], predicted=given.get(i))
        )
    return points


def _classes(analysis: Analysis, points: Sequence[int]) -> list[int]:
    """What the network gives these reference points, as float64 computes it."""
    if not points:
        return []
    with torch.no_grad():
        return analysis.graph(analysis.placed.region.center[list(points)]).flatten(1).argmax(1).tolist()


@functools.cache
def versions() -> dict[str, str]:
    """Of the software that proves."""
    return {name: importlib.metadata.version(name) for name in ("lipreg", "torch", "highspy", "cvxpy")}
