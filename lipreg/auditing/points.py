"""PointAudit: everything proved at one reference point, as it grows, and its records."""

from __future__ import annotations

import functools
import importlib.metadata
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipreg.auditing.contradictions import contradiction
from lipreg.auditing.joining import begins_earlier, joined_interval, together
from lipreg.auditing.plan import AuditPlan
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.certificates import PlainCertificate
from lipreg.certificates.points import NOT_EXACT
from lipreg.errors import CrossingBounds, RenamedAttribute
from lipreg.graph import Graph
from lipreg.graph.accurate import margins
from lipreg.labels import UNLABELLED, classes_if_any
from lipreg.records import COMBINED, AuditRecord
from lipreg.records.endings import EARLIER, LEFT_OUT, NOT_BEGUN
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status
from lipreg.words import counted


@dataclass(frozen=True)
class PointAudit:
    """Everything proved at one reference point.

    Attributes:
        point: its index in the batch.
        label: its class, -1 without one (``lipreg.labels``).
        correct, margin: of the network's classification; None without a class.
        intervals: by the label of the estimator's recipe, and under ``COMBINED`` their intersection.
        seconds: by the same labels, over all rounds; batched methods count their share.
        fingerprint: of the audited graph.
        plan: the plan of the audit.
        resumed: the estimators that started from saved records.
        reopened: those of them that had ended at a limit on nodes which the plan has raised.
        reference: hash of the reference point itself.
        attacked: whether a point of the region with another class was found; None where none was sought.
        outside: by how much the point that was given lay outside of the region (``PlacedProblem.outside``).
        certificate: what both ends of the interval are re-derived from; a text says why there is none; None where the plan
            has no certificates.
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
    certificate: PlainCertificate | str | None = None
    predicted: int | None = None
    witnessed: Mapping[str, int] = field(default_factory=dict)
    exact = RenamedAttribute("combined")

    @property
    def combined(self) -> CertifiedInterval:
        """The interval that all estimators together prove."""
        return self.intervals[COMBINED]

    def joined(self, name: str, interval: CertifiedInterval, seconds: float) -> PointAudit:
        """The point with an estimator's interval, joined to what the same estimator proved before (``joined_interval``).

        Args:
            name: label of the estimator's recipe.
            interval: what it has proved now.
            seconds: what it has taken, added to those of earlier rounds.

        Raises:
            CrossingBounds: it contradicts what was proved before.
        """
        certificate = self.plan.method(name).certificate
        spent = {each: self.seconds.get(each, 0.0) + seconds for each in (name, COMBINED)}
        try:
            joined = joined_interval(self.intervals.get(name), interval, certificate)
            intervals = self._with_combined({**self.intervals, name: joined})
        except CrossingBounds:
            raise self._contradicted(name, interval) from None
        return replace(self, intervals=intervals, seconds={**self.seconds, **spent})

    def with_ends(self, interval: CertifiedInterval, name: str = COMBINED) -> PointAudit:
        """The point with what another interval of it proves, for all estimators together.

        Args:
            interval: the other one.
            name: the label of the estimator that proved it; ``COMBINED`` for all of them.

        Raises:
            CrossingBounds: it contradicts what was proved before.
        """
        try:
            proved = self.combined.intersect(interval)
        except CrossingBounds:
            raise self._contradicted(name, interval) from None
        return replace(self, intervals={**self.intervals, COMBINED: proved}, resumed=self.resumed | {COMBINED})

    def _contradicted(self, name: str, interval: CertifiedInterval) -> CrossingBounds:
        return contradiction(self.point, [*self.intervals.items(), (name, interval)], self.plan.methods())

    def _with_combined(self, intervals: Mapping[str, CertifiedInterval]) -> dict[str, CertifiedInterval]:
        parts = {name: part for name, part in intervals.items() if name != COMBINED}
        return {**intervals, COMBINED: together(parts, self.combined, self.engines)}

    @property
    def engines(self) -> set[str]:
        """The labels of the plan's methods that search for both ends."""
        return {name for name in self.plan.recipes if self.plan.method(name).certificate is Certificate.BRACKET}

    def without_answer(self, name: str, status: Status, detail: str) -> PointAudit:
        """The point with an estimator that gave no answer: it keeps the ends that it had proved before, if any; those of
        an earlier run with their status and words, unless it failed.

        Args:
            name: label of the estimator's recipe.
            status, detail: how its work ended, and why.
        """
        before, seconds = self.intervals.get(name, self._nothing()), {name: 0.0, **self.seconds}
        if begins_earlier(before) and status is not Status.FAILED:
            return replace(self, seconds=seconds)
        intervals = {**self.intervals, name: replace(before, status=status, detail=detail)}
        return replace(self, intervals=self._with_combined(intervals), seconds=seconds)

    @property
    def left_out(self) -> list[str]:
        """The methods that the budget had no time for."""
        return [name for name, part in self.intervals.items() if name != COMBINED and part.detail in LEFT_OUT]

    def has_answer(self, name: str) -> bool:
        """Whether a method has answered in this audit, or an earlier one has finished its work."""
        return name in self.intervals and not self.intervals[name].detail.startswith(EARLIER)

    def searched(self, name: str) -> bool:
        """Whether a method that searches for both ends has proved something of its own: it was begun, or had no need to."""
        part = self.intervals[name]
        unbegun = part.detail in LEFT_OUT or NOT_BEGUN in part.detail or (part.lower, part.upper) == (0.0, math.inf)
        return part.certificate is Certificate.EXACT or not unbegun

    def _nothing(self) -> CertifiedInterval:
        combined = self.combined
        return CertifiedInterval(combined.problem, combined.functional, subject=combined.subject)

    def unfinished(self, name: str) -> bool:
        """Whether a search that has answered here may still prove more under the plan."""
        interval = self.intervals[name]
        if interval.status is Status.GAP_LIMIT:  # of an earlier audit that asked for less
            return interval.gap > self.plan.budget.gap + EXACT_TOLERANCE
        return name in self.reopened or interval.status in (Status.TIME_LIMIT, Status.INTERRUPTED, Status.FAILED)

    def classified(self, graph: Graph) -> PointAudit:
        """The point with the classes of its witnesses, where classes are at stake."""
        witnesses = {name: i.witness.point for name, i in self.intervals.items() if i.witness is not None}
        if self.predicted is None or not witnesses:
            return self
        at = torch.tensor(list(witnesses.values()), dtype=torch.float64).reshape(-1, *graph.input_shape)
        with torch.no_grad():
            classes = graph(at).flatten(1).argmax(1).tolist()
        return replace(self, witnessed=dict(zip(witnesses, classes, strict=True)))

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
                engine="" if name == COMBINED else self.plan.method(name).engine(self.plan.solver_of(name)),
                tolerances={"exact": EXACT_TOLERANCE} if name == COMBINED else self.plan.method(name).tolerances(),
                asked=self._settings(name),
                families=list(interval.families),
                resumed=name in self.resumed,
                recipe={} if name == COMBINED else self.plan.recipes[name].describe(),
                run_id=run_id,
                step=step,
                reference=self.reference,
                outside=self.outside,
                certificate_file=self.certificate.name
                if name == COMBINED and isinstance(self.certificate, PlainCertificate)
                else "",
                predicted=self.predicted,
                witness_class=self.witnessed.get(name),
            )
            for name, interval in self.intervals.items()
        ]

    def _settings(self, name: str) -> dict[str, Any]:
        settings: dict[str, Any] = {**self.plan.limits(), "estimators": list(self.plan.recipes)}
        return settings | (settings if name == COMBINED else self.plan.settings_of(name))


def save_certificates(points: Iterable[PointAudit], folder: Path) -> None:
    """Writes the certificates of points beside their records, which name them.

    Raises:
        InvalidInput: a folder that cannot be written.
    """
    for point in points:
        if isinstance(point.certificate, PlainCertificate):
            point.certificate.save(folder / point.certificate.name)


def certificate_sentences(points: Sequence[PointAudit]) -> list[str]:
    """Sentences on how many points have a certificate, and why exact ones lack one; none if the plan has none."""
    certificates = [point.certificate for point in points if point.certificate is not None]
    if not certificates:
        return []
    why = Counter(each for each in certificates if isinstance(each, str) and each != NOT_EXACT)
    written = sum(isinstance(each, PlainCertificate) for each in certificates)
    reasons = [f"no certificate of {counted(n, 'exact point')}: {each}" for each, n in why.items()]
    return [f"{written} of {counted(len(certificates), 'point')} with a certificate", *reasons]


def begin(analysis: Analysis, y: Tensor | None, plan: AuditPlan, budget: Budget) -> list[PointAudit]:
    """The points before any estimator has answered: their classification and nothing else.

    Args:
        analysis: of all points.
        y: their labels ``(batch,)``; None without.
        plan: the plan of the audit.
        budget: for the digits of margins; their signs are computed in any case.
    """
    placed, outputs = analysis.placed, (analysis.placed.batch, *analysis.graph.output.shape)
    fingerprint = analysis.fingerprint
    labels = classes_if_any(y, *outputs)
    points, labelled = [], [i for i, label in enumerate(labels) if label is not None]
    targets = torch.tensor([labels[i] for i in labelled], dtype=torch.int64)
    ahead = margins(analysis.graph, placed.region.center[labelled], targets, budget)
    predicted = dict(zip(labelled, _classes(analysis, labelled), strict=True)) if not analysis.graph.of else {}
    nearest = dict(zip(labelled, ahead.scatter(1, targets.unsqueeze(1), torch.inf).amin(1).tolist(), strict=True))
    for i in range(placed.batch):
        nothing = CertifiedInterval(placed.problem, placed.functional_names[i], subject=analysis.subject(i))
        label, margin = labels[i], nearest.get(i)
        correct = None if margin is None else margin > 0
        shown_label = UNLABELLED if label is None else label
        blank = PointAudit(i, shown_label, correct, margin, {COMBINED: nothing}, {COMBINED: 0.0}, fingerprint, plan)
        points.append(
            replace(blank, reference=analysis.reference(i), outside=placed.outside[i], predicted=predicted.get(i))
        )
    return points


def _classes(analysis: Analysis, points: Sequence[int]) -> list[int]:
    """The classes that the network gives these reference points, as float64 computes it."""
    if not points:
        return []
    with torch.no_grad():
        return analysis.graph(analysis.placed.region.center[list(points)]).flatten(1).argmax(1).tolist()


@functools.cache
def versions() -> dict[str, str]:
    """The versions of lipreg and of the packages that its proofs are computed with."""
    return {name: importlib.metadata.version(name) for name in ("lipreg", "torch", "highspy", "cvxpy")}
