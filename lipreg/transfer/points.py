"""From saved records to the figures of single reference points: selection, matching and their checks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, Record, RunRecord
from lipreg.runs import RecordedRun, as_json, certified_description, choose_run, recorded_runs, same_recipe
from lipreg.transfer.likeness import Likeness, likeness
from lipreg.transfer.metric import choose_metric, read_as
from lipreg.transfer.radius import certified_radius
from lipreg.transfer.ratios import Interval
from lipreg.transfer.tightness import tightness

EXACT = "exact"
"""The estimator name under which an audit saves what all its methods together prove."""

_ROUNDING = 1e-9  # relative; a bound and a witness are float64 evaluations of different formulas


@dataclass(frozen=True)
class PointFigures:
    """One reference point of one run at one epoch.

    Attributes:
        point: its index.
        bound: upper end of the penalised bound; inf when it proved none.
        lp: upper end of the LP relaxation, where it ran.
        sampling: lower end of random sampling, where it ran.
        exact: the interval that all methods together prove for the constant.
        tightness: bound / exact; None when the bound is infinite or the constant is certainly 0.
        radius: ``certified_radius`` of the exact record.
        record: the exact record itself, with its certificate, status and functional.
        recipe: of the bound; empty where the records do not tell it.
    """

    point: int
    bound: float
    lp: float | None
    sampling: float | None
    exact: Interval
    tightness: Interval | None
    radius: float | None
    record: AuditRecord
    recipe: Mapping[str, Any] = field(default_factory=dict)


def regularised_run(records: Iterable[Record], run: str) -> RunRecord:
    """The record of a run that has a penalised bound and a twin.

    Args:
        records: of both runs; others are ignored.
        run: id or label of the regularised run.

    Raises:
        InvalidInput: there is no such run, or several; it has no twin or no penalised bound, or several runs could be its
            twin.
        IncomparableResults: the twin was trained from another seed, or with a penalty.
    """
    return regularised_pair(records, run)[0].record


def regularised_pair(records: Iterable[Record], run: str) -> tuple[RecordedRun, RecordedRun | None]:
    """A run that has a penalised bound and a twin, and the twin, where the records have it.

    Raises:
        InvalidInput, IncomparableResults: as ``regularised_run``.
    """
    runs = recorded_runs(records)
    pairs = ", ".join(sorted(repr(r.label) for r in runs if r.record.twin is not None and r.record.bound is not None))
    mine = choose_run(runs, run, "records")
    if mine is None:
        raise InvalidInput(
            f"no run {run!r}", where="records", accepted=pairs or "a regularised run that names its twin"
        )
    found = mine.record
    if found.twin is None or found.bound is None:
        raise InvalidInput(
            f"run {run!r} has no {'twin' if found.twin is None else 'penalised bound'}, so there is nothing to compare",
            where="records",
            accepted=pairs or "a regularised run that names its twin",
        )
    others = [r for r in runs if r is not mine]
    if found.twin_id:
        twin = next((r for r in others if r.record.id == found.twin_id), None)
    else:
        twin = choose_run(others, found.twin, f"twin of {run!r}")
    check_twin(found, twin)
    return mine, twin


def check_twin(run: RunRecord, twin: RecordedRun | None) -> None:
    """Raises IncomparableResults if the twin had a penalty or another seed."""
    told = twin and twin.record
    if twin and told and (twin.penalised or (None not in (told.seed, run.seed) and told.seed != run.seed)):
        weight = twin.course or f"weight {told.weight:g}"
        raise IncomparableResults(
            f"{told.run!r} (seed {told.seed}, {weight}) is no twin of {run.run!r} (seed {run.seed})",
            where="records",
            accepted="a twin with the same seed and weight 0",
        )


class TwinAudits:
    """The audits of a regularised run and its twin, by epoch and point. Of two records of one audit the later counts.

    Args:
        records: of both runs; others are ignored.
        run: id or label of the regularised run.

    Attributes:
        runs: what the two are called here: their labels, the twin's with its id where both have the same.
        likeness: what the two are known to share.
        metric: the task's own metric, None where nothing fits; ``metrics`` has its values, by run and epoch.
        of_trainings: whether epochs count what was trained, as of all runs but networks of which nothing else is known.

    Raises:
        InvalidInput: as ``regularised_run``; one run on audits of two different networks at the same epoch.
        IncomparableResults: as ``regularised_run``; records of different questions.
    """

    def __init__(self, records: Sequence[Record], run: str, metric: str | None = None) -> None:
        self._join(*regularised_pair(records, run), metric)

    @classmethod
    def of(cls, mine: RecordedRun, twin: RecordedRun | None, metric: str | None = None) -> TwinAudits:
        """Of two runs that were put together by other means than the twin's name; the first names its bound.

        Raises:
            InvalidInput, IncomparableResults: as the class.
        """
        audits = cls.__new__(cls)
        audits._join(mine, twin, metric)
        return audits

    def _join(self, mine: RecordedRun, twin: RecordedRun | None, metric: str | None) -> None:
        check_twin(mine.record, twin)
        self.regularised = mine.record
        self.likeness = Likeness() if twin is None else likeness(mine, twin)
        self.bound_name = str(mine.record.bound)
        self._recipe = certified_description(mine.record.recipe)
        other = str(mine.record.twin) if twin is None else twin.label
        if other == mine.label:
            other = f"{other} ({twin.record.id[:8] if twin is not None else 'twin'})"
        self.runs = (mine.label, other)
        sides = [(name, side) for name, side in zip(self.runs, (mine, twin), strict=True) if side is not None]
        self.of_trainings = all(side.record.of_training for _, side in sides)
        asked = [side.record.question for _, side in sides if side.record.question]
        self.question = _one_question([*asked, *(r.question for _, side in sides for r in side.audits)])
        self._audits: dict[tuple[str, int], dict[int, dict[str, AuditRecord]]] = {}
        for name, side in sides:
            # what a training left in place of its last weights counts for its last epoch
            left = {r.epoch for r in side.audits if r.weights != "training"}
            for r in (r for r in side.audits if r.weights != "training" or r.epoch not in left):
                self._audits.setdefault((name, r.epoch), {}).setdefault(r.point, {})[r.estimator] = r
        for (name, epoch), points in self._audits.items():
            if len({r.fingerprint for methods in points.values() for r in methods.values()}) > 1:
                raise InvalidInput(
                    f"audits of different weights for run {name!r} at epoch {epoch}",
                    where="records",
                    accepted="one network a run and epoch",
                    todo="Give repeated runs their own names, or read only one of the folders",
                )
        told = [(name, r) for name, side in sides for r in side.epochs]
        shown = choose_metric(
            [metric or "", *(side.record.metric for _, side in sides)], {key for _, r in told for key in r.metrics}
        )
        self.metrics: dict[tuple[str, int], float] = {
            (name, r.epoch): r.metrics[shown] for name, r in told if shown is not None and shown in r.metrics
        }
        self.metric = None if shown is None or not self.metrics else read_as(shown, self.metrics.values())

    def epochs(self, run: str) -> list[int]:
        """The epochs at which anything was audited."""
        return sorted(epoch for name, epoch in self._audits if name == run)

    def indices(self, run: str, epoch: int) -> set[int]:
        """The points at which anything was audited."""
        return set(self._audits.get((run, epoch), {}))

    def exact(self, run: str, epoch: int) -> dict[int, AuditRecord]:
        """The exact records, by point, whether or not the penalised bound is known there."""
        found = self._audits.get((run, epoch), {})
        return {i: methods[EXACT] for i, methods in sorted(found.items()) if EXACT in methods}

    def points(self, run: str, epoch: int) -> dict[int, PointFigures]:
        """The points with both a penalised bound and an exact record, by index.

        Raises:
            CrossingBounds: an upper end lies below a witness, by more than rounding.
            IncomparableResults: estimators answered for different functionals at one point, or the bound of that name is
                by another recipe than the penalty's.
        """
        found = self._audits.get((run, epoch), {})
        bounds = {i: self._bound(methods) for i, methods in sorted(found.items()) if EXACT in methods}
        return {i: self._figures(found[i], bound) for i, bound in bounds.items() if bound is not None}

    def bound_and_truth(self, run: str) -> list[tuple[float, float]]:
        """(bound, midpoint of the exact interval) over all points and epochs where both are finite."""
        points = [p for epoch in self.epochs(run) for p in self.points(run, epoch).values()]
        return [(p.bound, p.exact.midpoint) for p in points if math.inf not in (p.bound, p.exact.upper)]

    def _bound(self, methods: dict[str, AuditRecord]) -> AuditRecord | None:
        """The record of the penalised bound at a point: by its recipe, where records tell it, else by its name."""
        named, told = methods.get(self.bound_name), [r for r in methods.values() if self._recipe and r.recipe]
        found = next((r for r in told if same_recipe(r.recipe, self._recipe)), named)
        if found is not None:
            check_same_recipe(found.recipe, self._recipe, f"run {found.run!r}, point {found.point}")
        return found

    def _figures(self, methods: dict[str, AuditRecord], bound: AuditRecord) -> PointFigures:
        truth = methods[EXACT]
        exact = Interval(truth.lower, truth.upper)
        for method in methods.values():
            check_same_functional(truth, method)
            if method.upper < exact.lower * (1 - _ROUNDING):
                raise CrossingBounds(
                    f"{method.estimator} gives upper {method.upper:.12g}, a witness attains {exact.lower:.12g}",
                    where=f"run {truth.run!r}, epoch {truth.epoch}, point {truth.point}",
                    todo="One of the two proofs is wrong. Please report this with the network and the reference point",
                )
        return PointFigures(
            point=truth.point,
            bound=bound.upper,
            lp=methods["lp"].upper if "lp" in methods else None,
            sampling=methods["sampling"].lower if "sampling" in methods else None,
            exact=exact,
            tightness=tightness(bound.upper, exact),
            radius=certified_radius(truth),
            record=truth,
            recipe=bound.recipe,
        )


def check_same_recipe(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Raises IncomparableResults unless both recipes make the same bound."""
    if not same_recipe(found, wanted):
        differing = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        raise IncomparableResults(
            "; ".join(f"{key} {found.get(key)!r} against {wanted.get(key)!r}" for key in differing),
            where=where,
            accepted="bounds of one recipe",
            todo=f"Audit the penalised bound there too: {how_to_audit(wanted)}",
        )


def how_to_audit(recipe: Mapping[str, Any]) -> str:
    """The argument of an audit that adds a bound's recipe."""
    methods = recipe.get("preactivations")
    told = "" if methods is None else f", preactivations={methods if isinstance(methods, str) else list(methods)!r}"
    return f"LipschitzAudit(estimators=[..., Bound({recipe.get('estimator')!r}{told})])"


def check_same_functional(first: AuditRecord, second: AuditRecord) -> None:
    """Raises IncomparableResults unless both records are about the same reference point and functional of the output."""
    if first.reference and second.reference and first.reference != second.reference:
        raise IncomparableResults(
            f"point {first.point} of {first.run!r} is another reference point than point {second.point} of {second.run!r}",
            where="comparing audits",
            accepted="audits at the same reference points",
            todo="Give both audits the same points=(x, y), or the same data, number of points and seed",
        )
    if (first.functional, first.label) != (second.functional, second.label):
        one, two = (f"{r.functional!r} (label {r.label}) in {r.run!r}" for r in (first, second))
        raise IncomparableResults(
            f"point {first.point} is about {one} and {two}",
            where="comparing audits",
            accepted="the same reference point and functional",
            todo="A runner-up changes as a network trains: use AllMargins(), or name the rival",
        )


def _one_question(questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    kinds = {as_json(q): q for q in questions}
    if len(kinds) > 1:
        first, second = list(kinds.values())[:2]
        keys = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        raise IncomparableResults(
            "; ".join(f"{k} {first.get(k)!r} against {second.get(k)!r}" for k in keys),
            where="comparing audits",
            accepted="equal scope, norms, region and functional",
            todo="Read the records of one question only",
        )
    return next(iter(kinds.values()), {})
