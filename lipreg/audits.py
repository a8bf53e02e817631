"""An audit as one call: a network, a question and points in, what is proved out, with the views of it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from lipreg.auditing import EXACT, AuditPlan, PointAudit, Progress
from lipreg.auditing import audit as audit_points
from lipreg.auditing.executors import Executing
from lipreg.auditing.points import versions
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound, Settings
from lipreg.estimators.evaluate import Network
from lipreg.estimators.settings import DEFAULTS
from lipreg.population import Sample
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, Record, RecordFile, RunRecord, Source, Sources
from lipreg.results import Certificate
from lipreg.surveys import Population, Survey, survey
from lipreg.words import aligned, counted


@dataclass(frozen=True)
class AuditResult:
    """What an audit proved at its reference points, and views of it.

    Attributes:
        problem: the question.
        points: what is proved at each point, in the order of the points.
        run: what the network is called, and of which audit the records are.
        survey: what the points, drawn at random, say of a whole data set; None where they were given.
    """

    problem: LocalLipschitz
    points: tuple[PointAudit, ...]
    run: RunRecord
    survey: Survey | None = None

    @property
    def population(self) -> Sample:
        """The constant as a sample of the data set: its quantiles, its mean, the share of points above a value.

        Raises:
            InvalidInput: the points were given, not drawn from a population.
        """
        if self.survey is None:
            todo = "Write lipreg.audit(net, problem, population=Population(x, y, until=60))"
            raise InvalidInput(
                "points that were given", where="population", accepted="points drawn at random", todo=todo
            )
        return self.survey.sample

    @property
    def records(self) -> list[Record]:
        """The run, then one record for each point and estimator, as they are saved and read by every view."""
        audits = [record for point in self.points for record in point.records(self.run.run, 0, None, self.run.id)]
        drawn = [] if self.survey is None else [self.survey.record(self.run.run, self.run.id, versions())]
        return [self.run, *audits, *drawn]

    def table(self) -> str:
        """A line a point, aligned: class, margin, both ends, gap, how it ended, seconds; the question above them."""
        rows = [("point", "class", "margin", "lower", "upper", "gap", "status", "seconds")]
        for point in self.points:
            label = "" if point.correct is None else f"{point.label}{'' if point.correct else ' (wrong)'}"
            margin = "" if point.margin is None else f"{point.margin:.4g}"
            found = point.exact
            ends = f"{found.lower:.5g}", f"{found.upper:.5g}", f"{found.gap:.2g}" if found.upper < math.inf else "1"
            rows.append((str(point.point), label, margin, *ends, found.status.value, f"{point.seconds[EXACT]:.1f}"))
        exact = sum(point.exact.certificate is Certificate.EXACT for point in self.points)
        below = f"{exact} of {counted(len(self.points), 'point')} exact"
        told = (
            [] if self.survey is None else ["", *(f"{line[:1].upper()}{line[1:]}." for line in self.survey.sentences())]
        )
        return "\n".join([self.problem.sentence(), "", *aligned(rows, left=0), "", below, *told])

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary for each point and estimator: the fields of ``AuditRecord``."""
        return [dict(vars(record)) for record in self.records if isinstance(record, AuditRecord)]

    def frame(self) -> Any:
        """The records as a pandas DataFrame: that of ``lipreg.reporting.frames.audit_frame``.

        Raises:
            MissingExtra: pandas is not installed; ``rows()`` needs nothing.
        """
        from lipreg.reporting.frames import audit_frame

        return audit_frame(self.records)

    def html(self, path: str | Path) -> Path:
        """Writes the page of this audit, and returns its path.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        from lipreg.reporting.html import write_runs_report

        return write_runs_report(Sources((Source(self.run.run, tuple(self.records)),)), path)

    def save(self, path: str | Path) -> Path:
        """Adds the records to a file, one JSON object a line, and returns its path; reports read such files.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        file = RecordFile(path)
        file.append(*self.records)
        return file.path


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
    on_progress: Callable[[Progress], None] | None = None,
) -> AuditResult:
    """What several estimators prove together about a network at reference points, under one budget.

        found = lipreg.audit(net, problem, x, y, budget=60)
        print(found.table())
        found.html("audit.html")

    In float64 on the CPU, of a frozen copy. Every interval is proved, whatever ended the audit.

    Args:
        network: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        problem: the question.
        x, y: reference points ``(batch, *shape)`` and, where the functional needs them, labels ``(batch,)``.
        population: a data set in the place of x and y, of whose points some are drawn at random to say what holds for all
            of them: x or (x, y), of which 60 are drawn, or a ``Population``. The points of the result have their indices.
        estimators: names or recipes; None takes the usual ones that cover the question.
        budget: for the searches at all points together, a ``Budget`` or a number of seconds.
        settings: which engines serve, and the seed.
        executor: where searches run: "inline", "processes", or as for ``lipreg.auditing.audit``.
        name: what the network is called in records and views.
        on_progress: called whenever something was added to a point.

    Raises:
        InvalidInput: points that do not fit the region or the network, unknown estimators, a budget without an end, or
            points beside a population.
        UnsupportedRequest: an estimator does not cover the question or the network.
        UnsupportedModel: the network has calls that are not lowered.
    """
    plan = AuditPlan(problem, estimators, Budget.of(budget, "audit"), settings)  # type: ignore[arg-type]
    surveyed = None
    if population is not None:
        if x is not None or y is not None:
            raise InvalidInput("points beside a population", where="audit", accepted="x and y, or population")
        surveyed = survey(network, plan, Population.of(population), executor, on_progress)
        points = list(surveyed.points)
    elif x is None:
        raise InvalidInput("no points", where="audit", accepted="x, or population=Population(x, y)")
    else:
        points = audit_points(network, plan, x, y, executor=executor, on_progress=on_progress)
    run = RunRecord(
        name,
        question=problem.describe(),
        sentence=problem.sentence(),
        id=secrets.token_hex(6),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        of_training=False,
    )
    return AuditResult(problem, tuple(points), run, surveyed)
