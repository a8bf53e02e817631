"""One run beside the bound that is compared with its truth: its audits and figures by epoch and point."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.records import COMBINED, TRAINING, AuditRecord, CalibrationRecord
from lipreg.results import Certificate, Status
from lipreg.runs import RecordedRun, same_recipe
from lipreg.transfer.points import PointFigures, check_same_functional, check_same_recipe
from lipreg.transfer.ratios import Interval
from lipreg.transfer.run_figures import RunFigures

_SAME_FACTOR = 1e-2  # relative; outputs are computed in float32, on devices that add up in any order
_ROUNDING = 1e-9  # relative; a bound and a witness are float64 evaluations of different formulas


@dataclass(frozen=True)
class Side:
    """A run as one side of a comparison. Of two records of one audit the later counts.

    Attributes:
        name: what it is called beside the other one.
        run: its records.
        bound: the estimator whose bound is compared with the truth.
        recipe: of that bound, with proved norms; empty where records do not tell it.
        metric: the task's own metric, by epoch.

    Raises:
        InvalidInput: it has audits of two different networks at the same epoch.
        CrossingBounds: two of its records of the same network, point and functional contradict each other, by more than
            rounding: an upper end of the one lies below what a witness of the other attains.
    """

    name: str
    run: RecordedRun
    bound: str
    recipe: Mapping[str, Any]
    metric: Mapping[int, float]

    def __post_init__(self) -> None:
        for epoch, points in self.audits.items():
            if len({r.fingerprint for methods in points.values() for r in methods.values()}) > 1:
                raise InvalidInput(
                    f"audits of different weights for run {self.name!r} at epoch {epoch}",
                    where="records",
                    accepted="one network a run and epoch",
                    todo="Give repeated runs their own names, or read only one of the folders",
                )
        self._check_agreement()

    @cached_property
    def audits(self) -> dict[int, dict[int, dict[str, AuditRecord]]]:
        """All audits, by epoch, point and estimator; epochs and points in ascending order."""
        # what a training left in place of its last weights counts for its last epoch
        replaced = {r.epoch for r in self.run.audits if r.weights != TRAINING}
        by_epoch: dict[int, dict[int, dict[str, AuditRecord]]] = {}
        for r in sorted(self.run.audits, key=lambda r: (r.epoch, r.point)):
            if r.weights != TRAINING or r.epoch not in replaced:
                by_epoch.setdefault(r.epoch, {}).setdefault(r.point, {})[r.estimator] = r
        return by_epoch

    @cached_property
    def points(self) -> dict[int, dict[int, PointFigures]]:
        """The points with both a penalised bound and a combined record, by epoch and index.

        Raises:
            IncomparableResults: estimators answered for different functionals at one point, or the bound of that name is
                by another recipe than the penalty's.
        """
        figures: dict[int, dict[int, PointFigures]] = {}
        for epoch, points in self.audits.items():
            bounds = {i: self._bound(methods) for i, methods in points.items() if COMBINED in methods}
            figures[epoch] = {i: _figures(points[i], bound) for i, bound in bounds.items() if bound is not None}
        return figures

    @cached_property
    def trajectory(self) -> list[RunFigures]:
        """The means at each epoch with such a point."""
        return [self.figures(epoch, list(points.values())) for epoch, points in self.points.items() if points]

    def figures(self, epoch: int, points: Sequence[PointFigures], **more: float | None) -> RunFigures:
        """The means over some points of an epoch.

        Args:
            epoch: completed training epochs.
            points: the figures of its points, at least one.
            **more: ``radius`` and ``rank_correlation`` of ``RunFigures``, which a comparison knows.
        """
        calibration = self.calibrations.get(epoch)
        return RunFigures(self.name, epoch, tuple(points), self.metric.get(epoch), **more, calibration=calibration)

    @cached_property
    def calibrations(self) -> dict[int, CalibrationRecord]:
        """What the outputs of the audited weights mean, by epoch; records about other weights are ignored.

        Raises:
            InvalidInput: two records of the same weights and points have different factors.
        """
        audited = {
            r.epoch: r.fingerprint for points in self.audits.values() for m in points.values() for r in m.values()
        }
        by_epoch: dict[int, CalibrationRecord] = {}
        for r in self.run.calibrations:
            if audited.get(r.epoch) == r.fingerprint:
                _check_same_factor(by_epoch.get(r.epoch, r), r)
                by_epoch[r.epoch] = r
        return by_epoch

    def combined(self, epoch: int) -> dict[int, AuditRecord]:
        """The combined records, by point, whether or not the penalised bound was audited there."""
        points = self.audits.get(epoch, {})
        return {i: methods[COMBINED] for i, methods in points.items() if COMBINED in methods}

    def bound_and_truth(self) -> list[tuple[float, float]]:
        """(bound, midpoint of the combined interval) over all points and epochs where both are finite."""
        points = [p for of_epoch in self.points.values() for p in of_epoch.values()]
        return [(p.bound, p.combined.midpoint) for p in points if math.inf not in (p.bound, p.combined.upper)]

    def _check_agreement(self) -> None:
        """Raises CrossingBounds if two records contradict each other.

        A record that a later one replaces is a proof as well, and is compared with the others.
        """
        alike: dict[Hashable, list[AuditRecord]] = {}
        for r in self.run.audits:
            alike.setdefault((r.epoch, r.point, r.fingerprint, r.functional, r.label), []).append(r)
        for records in alike.values():
            if min(r.upper for r in records) < max(r.lower for r in records) * (1 - _ROUNDING):
                highest = sorted(records, key=lambda r: -r.lower)
                for one, other in product(sorted(records, key=lambda r: r.upper), highest):
                    _check_meet(one, other)

    def _bound(self, methods: Mapping[str, AuditRecord]) -> AuditRecord | None:
        """The record of the penalised bound at a point: by its recipe, where records tell it, else by its name."""
        named, with_recipe = methods.get(self.bound), [r for r in methods.values() if self.recipe and r.recipe]
        record = next((r for r in with_recipe if same_recipe(r.recipe, self.recipe)), named)
        if record is not None:
            check_same_recipe(record.recipe, self.recipe, f"run {record.run!r}, point {record.point}")
        return record


CUT_STATUSES = frozenset(status for status in Status if status.cut)
"""Ends of work that was not done: what a file holds in place of a status is none of them."""


def _figures(methods: Mapping[str, AuditRecord], bound: AuditRecord) -> PointFigures:
    truth = methods[COMBINED]
    for method in methods.values():
        check_same_functional(truth, method)
    lp, sampling = methods.get("lp"), methods.get("sampling")
    ends = None if lp is None or lp.status in CUT_STATUSES else lp.upper, sampling and sampling.lower
    # a bound of 0 is exact, without any search; what was cut short has the bound of another method, which its proof names
    closed = [
        (r.upper, r.proof if r.status in CUT_STATUSES and r.proof else name)
        for name, r in methods.items()
        if r.certificate == Certificate.UPPER or (r.upper == 0 and name != COMBINED and "solver" not in r.asked)
    ]
    least = min(closed, default=(math.inf, ""))
    return PointFigures(
        bound.upper, Interval.of(truth), truth, *ends, bound.recipe, *least, methods=tuple(methods.values())
    )


def _check_same_factor(one: CalibrationRecord, other: CalibrationRecord) -> None:
    """Raises InvalidInput if two records of the same weights and points say that outputs mean different things."""
    alike = one.reference == other.reference and None not in (one.factor, other.factor)
    if alike and not math.isclose(one.factor or 0.0, other.factor or 0.0, rel_tol=_SAME_FACTOR):
        raise InvalidInput(
            f"two calibrations of the same weights and points, with T = {one.factor:.6g} and {other.factor:.6g}",
            where=f"run {one.run!r}, epoch {one.epoch}",
            accepted="one factor",
            todo="A record was changed or damaged: remove its line",
        )


def _check_meet(one: AuditRecord, other: AuditRecord) -> None:
    """Raises CrossingBounds if a record's upper end lies below the lower end of another one about the same constant."""
    pairs = ((one.subject, other.subject), (one.reference, other.reference))
    if any(a and b and a != b for a, b in pairs):  # another reference point under the same number
        return
    if one.upper < other.lower * (1 - _ROUNDING):
        raise CrossingBounds(
            f"{one.estimator} gives upper {one.upper:.12g}, a witness attains {other.lower:.12g} ({other.estimator})",
            where=f"run {one.run!r}, epoch {one.epoch}, point {one.point}",
            todo="One of the two proofs is wrong, or its record was changed: if so, remove the line and audit again. "
            "If not, please report this with the network and the reference point",
            between=(one, other),
        )
