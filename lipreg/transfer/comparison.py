"""A regularised run against its twin at one epoch: all that the final table and the report need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.records import Record
from lipreg.results import Certificate
from lipreg.transfer.incomplete import check_same_weights, why_not_compared
from lipreg.transfer.likeness import Likeness
from lipreg.transfer.metric import Metric
from lipreg.transfer.points import (
    PointFigures,
    TwinAudits,
    check_same_functional,
    check_same_recipe,
)
from lipreg.transfer.ratios import Interval, geometric_mean, mean_of, rank_correlation, ratio, transfer
from lipreg.transfer.tightness import mean_tightness

_NO_RATIO = "a bound is not finite, or the twin's bound or constant is 0"


@dataclass(frozen=True)
class RunFigures:
    """One run at one epoch: arithmetic means over the compared points, the geometric mean for tightness.

    Attributes:
        run: its name.
        metric: the task's own metric at the epoch (``Comparison.metric``); None when training reported none.
        points: the figures behind the means.
        bound, lp: means of upper ends; inf when one point has none, ``lp`` None unless it ran at every point.
        exact: mean lower and mean upper end.
        tightness: None when it is undefined at a point.
        share_exact: share of the points whose certificate is "exact".
        radius: mean certified radius over the points that have one in BOTH runs, so that both average the same ones.
        rank_correlation: of bound and midpoint of the exact interval, over all points and epochs of this run.
    """

    run: str
    metric: float | None
    points: tuple[PointFigures, ...]
    bound: float
    lp: float | None
    exact: Interval
    tightness: Interval | None
    share_exact: float
    radius: float | None
    rank_correlation: float | None


@dataclass(frozen=True)
class Movement:
    """From the twin to the regularised run, at one point or in the geometric mean over ``points`` of them.

    Attributes:
        points: those where both ratios are defined: finite bounds, a twin whose bound and constant are not 0.
        exact: E_reg / E_twin; None without such points.
        bound: B_reg / B_twin; None without such points.
        transfer: None where undefined.
        note: why it is undefined, or which points do not count; empty otherwise.
    """

    points: int
    exact: Interval | None
    bound: float | None
    transfer: Interval | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A regularised run and its twin at one epoch.

    Attributes:
        question, sentence: the question that both answer, as plain data and in words.
        bound_name: the estimator that the penalty lowers.
        epoch: completed training epochs; None where the networks are compared as they are, and no training is known.
        regularised, twin: the two columns of the table.
        movements: per point, in the order of the points of both runs.
        movement: over all points.
        radius_points: how many points are behind the two mean radii.
        left_out: indices of points that lack the bound or the exact record in one of the runs.
        rank_correlation: of bound and truth, over all points and epochs of both runs.
        metric: which of the logged metrics the two columns show; None where nothing fits.
        likeness: what the two runs are known to share, and what is not known.
        audited: the epochs after which anything of the run and of its twin was audited.
    """

    question: dict[str, Any]
    sentence: str
    bound_name: str
    epoch: int | None
    regularised: RunFigures
    twin: RunFigures
    movements: tuple[Movement, ...]
    movement: Movement
    radius_points: int
    left_out: tuple[int, ...]
    rank_correlation: float | None
    metric: Metric | None = None
    likeness: Likeness = field(default_factory=Likeness)
    audited: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def untrained(self) -> bool:
        """Whether the two are compared before their first step, when no penalty had moved anything."""
        return self.epoch == 0

    @property
    def at_the_end(self) -> bool:
        """Whether nothing was audited later, of either run."""
        return self.epoch is None or all(epoch <= self.epoch for epochs in self.audited for epoch in epochs)

    def __repr__(self) -> str:
        """What moved, in one line; the figures behind it are attributes, or ``lipreg.reporting.tables``."""
        moved, count = self.movement, len(self.regularised.points)
        names = f"{self.regularised.run!r} against {self.twin.run!r}, {self.bound_name}"
        names += "" if self.epoch is None else f", after {self.epoch} epoch{'s' * (self.epoch != 1)}"
        figures = f"exact={moved.exact}, bound={moved.bound}, transfer={moved.transfer}"
        return f"<Comparison of {names}, {count} point{'s' * (count != 1)}: movement {figures}>"


def compare(records: Sequence[Record], run: str, epoch: int | None = None, metric: str | None = None) -> Comparison:
    """Compares a regularised run with its twin.

    Points are matched by their index. A point that lacks the bound or the exact record in one of the runs is left out
    of every figure and listed in ``left_out``, because an audit that was cut short still says what it proved.

    Args:
        records: of both runs; others are ignored.
        run: id or label of the regularised run; its ``RunRecord`` names the twin and the bound.
        epoch: None takes the last one with a point audited in both runs.
        metric: name of the logged metric to show; None takes that of the runs' records, else what fits
            (``choose_metric``).

    Raises:
        InvalidInput: no such run, no twin, several that could be meant, or no point audited in both runs.
        IncomparableResults: the records answer different questions, a point has another functional in the twin, the bounds
            are by different recipes, or the twin is none.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    return compare_audits(TwinAudits(records, run, metric), epoch)


def compare_audits(audits: TwinAudits, epoch: int | None = None) -> Comparison:
    """``compare`` of two runs that are put together already.

    Raises:
        InvalidInput, IncomparableResults, CrossingBounds: as ``compare``.
    """
    run = audits.runs[0]
    shared = {e: _shared(audits, e) for e in audits.epochs(run)} if epoch is None else {epoch: _shared(audits, epoch)}
    complete = [e for e, points in shared.items() if points]
    if not complete:
        why, what_adds_it = why_not_compared(audits, epoch)
        raise InvalidInput(
            f"no point has both {audits.bound_name!r} and 'exact' audits in {run!r} and {audits.runs[1]!r}"
            + ("" if epoch is None else f" at epoch {epoch}")
            + f": {why}",
            where="compare",
            accepted="audits of both runs at the same epoch and points",
            todo=what_adds_it,
        )
    at = complete[-1]
    pairs = shared[at]
    indices = set().union(*(audits.indices(name, at) for name in audits.runs))
    paired_radii = {mine.point for mine, other in pairs if mine.radius is not None and other.radius is not None}
    both = [audits.bound_and_truth(name) for name in audits.runs]
    mine, other = (
        _figures(audits, name, at, [pair[side] for pair in pairs], paired_radii, both[side])
        for side, name in enumerate(audits.runs)
    )
    return Comparison(
        question=audits.question,
        sentence=audits.regularised.sentence,
        bound_name=audits.bound_name,
        epoch=at if audits.of_trainings else None,
        regularised=mine,
        twin=other,
        movements=tuple(movement([pair]) for pair in pairs),
        movement=movement(pairs),
        radius_points=len(paired_radii),
        left_out=tuple(sorted(indices - {p.point for p, _ in pairs})),
        rank_correlation=rank_correlation(both[0] + both[1]),
        metric=audits.metric,
        likeness=audits.likeness,
        audited=(tuple(audits.epochs(audits.runs[0])), tuple(audits.epochs(audits.runs[1]))),
    )


def movement(pairs: Sequence[tuple[PointFigures, PointFigures]]) -> Movement:
    """Movement, bound movement and transfer over pairs of (regularised, twin), as ratios of geometric means."""
    steps: list[tuple[Interval, Interval]] = []
    for mine, other in pairs:
        exact = ratio(mine.exact, other.exact)
        if exact is not None and math.inf not in (mine.bound, other.bound) and other.bound > 0:
            quotient = ratio(Interval(mine.bound, mine.bound), Interval(other.bound, other.bound))
            assert quotient is not None  # it is only where the twin's bound is 0
            steps.append((exact, quotient))
    if not steps:
        return Movement(0, None, None, None, _NO_RATIO)
    exact = geometric_mean([e for e, _ in steps])
    bound = geometric_mean([b for _, b in steps])
    share, reason = transfer(exact, bound)
    skipped = len(pairs) - len(steps)
    if skipped:
        not_counted = f"do{'es' * (skipped == 1)} not count"
        reason += f"{'; ' if reason else ''}{skipped} of {len(pairs)} points {not_counted}: {_NO_RATIO}"
    return Movement(len(steps), exact, bound.midpoint, share, reason)


def _shared(audits: TwinAudits, epoch: int) -> list[tuple[PointFigures, PointFigures]]:
    mine, other = (audits.points(name, epoch) for name in audits.runs)
    pairs = [(mine[i], other[i]) for i in sorted(mine.keys() & other.keys())]
    for one, two in pairs:
        check_same_functional(one.record, two.record)
        check_same_weights(one.record, two.record)
        check_same_recipe(two.recipe, one.recipe, f"twin {two.record.run!r}, point {two.point}")
    return pairs


def _figures(
    audits: TwinAudits,
    run: str,
    epoch: int,
    points: list[PointFigures],
    paired_radii: set[int],
    bound_and_truth: list[tuple[float, float]],
) -> RunFigures:
    radii = [p.radius for p in points if p.radius is not None and p.point in paired_radii]
    return RunFigures(
        run=run,
        metric=audits.metrics.get((run, epoch)),
        points=tuple(points),
        bound=mean([p.bound for p in points]),
        lp=mean_if_all([p.lp for p in points]),
        exact=mean_interval(points),
        tightness=mean_tightness([p.tightness for p in points]),
        share_exact=mean([p.record.certificate == Certificate.EXACT.value for p in points]),
        radius=mean(radii) if radii else None,
        rank_correlation=rank_correlation(bound_and_truth),
    )


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def mean_if_all(values: Sequence[float | None]) -> float | None:
    """Arithmetic mean, or None when a value is missing: a mean over other points would not compare."""
    present = [v for v in values if v is not None]
    return mean(present) if values and len(present) == len(values) else None


def mean_interval(points: Sequence[PointFigures]) -> Interval:
    """The arithmetic mean of the exact intervals: it contains the mean of the constants."""
    return mean_of([p.exact for p in points])
