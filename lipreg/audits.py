"""An audit as one call: a network, a question and points in, what is proved out, with the views of it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lipreg.arguments import check_functions, check_switches
from lipreg.auditing import COMBINED, AuditPlan, AuditProgress, PointAudit
from lipreg.auditing import audit as audit_points
from lipreg.auditing.budget_notes import budget_notes
from lipreg.auditing.call_records import CallRecords
from lipreg.auditing.executors import Executing
from lipreg.auditing.points import versions
from lipreg.auditing.reference_points import PointRecords
from lipreg.budget import Budget
from lipreg.certificates import Certificates, certificates_of
from lipreg.errors import InvalidInput, RenamedAttribute
from lipreg.estimators import Bound, Settings, frozen_analysis
from lipreg.estimators.asked import tensors_of
from lipreg.estimators.evaluate import Network, structure_of
from lipreg.estimators.settings import DEFAULTS
from lipreg.population import Sample
from lipreg.problem import LocalLipschitz
from lipreg.recorded import Recorded
from lipreg.records import AuditRecord, PointRecord, Record, RunRecord, started_now
from lipreg.results import Certificate
from lipreg.surveys import FIRST, Population, Survey, survey
from lipreg.words import aligned, capitalised, counted, written


@dataclass(frozen=True)
class AuditResult(Recorded):
    """What an audit proved at its reference points, and views of it.

    Attributes:
        problem: the question.
        points: what is proved at each point, in the order of the points.
        run: what the network is called, and of which audit the records are.
        survey: what the points, drawn at random, say of a whole data set; None where the caller chose them.
        certificates: of the exact points, with ``certificates=True``: ``save`` writes them beside the records.
        inputs: the reference points themselves, as records; none where they are not kept.
    """

    problem: LocalLipschitz
    points: tuple[PointAudit, ...]
    run: RunRecord
    survey: Survey | None = None
    certificates: Certificates | None = None
    inputs: tuple[PointRecord, ...] = ()
    exact = RenamedAttribute("points[i].combined")

    @property
    def population(self) -> Sample:
        """The constant as a sample of the data set: its quantiles, its mean, the share of points above a value.

        Raises:
            InvalidInput: the points were the caller's, not drawn from a population.
        """
        if self.survey is None:
            todo = "Write lipreg.audit(net, problem, population=Population(x, y, until=60))"
            raise InvalidInput(
                "points that were given", where="population", accepted="points drawn at random", todo=todo
            )
        return self.survey.sample

    @property
    def margins(self) -> Sample:
        """The margin over the constant as a sample of the data set: 0 at points that are classified wrongly.

        Raises:
            InvalidInput: the points were not drawn, or there are no margins that the constant bounds.
        """
        _ = self.population
        sample = None if self.survey is None else self.survey.over_constant
        if sample is None:
            accepted = "a class of each point, and a question about the margins of the true class, AllMargins()"
            raise InvalidInput("no margins that the constant bounds", where="margins", accepted=accepted)
        return sample

    @property
    def called(self) -> str:
        """What the network is called."""
        return self.run.run

    @property
    def records(self) -> list[Record]:
        """The run and its points, then one record for each point and estimator, as they are saved and read by every view."""
        audits = [record for point in self.points for record in self._audited(point)]
        drawn = [] if self.survey is None else [self.survey.record(self.run.run, self.run.id)]
        return [self.run, *self.inputs, *audits, *drawn]

    def _audited(self, point: PointAudit) -> list[AuditRecord]:
        """The records of a point; of what all estimators prove together with the name of its certificate."""
        audits, certificates = point.records(self.run.run, 0, None, self.run.id), self.certificates
        if certificates is None or point.point not in certificates.written:
            return audits
        file = certificates.written[point.point].name
        return [replace(record, certificate_file=file) if record.estimator == COMBINED else record for record in audits]

    def table(self) -> str:
        """A line a point, aligned: class, margin, both ends, gap, how it ended, seconds; the question above them."""
        rows = [("point", "class", "margin", "lower", "upper", "gap", "status", "seconds")]
        for point in self.points:
            label = "" if point.correct is None else f"{point.label}{'' if point.correct else ' (wrong)'}"
            margin = "" if point.margin is None else written(point.margin, 4)
            interval = point.combined
            ends = (
                written(interval.lower, 5),
                written(interval.upper, 5),
                written(interval.gap, 2) if interval.upper < math.inf else "1",
            )
            rows.append(
                (str(point.point), label, margin, *ends, interval.status.value, f"{point.seconds[COMBINED]:.1f}")
            )
        exact = sum(point.combined.certificate is Certificate.EXACT for point in self.points)
        below = [f"{exact} of {counted(len(self.points), 'point')} exact", *budget_notes(self.points), *self._outside()]
        sentences = [] if self.survey is None else ["", *(f"{capitalised(line)}." for line in self.survey.sentences())]
        sentences = [*([] if self.certificates is None else self.certificates.sentences()), *sentences]
        return "\n".join([self.problem.sentence(), "", *aligned(rows, left_columns=0), "", *below, *sentences])

    def _outside(self) -> list[str]:
        """Which points rounding had put outside of the region, in words; nothing where it had put none there."""
        far = [point for point in self.points if point.outside > 0]
        if not far:
            return []
        which = f"point {far[0].point}" + (f" and {counted(len(far) - 1, 'other')}" if len(far) > 1 else "")
        most = max(point.outside for point in far)
        return [f"{which} lay outside by up to {written(most, 2)}: the region is around the nearest point inside"]

    def save(self, path: str | Path) -> Path:
        """Adds the records to a file, one JSON object a line, and returns its path; reports read such files.

        Certificates are written beside it, and named in the records.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        saved = super().save(path)
        if self.certificates is not None:
            self.certificates.save(saved.parent)
        return saved


def audit(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor | None = None,
    y: Tensor | None = None,
    *,
    population: Population | Tensor | tuple[Tensor, Tensor] | None = None,
    estimators: Sequence[str | Bound] | None = None,
    budget: Budget | float = 60.0,
    settings: Settings = DEFAULTS,
    executor: Executing | None = None,
    name: str = "network",
    records: str | Path | None = None,
    certificates: bool = False,
    keep_points: bool = True,
    on_progress: Callable[[AuditProgress], None] | None = None,
) -> AuditResult:
    """What several estimators prove together about a network at reference points, under one budget.

        result = lipreg.audit(net, problem, x, y, budget=60)
        print(result.table())
        result.html("audit.html")

    In float64 on the CPU, of a frozen copy. Every interval is proved, whatever ended the audit.

    Args:
        network: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        problem: the question.
        x, y: reference points ``(batch, *shape)`` and, where the functional needs them, labels ``(batch,)``.
        population: a data set in the place of x and y, of whose points some are drawn at random to say what holds for all
            of them: x or (x, y), of which 60 are drawn, or a ``Population``. The points of the result have their indices.
        estimators: names or recipes; None takes the usual ones that cover the question.
        budget: for all points together, bounds, sampling and attacks included, a ``Budget`` or a number of seconds; what was
            left out for want of it stands below the table.
        settings: which engines serve, and the seed.
        executor: where searches run: "inline", "processes", or as for ``lipreg.auditing.audit``.
        name: what the network is called in records and views.
        records: a file to which the records of each point are added as soon as it is done, so that a Ctrl-C or a kill loses
            none of them. What stands there of this network, question and points, proved with the same settings, is not
            proved again: the call that was cut short goes on, as a run of its own.
        certificates: whether certificates are written of the points that are exact, for which there is as much time again:
            files that ``lipreg check`` re-derives both ends from (docs/certificates.md), beside ``records``, or where the
            result is saved.
        keep_points: whether the records hold the points themselves, for pages that show them beside their witnesses.
            Witnesses, which are close to them, are there in any case.
        on_progress: called whenever something was added to a point.

    Raises:
        InvalidInput: points that do not fit the region or the network, unknown estimators, a budget without an end,
            points beside a population, or a record file that cannot be written.
        UnsupportedRequest: an estimator does not cover the question or the network.
        UnsupportedModel: the network has calls that are not lowered.
    """
    plan = AuditPlan(problem, estimators, Budget.of(budget, "audit"), settings)  # type: ignore[arg-type]
    check_switches("audit", certificates=certificates, keep_points=keep_points)
    check_functions("audit", on_progress=on_progress)
    if not isinstance(name, str):
        raise InvalidInput(f"name={name!r}", where="audit", accepted="a text", todo='Write name="network", say')
    if population is not None and (x is not None or y is not None):
        raise InvalidInput("points beside a population", where="audit", accepted="x and y, or population")
    drawn = None if population is None else Population.of(population)
    if drawn is None and x is None:
        raise InvalidInput("no points", where="audit", accepted="x, or population=Population(x, y)")
    if drawn is None:
        x, y = tensors_of(x, y, "audit")
    run = RunRecord(
        name,
        question=problem.describe(),
        sentence=problem.sentence(),
        id=secrets.token_hex(6),
        started=started_now(),
        versions=versions(),
        of_training=False,
    ).invoked()

    def certified(x: Tensor, y: Tensor | None, points: Sequence[PointAudit]) -> Certificates | None:
        if not certificates:
            return None
        indices = [point.point for point in points]
        analysis = frozen_analysis(
            network, problem, x[indices], None if y is None else y[indices], where="certificates"
        )
        exact = {i: point.combined for i, point in enumerate(points)}
        proofs = certificates_of(analysis, exact, replace(plan.budget, nodes=None), call.folder).numbered(indices)
        call.name({point: written.name for point, written in proofs.written.items()})
        return proofs

    all_x, all_y = (x, y) if drawn is None else (drawn.x, drawn.y)
    assert all_x is not None
    inputs = PointRecords(all_x, name, run.id) if keep_points else None

    def result(points: Sequence[PointAudit], surveyed: Survey | None = None) -> AuditResult:
        at = () if inputs is None else tuple(inputs[point.point] for point in points)
        return AuditResult(problem, tuple(points), run, surveyed, certified(all_x, all_y, points), at)

    with CallRecords(records, certificates) as call:
        options: dict[str, Any] = {"executor": executor, "on_progress": call.listener(run, on_progress, inputs)}
        if drawn is None:
            subject = structure_of(network, all_x, y, "audit")
            points = audit_points(subject, plan, all_x, y, earlier=call.earlier(subject, problem, all_x), **options)
            return result(points)
        some = drawn.x[:FIRST]
        subject = structure_of(network, some, None if drawn.y is None else drawn.y[:FIRST], "audit")
        surveyed = survey(subject, plan, drawn, earlier=call.earlier(subject, problem, some), **options)
        call.append(run, surveyed.record(name, run.id))
        return result(surveyed.points, surveyed)
