"""From saved records to the figures of single reference points: selection, matching and their checks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord
from lipreg.transfer.radius import certified_radius
from lipreg.transfer.ratios import Interval, ratio

ACCURACY = "val_accuracy"
"""The key of ``EpochRecord.metrics`` shown beside the constants; a share in [0, 1]."""

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
    """

    point: int
    bound: float
    lp: float | None
    sampling: float | None
    exact: Interval
    tightness: Interval | None
    radius: float | None
    record: AuditRecord


def regularised_run(records: Iterable[Record], run: str) -> RunRecord:
    """The record of a run that has a penalised bound and a twin.

    Raises:
        InvalidInput: there is no such run, or it has no twin or no penalised bound.
        IncomparableResults: the twin was trained from another seed, or with a penalty.
    """
    # a resumed run repeats its record: the last one counts
    runs = {r.run: r for r in records if isinstance(r, RunRecord)}
    pairs = ", ".join(sorted(repr(r.run) for r in runs.values() if r.twin is not None and r.bound is not None))
    if run not in runs:
        raise InvalidInput(
            f"no run {run!r}", where="records", accepted=pairs or "a regularised run that names its twin"
        )
    found = runs[run]
    if found.twin is None or found.bound is None:
        raise InvalidInput(
            f"run {run!r} has no {'twin' if found.twin is None else 'penalised bound'}, so there is nothing to compare",
            where="records",
            accepted=pairs or "a regularised run that names its twin",
        )
    twin = runs.get(found.twin)
    if twin and (twin.weight != 0 or (None not in (twin.seed, found.seed) and twin.seed != found.seed)):
        raise IncomparableResults(
            f"{twin.run!r} (seed {twin.seed}, weight {twin.weight:g}) is no twin of {run!r} (seed {found.seed})",
            where="records",
            accepted="a twin with the same seed and weight 0",
        )
    return found


class TwinAudits:
    """The audits of a regularised run and its twin, by epoch and point. Of two records of one audit the later counts.

    Args:
        records: of both runs; others are ignored.
        run: the regularised run.

    Raises:
        InvalidInput: as ``regularised_run``; one run name on audits of two different networks at the same epoch.
        IncomparableResults: as ``regularised_run``; records of different questions.
    """

    def __init__(self, records: Sequence[Record], run: str) -> None:
        self.regularised = regularised_run(records, run)
        self.bound_name = str(self.regularised.bound)
        self.runs = (run, str(self.regularised.twin))
        audits = [r for r in records if isinstance(r, AuditRecord) and r.run in self.runs]
        asked = [r.question for r in records if isinstance(r, RunRecord) and r.run in self.runs and r.question]
        self.question = _one_question([*asked, *(r.question for r in audits)])
        self._audits: dict[tuple[str, int], dict[int, dict[str, AuditRecord]]] = {}
        for r in audits:
            self._audits.setdefault((r.run, r.epoch), {}).setdefault(r.point, {})[r.estimator] = r
        for (name, epoch), points in self._audits.items():
            if len({r.fingerprint for methods in points.values() for r in methods.values()}) > 1:
                raise InvalidInput(
                    f"audits of different weights for run {name!r} at epoch {epoch}",
                    where="records",
                    accepted="one network a run and epoch",
                    todo="Give repeated runs their own names, or read only one of the folders",
                )
        self.accuracy: dict[tuple[str, int], float] = {
            (r.run, r.epoch): r.metrics[ACCURACY]
            for r in records
            if isinstance(r, EpochRecord) and r.run in self.runs and ACCURACY in r.metrics
        }

    def epochs(self, run: str) -> list[int]:
        """The epochs at which anything was audited."""
        return sorted(epoch for name, epoch in self._audits if name == run)

    def indices(self, run: str, epoch: int) -> set[int]:
        """The points at which anything was audited."""
        return set(self._audits.get((run, epoch), {}))

    def points(self, run: str, epoch: int) -> dict[int, PointFigures]:
        """The points with both a penalised bound and an exact record, by index.

        Raises:
            CrossingBounds: an upper end lies below a witness, by more than rounding.
            IncomparableResults: estimators answered for different functionals at one point.
        """
        found = self._audits.get((run, epoch), {})
        return {i: self._figures(found[i]) for i in sorted(found) if {self.bound_name, EXACT} <= found[i].keys()}

    def bound_and_truth(self, run: str) -> list[tuple[float, float]]:
        """(bound, midpoint of the exact interval) over all points and epochs where both are finite."""
        points = [p for epoch in self.epochs(run) for p in self.points(run, epoch).values()]
        return [(p.bound, p.exact.midpoint) for p in points if math.inf not in (p.bound, p.exact.upper)]

    def _figures(self, methods: dict[str, AuditRecord]) -> PointFigures:
        truth, bound = methods[EXACT], methods[self.bound_name]
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
            tightness=None if bound.upper == math.inf else ratio(Interval(bound.upper, bound.upper), exact),
            radius=certified_radius(truth),
            record=truth,
        )


def check_same_functional(first: AuditRecord, second: AuditRecord) -> None:
    """Raises IncomparableResults unless both records are about the same functional of the output."""
    if (first.functional, first.label) != (second.functional, second.label):
        one, two = (f"{r.functional!r} (label {r.label}) in {r.run!r}" for r in (first, second))
        raise IncomparableResults(
            f"point {first.point} is about {one} and {two}",
            where="comparing audits",
            accepted="the same reference point and functional",
            todo="A runner-up changes as a network trains: use AllMargins(), or name the rival",
        )


def _one_question(questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # compared as JSON: a record read back from a file has lists where a fresh one has tuples
    kinds = {json.dumps(q, sort_keys=True): q for q in questions}
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
