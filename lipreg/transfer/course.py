"""How bound, relaxation and truth went over training, for a regularised run and its twin: what the figure draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lipreg.records import Record
from lipreg.transfer.comparison import mean, mean_if_all, mean_interval
from lipreg.transfer.points import TwinAudits
from lipreg.transfer.ratios import Interval


@dataclass(frozen=True)
class TrajectoryPoint:
    """One run at one epoch: arithmetic means over the audited points; None where nothing was recorded.

    Attributes:
        run, epoch: where.
        points: how many points have both the penalised bound and an exact record; all means are over these.
        bound: upper end of the penalised bound.
        lp: upper end of the LP relaxation; None unless it ran at each of the points.
        exact: lower and upper end of what all methods together prove.
        sampling: lower end of random sampling; None unless it ran at each of the points.
        metric: the task's own metric.
    """

    run: str
    epoch: int
    points: int = 0
    bound: float | None = None
    lp: float | None = None
    exact: Interval | None = None
    sampling: float | None = None
    metric: float | None = None


def trajectory(records: Sequence[Record], run: str, metric: str | None = None) -> dict[str, list[TrajectoryPoint]]:
    """The course of a regularised run and of its twin.

    The bound is the one that the regularised run's penalty lowers, for the twin too. Epochs that only reported a
    metric are there with ``points`` 0. ``metric`` names the one that is wanted; see ``compare``.

    Returns:
        ``{run: [...], twin: [...]}``, each by epoch; empty lists without records.

    Raises:
        InvalidInput: no such run, or it has no twin.
        IncomparableResults: the records answer different questions, or the twin is none.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    audits = TwinAudits(records, run, metric)
    return {name: [_means(audits, name, epoch) for epoch in _epochs(audits, name)] for name in audits.runs}


def _epochs(audits: TwinAudits, run: str) -> list[int]:
    return sorted({*audits.epochs(run), *(epoch for name, epoch in audits.metrics if name == run)})


def _means(audits: TwinAudits, run: str, epoch: int) -> TrajectoryPoint:
    metric = audits.metrics.get((run, epoch))
    points = list(audits.points(run, epoch).values())
    if not points:
        return TrajectoryPoint(run, epoch, metric=metric)
    return TrajectoryPoint(
        run=run,
        epoch=epoch,
        points=len(points),
        bound=mean([p.bound for p in points]),
        lp=mean_if_all([p.lp for p in points]),
        exact=mean_interval(points),
        sampling=mean_if_all([p.sampling for p in points]),
        metric=metric,
    )
