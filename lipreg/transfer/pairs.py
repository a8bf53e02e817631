"""A regularised run and its twin, put together: what the two are called, what they share and what is shown of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.plain import distinct
from lipreg.records import Record, RunRecord
from lipreg.runs import RecordedRun, certified_description, choose_run, recorded_runs
from lipreg.transfer.likeness import Likeness, likeness
from lipreg.transfer.metric import Metric, shown_metric
from lipreg.transfer.sides import Side
from lipreg.words import written


@dataclass(frozen=True)
class Pair:
    """A run and its twin. Every table, figure and page is made of these two sides.

    Attributes:
        regularised: the regularised run.
        twin: its twin; without audits where the records do not have it.
        question: that both answer.
        metric: which of the logged metrics is shown; None where nothing fits.
        likeness: what the two share, as far as records tell.
    """

    regularised: Side
    twin: Side
    question: dict[str, Any]
    metric: Metric | None
    likeness: Likeness

    @classmethod
    def of(cls, mine: RecordedRun, twin: RecordedRun | None, metric: str | None = None) -> Pair:
        """The pair of two runs that were put together by whatever means; the first one says which bound is compared.

        Args:
            mine, twin: the runs; None stands for a twin of which nothing is recorded.
            metric: name of the logged metric to show; None takes that of the runs' records, else what fits.

        Raises:
            InvalidInput: one run has audits of two different networks at the same epoch.
            IncomparableResults: the twin had a penalty or another seed, or the records answer different questions.
        """
        check_twin(mine.record, twin)
        shared = Likeness() if twin is None else likeness(mine, twin)
        other = twin or RecordedRun(RunRecord(str(mine.record.twin)))
        questions = distinct(r.question for run in (mine, other) for r in (run.record, *run.audits) if r.question)
        if len(questions) > 1:
            first, second = questions[:2]
            keys = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
            raise IncomparableResults(
                "; ".join(f"{k} {first.get(k)!r} against {second.get(k)!r}" for k in keys),
                where="comparing audits",
                accepted="equal scope, norms, region and functional",
                todo="Read the records of one question only",
            )
        wanted = [metric or "", mine.record.metric, other.record.metric]
        shown = shown_metric(wanted, [r.metrics for run in (mine, other) for r in run.epochs])
        called = other.label if other.label != mine.label else f"{other.label} ({other.record.id[:8] or 'twin'})"
        recipe = certified_description(mine.record.recipe)

        def side(name: str, run: RecordedRun) -> Side:
            values = {r.epoch: r.metrics[shown.name] for r in run.epochs if shown and shown.name in r.metrics}
            return Side(name, run, mine.bound, recipe, values)

        return cls(side(mine.label, mine), side(called, other), questions[0] if questions else {}, shown, shared)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both, the regularised run first."""
        return self.regularised, self.twin

    @property
    def roles(self) -> tuple[str, str]:
        """What the two are called: "regularised", or "network" where no training is recorded; and "twin"."""
        return roles(self.of_trainings)

    @property
    def of_trainings(self) -> bool:
        """Whether both are runs of a training, so that their epochs mean something; False for networks alone."""
        return all(side.run.record.of_training for side in self.sides)


def roles(of_trainings: bool) -> tuple[str, str]:
    """What the two sides of a comparison are called.

    Args:
        of_trainings: whether both are runs of a training, and not networks alone.
    """
    return ("regularised" if of_trainings else "network"), "twin"


def find_pair(records: Iterable[Record], run: str, metric: str | None = None) -> Pair:
    """The pair of a run that has a penalised bound and a twin, and of that twin, where the records have it.

    Args:
        records: of both runs; others are ignored.
        run: id or label of the regularised run; its ``RunRecord`` names the twin and the bound.
        metric: as for ``Pair.of``.

    Raises:
        InvalidInput: there is no such run, or several; it has no twin or no penalised bound, or several runs could be its
            twin; or as ``Pair.of``.
        IncomparableResults: as ``Pair.of``.
    """
    runs = recorded_runs(records)
    pairs = ", ".join(sorted(repr(r.label) for r in runs if r.record.twin is not None and r.record.bound is not None))
    mine = choose_run(runs, run, "records")
    if mine is None or mine.record.twin is None or mine.record.bound is None:
        lacks = "penalised bound" if mine is not None and mine.record.twin is not None else "twin"
        raise InvalidInput(
            f"no run {run!r}" if mine is None else f"run {run!r} has no {lacks}, so there is nothing to compare",
            where="records",
            accepted=pairs or "a regularised run that names its twin",
        )
    others = [r for r in runs if r is not mine]
    if mine.record.twin_id:
        twin = next((r for r in others if r.record.id == mine.record.twin_id), None)
    else:
        twin = choose_run(others, mine.record.twin, f"twin of {run!r}")
    return Pair.of(mine, twin, metric)


def check_twin(run: RunRecord, twin: RecordedRun | None) -> None:
    """Raises IncomparableResults if the twin had a penalty or another seed."""
    if twin is None:
        return
    record = twin.record
    if twin.penalised or (None not in (record.seed, run.seed) and record.seed != run.seed):
        weight = twin.course or f"weight {written(record.weight)}"
        raise IncomparableResults(
            f"{record.run!r} (seed {record.seed}, {weight}) is no twin of {run.run!r} (seed {run.seed})",
            where="records",
            accepted="a twin with the same seed and weight 0",
        )
