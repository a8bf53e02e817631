"""A regularised run against its twin at one epoch: all that the final table and the report need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.records import Record
from lipreg.transfer.calibrated import CalibratedMovement, calibrated_movement
from lipreg.transfer.incomplete import why_not_compared
from lipreg.transfer.likeness import Likeness
from lipreg.transfer.metric import Metric
from lipreg.transfer.movement import Movement, movement
from lipreg.transfer.pairs import Pair, find_pair, roles
from lipreg.transfer.points import PointFigures, check_same_functional, check_same_recipe, check_same_weights
from lipreg.transfer.ratios import Interval, rank_correlation, ratio
from lipreg.transfer.run_figures import RunFigures


@dataclass(frozen=True)
class Comparison:
    """A regularised run and its twin at one epoch.

    Attributes:
        question, sentence: the question that both answer, as plain data and in words.
        bound_name: the estimator that the penalty lowers.
        epoch: completed training epochs; None where the networks are compared as they are, and no training is recorded.
        regularised, twin: the two columns of the table.
        movements: per point, in the order of the points of both runs.
        movement: over all points, of the constants as they are: a penalty that divides all logits moves them.
        calibrated: over all points, of the constants in the units in which outputs are calibrated.
        radius_points: how many points are behind the two mean radii.
        left_out: indices of points that lack the bound or the combined record in one of the runs.
        rank_correlation: of bound and truth, over all points and epochs of both runs.
        metric: which of the logged metrics the two columns show; None where nothing fits.
        likeness: what the two runs share, and what records leave in doubt.
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
    calibrated: CalibratedMovement
    radius_points: int
    left_out: tuple[int, ...]
    rank_correlation: float | None
    metric: Metric | None = None
    likeness: Likeness = field(default_factory=Likeness)
    audited: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def margin_ratio(self) -> Interval | None:
        """Median margin over constant, over the twin's; None where either is undefined or the twin's is 0.

        Rescaled outputs leave it as it is.
        """
        mine, twin = self.regularised.margin_over_constant, self.twin.margin_over_constant
        if mine is None or twin is None or math.inf in (mine.lower, twin.lower):
            return None
        return ratio(mine, twin)

    @property
    def roles(self) -> tuple[str, str]:
        """What the two columns are called: "regularised", or "network" where no training is recorded; and "twin"."""
        return roles(self.epoch is not None)

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
        moved, free, count = self.movement, self.calibrated.movement, len(self.regularised.points)
        names = f"{self.regularised.run!r} against {self.twin.run!r}, {self.bound_name}"
        names += "" if self.epoch is None else f", after {self.epoch} epoch{'s' * (self.epoch != 1)}"
        figures = f"combined={moved.combined}, bound={moved.bound}, transfer={moved.transfer}"
        scale_free = f"margin over constant {self.margin_ratio} of the twin's, calibrated constant {free.combined}"
        return f"<Comparison of {names}, {count} point{'s' * (count != 1)}: {scale_free}; raw movement {figures}>"


def compare(records: Iterable[Record], run: str, epoch: int | None = None, metric: str | None = None) -> Comparison:
    """Compares a regularised run with its twin.

    Points are matched by their index. A point that lacks the bound or the combined record in one of the runs is left out
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
    return compare_pair(find_pair(records, run, metric), epoch)


def compare_pair(pair: Pair, epoch: int | None = None) -> Comparison:
    """Compares the two runs of a pair, as ``compare`` does.

    Args:
        pair: the regularised run and its twin.
        epoch: None takes the last one with a point audited in both runs.

    Raises:
        InvalidInput, IncomparableResults, CrossingBounds: as ``compare``.
    """
    shared_by_epoch = [(at, _shared(pair, at)) for at in (pair.regularised.audits if epoch is None else [epoch])]
    at, shared = next(((at, points) for at, points in reversed(shared_by_epoch) if points), (0, []))
    if not shared:
        why, what_adds_it = why_not_compared(pair, epoch)
        raise InvalidInput(
            f"no point has both {pair.regularised.bound!r} and 'combined' audits in {pair.regularised.name!r} and "
            f"{pair.twin.name!r}" + ("" if epoch is None else f" at epoch {epoch}") + f": {why}",
            where="compare",
            accepted="audits of both runs at the same epoch and points",
            todo=what_adds_it,
        )
    paired = [
        (mine.radius, twin.radius) for mine, twin in shared if mine.radius is not None and twin.radius is not None
    ]
    radii = [fmean(of_side) for of_side in zip(*paired, strict=True)] or [None, None]
    ranked = [side.bound_and_truth() for side in pair.sides]
    mine, twin = (
        side.figures(at, points, radius=radius, rank_correlation=rank_correlation(values))
        for side, points, radius, values in zip(pair.sides, zip(*shared, strict=True), radii, ranked, strict=True)
    )
    raw = movement(shared)
    first = "the regularised run" if pair.of_trainings else "the network"
    audited = {point for side in pair.sides for point in side.audits.get(at, {})}
    return Comparison(
        question=pair.question,
        sentence=pair.regularised.run.record.sentence,
        bound_name=pair.regularised.bound,
        epoch=at if pair.of_trainings else None,
        regularised=mine,
        twin=twin,
        movements=tuple(movement([points]) for points in shared),
        movement=raw,
        calibrated=calibrated_movement(raw, mine.calibration, twin.calibration, first),
        radius_points=len(paired),
        left_out=tuple(sorted(audited - {p.point for p in mine.points})),
        rank_correlation=rank_correlation(ranked[0] + ranked[1]),
        metric=pair.metric,
        likeness=pair.likeness,
        audited=(tuple(pair.regularised.audits), tuple(pair.twin.audits)),
    )


def _shared(pair: Pair, epoch: int) -> list[tuple[PointFigures, PointFigures]]:
    """The points that both have at an epoch, in the order of their indices."""
    mine, twin = (side.points.get(epoch, {}) for side in pair.sides)
    pairs = [(mine[i], twin[i]) for i in sorted(mine.keys() & twin.keys())]
    for one, two in pairs:
        check_same_functional(one.record, two.record)
        check_same_weights(one.record, two.record)
        check_same_recipe(two.recipe, one.recipe, f"twin {two.record.run!r}, point {two.point}")
    return pairs
