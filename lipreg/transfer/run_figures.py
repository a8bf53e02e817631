"""The means of one run over its points at one epoch, as a table or a page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from lipreg.errors import RenamedAttribute
from lipreg.records import AuditRecord, CalibrationRecord
from lipreg.transfer.margins import median_of
from lipreg.transfer.points import PointFigures
from lipreg.transfer.ratios import Interval, mean_of, scaled
from lipreg.transfer.tightness import mean_tightness


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
        rank_correlation: in a comparison, of bound and midpoint of the combined interval, over all points and epochs of this
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
    exact = RenamedAttribute("combined")

    @cached_property
    def margin_over_constant(self) -> Interval | None:
        """The median over the points, 0 for those that are classified wrongly; None unless all have one."""
        margins = [p.margin_over_constant for p in self.points]
        defined = [m for m in margins if m is not None]
        return median_of(defined) if len(defined) == len(margins) else None

    @cached_property
    def certified(self) -> Interval | None:
        """Share of the points that the constant proves to keep their class in the whole region; None unless that is known of
        all. An interval, as far as the constants are."""
        flags = [p.certified for p in self.points]
        defined = [c for c in flags if c is not None]
        if len(defined) < len(flags):
            return None
        return Interval(fmean(upper for upper, _, _ in defined), fmean(lower for _, lower, _ in defined))

    @cached_property
    def certified_closed(self) -> float | None:
        """The share of the points that the best bound without a search proves; None where ``certified`` is."""
        flags = [p.certified for p in self.points]
        return None if None in flags else fmean(c[2] for c in flags if c is not None)

    @cached_property
    def attacked(self) -> float | None:
        """Share of the points that are classified rightly and kept their class under attack; None unless all were tried."""
        outcomes = [r.attacked for r in self._records]
        if None in outcomes:
            return None
        return fmean(bool(r.correct) and not r.attacked for r in self._records)

    @cached_property
    def accuracy(self) -> float | None:
        """Share of the points that are classified rightly; None unless all have a class."""
        outcomes = [r.correct for r in self._records]
        return None if None in outcomes else fmean(bool(correct) for correct in outcomes)

    @cached_property
    def calibrated(self) -> Interval | None:
        """T * E, the mean constant in the units in which outputs are calibrated; None where T is undefined."""
        factor = None if self.calibration is None else self.calibration.factor
        return None if factor is None else scaled(self.combined, factor)

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
        """Mean upper end of the LP relaxation; None unless it was solved at every point."""
        return _mean_if_all([p.lp for p in self.points])

    @cached_property
    def sampling(self) -> float | None:
        """Mean lower end of random sampling; None unless it ran at every point."""
        return _mean_if_all([p.sampling for p in self.points])

    @cached_property
    def combined(self) -> Interval:
        """Mean lower and mean upper end: it contains the mean of the constants."""
        return mean_of([p.combined for p in self.points])

    @cached_property
    def tightness(self) -> Interval | None:
        """Bound over combined interval, the geometric mean over the points; None when it is undefined at one of them."""
        return mean_tightness([p.tightness for p in self.points])

    @property
    def share_exact(self) -> float:
        """Share of the points whose certificate is "exact"."""
        return fmean(p.record.is_exact for p in self.points)


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    """Arithmetic mean, or None when a value is missing: a mean over other points would not compare."""
    present = [v for v in values if v is not None]
    return fmean(present) if len(present) == len(values) else None
