"""One run beside the bound that is held against its truth: its audits by epoch and point, and their means."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from statistics import fmean
from typing import Any

from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.records import EXACT, TRAINING, AuditRecord, CalibrationRecord
from lipreg.results import Certificate
from lipreg.runs import RecordedRun, same_recipe
from lipreg.transfer.margins import median_of
from lipreg.transfer.points import PointFigures, check_same_functional, check_same_recipe
from lipreg.transfer.ratios import Interval, mean_of, scaled
from lipreg.transfer.tightness import mean_tightness

_SAME_FACTOR = 1e-2  # relative; outputs are computed in float32, on devices that add up in any order
_ROUNDING = 1e-9  # relative; a bound and a witness are float64 evaluations of different formulas


@dataclass(frozen=True)
class RunFigures:
    """One run at one epoch: arithmetic means over its points, the geometric mean for tightness.

    Attributes:
        run: its name.
        epoch: completed training epochs.
        points: the figures behind the means, at least one.
        metric: the task's own metric at the epoch; None when training reported none.
        radius: in a comparison, the mean certified radius over the points that have one in BOTH runs, so that both average
            the same ones.
        rank_correlation: in a comparison, of bound and midpoint of the exact interval, over all points and epochs of this
            run.
        calibration: what the outputs of these weights mean; None where no record tells it.
    """

    run: str
    epoch: int
    points: tuple[PointFigures, ...]
    metric: float | None = None
    radius: float | None = None
    rank_correlation: float | None = None
    calibration: CalibrationRecord | None = None

    @cached_property
    def margin_over_constant(self) -> Interval | None:
        """The median over the points, 0 for those that are classified wrongly; None unless all have one."""
        found = [p.margin_over_constant for p in self.points]
        known = [m for m in found if m is not None]
        return median_of(known) if len(known) == len(found) else None

    @cached_property
    def certified(self) -> Interval | None:
        """Share of the points that the constant proves to keep their class in the whole region; None unless that is known of
        all. An interval, as far as the constants are."""
        found = [p.certified for p in self.points]
        known = [c for c in found if c is not None]
        if len(known) < len(found):
            return None
        return Interval(fmean(upper for upper, _, _ in known), fmean(lower for _, lower, _ in known))

    @cached_property
    def certified_closed(self) -> float | None:
        """The same by the best bound without a search; None where the constant's is."""
        found = [p.certified for p in self.points]
        return None if None in found else fmean(c[2] for c in found if c is not None)

    @cached_property
    def attacked(self) -> float | None:
        """Share of the points that are classified rightly and kept their class under attack; None unless all were tried."""
        found = [r.attacked for r in self._records]
        if None in found:
            return None
        return fmean(bool(r.correct) and not r.attacked for r in self._records)

    @cached_property
    def accuracy(self) -> float | None:
        """Share of the points that are classified rightly; None unless all have a class."""
        found = [r.correct for r in self._records]
        return None if None in found else fmean(bool(correct) for correct in found)

    @cached_property
    def calibrated(self) -> Interval | None:
        """T * E, the mean constant in the units in which outputs are calibrated; None where T is undefined."""
        factor = None if self.calibration is None else self.calibration.factor
        return None if factor is None else scaled(self.exact, factor)

    @cached_property
    def calibrated_bound(self) -> float | None:
        """T * B of the mean bound; None where T is undefined."""
        factor = None if self.calibration is None else self.calibration.factor
        return None if factor is None else scaled(Interval(self.bound, self.bound), factor).upper

    @property
    def _records(self) -> list[AuditRecord]:
        return [p.record for p in self.points]

    @cached_property
    def bound(self) -> float:
        """Mean upper end of the penalised bound; inf when one point has none."""
        return fmean(p.bound for p in self.points)

    @cached_property
    def lp(self) -> float | None:
        """Mean upper end of the LP relaxation; None unless it ran at every point."""
        return _mean_if_all([p.lp for p in self.points])

    @cached_property
    def sampling(self) -> float | None:
        """Mean lower end of random sampling; None unless it ran at every point."""
        return _mean_if_all([p.sampling for p in self.points])

    @cached_property
    def exact(self) -> Interval:
        """Mean lower and mean upper end: it contains the mean of the constants."""
        return mean_of([p.exact for p in self.points])

    @cached_property
    def tightness(self) -> Interval | None:
        """None when it is undefined at a point."""
        return mean_tightness([p.tightness for p in self.points])

    @property
    def share_exact(self) -> float:
        """Share of the points whose certificate is "exact"."""
        return fmean(p.record.is_exact for p in self.points)


@dataclass(frozen=True)
class Side:
    """A run as one side of a comparison. Of two records of one audit the later counts.

    Attributes:
        name: what it is called beside the other one.
        run: its records.
        bound: the estimator whose bound is held against the truth.
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
        left = {r.epoch for r in self.run.audits if r.weights != TRAINING}
        found: dict[int, dict[int, dict[str, AuditRecord]]] = {}
        for r in sorted(self.run.audits, key=lambda r: (r.epoch, r.point)):
            if r.weights != TRAINING or r.epoch not in left:
                found.setdefault(r.epoch, {}).setdefault(r.point, {})[r.estimator] = r
        return found

    @cached_property
    def points(self) -> dict[int, dict[int, PointFigures]]:
        """The points with both a penalised bound and an exact record, by epoch and index.

        Raises:
            IncomparableResults: estimators answered for different functionals at one point, or the bound of that name is
                by another recipe than the penalty's.
        """
        found: dict[int, dict[int, PointFigures]] = {}
        for epoch, points in self.audits.items():
            bounds = {i: self._bound(methods) for i, methods in points.items() if EXACT in methods}
            found[epoch] = {i: _figures(points[i], bound) for i, bound in bounds.items() if bound is not None}
        return found

    @cached_property
    def course(self) -> list[RunFigures]:
        """The means at each epoch with such a point."""
        return [self.figures(epoch, list(points.values())) for epoch, points in self.points.items() if points]

    def figures(self, epoch: int, points: Sequence[PointFigures], **more: float | None) -> RunFigures:
        """The means over some points of an epoch."""
        told = self.calibrations.get(epoch)
        return RunFigures(self.name, epoch, tuple(points), self.metric.get(epoch), **more, calibration=told)

    @cached_property
    def calibrations(self) -> dict[int, CalibrationRecord]:
        """What the outputs of the audited weights mean, by epoch; a record about other weights is none."""
        audited = {
            r.epoch: r.fingerprint for points in self.audits.values() for m in points.values() for r in m.values()
        }
        found: dict[int, CalibrationRecord] = {}
        for r in self.run.calibrations:
            if audited.get(r.epoch) == r.fingerprint:
                _check_same_factor(found.get(r.epoch, r), r)
                found[r.epoch] = r
        return found

    def exact(self, epoch: int) -> dict[int, AuditRecord]:
        """The exact records, by point, whether or not the penalised bound is known there."""
        found = self.audits.get(epoch, {})
        return {i: methods[EXACT] for i, methods in found.items() if EXACT in methods}

    def bound_and_truth(self) -> list[tuple[float, float]]:
        """(bound, midpoint of the exact interval) over all points and epochs where both are finite."""
        points = [p for of_epoch in self.points.values() for p in of_epoch.values()]
        return [(p.bound, p.exact.midpoint) for p in points if math.inf not in (p.bound, p.exact.upper)]

    def _check_agreement(self) -> None:
        """Raises CrossingBounds. A record that a later one replaces is a proof as well, and is held against the others."""
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
        named, told = methods.get(self.bound), [r for r in methods.values() if self.recipe and r.recipe]
        found = next((r for r in told if same_recipe(r.recipe, self.recipe)), named)
        if found is not None:
            check_same_recipe(found.recipe, self.recipe, f"run {found.run!r}, point {found.point}")
        return found


def _figures(methods: Mapping[str, AuditRecord], bound: AuditRecord) -> PointFigures:
    truth = methods[EXACT]
    for method in methods.values():
        check_same_functional(truth, method)
    lp, sampling = methods.get("lp"), methods.get("sampling")
    ends = lp and lp.upper, sampling and sampling.lower
    # a bound of 0 is exact, without any search
    closed = [
        (r.upper, name)
        for name, r in methods.items()
        if r.certificate == Certificate.UPPER or (r.upper == 0 and name != EXACT and "solver" not in r.asked)
    ]
    return PointFigures(
        bound.upper, Interval.of(truth), truth, *ends, bound.recipe, *min(closed, default=(math.inf, ""))
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
    told = ((one.subject, other.subject), (one.reference, other.reference))
    if any(a and b and a != b for a, b in told):  # another reference point under the same number
        return
    if one.upper < other.lower * (1 - _ROUNDING):
        raise CrossingBounds(
            f"{one.estimator} gives upper {one.upper:.12g}, a witness attains {other.lower:.12g} ({other.estimator})",
            where=f"run {one.run!r}, epoch {one.epoch}, point {one.point}",
            todo="One of the two proofs is wrong, or its record was changed: if so, remove the line and audit again. "
            "If not, please report this with the network and the reference point",
            between=(one, other),
        )


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    """Arithmetic mean, or None when a value is missing: a mean over other points would not compare."""
    present = [v for v in values if v is not None]
    return fmean(present) if len(present) == len(values) else None
