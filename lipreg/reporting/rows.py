"""The final table of a run against its twin: scale-free figures, constants as they are, and the audit itself."""

from __future__ import annotations

import math
from typing import NamedTuple

from lipreg.reporting.wording import (
    MISSING,
    at_least,
    at_most,
    between,
    distance,
    ends,
    measured,
    nearest,
    percent,
    percent_between,
)
from lipreg.transfer import Comparison, Interval, Metric, RunFigures, ratio
from lipreg.transfer.radius import radius_in_units
from lipreg.words import DIGITS, plain, rounded

SCALE_FREE, AS_THEY_ARE, OF_AUDIT = "scale-free", "in units of the output", "of audit and training"
"""The names of the three blocks."""
VALUES = "values"
"""``CalibrationRecord.task`` of regression."""


class Row(NamedTuple):
    """A row of the final table.

    Attributes:
        name: of the figure.
        regularised, twin: its words in the two columns.
        ratio: the words in the third; empty where there is no comparison.
    """

    name: str
    regularised: str
    twin: str
    ratio: str


class Block(NamedTuple):
    """Rows under one heading.

    Attributes:
        name: the heading.
        rows: the rows.
    """

    name: str
    rows: list[Row]


def comparison_blocks(comparison: Comparison) -> list[Block]:
    """The rows of the final table. The ratio is that of the two columns, of shares and of the metric the difference, and of
    calibrated constants their movement, as below the table.

    What is undefined in both runs has no row, and a block without rows is none.
    """
    mine, twin, metric = comparison.regularised, comparison.twin, comparison.metric

    def upper(name: str, one: float | None, other: float | None) -> Row:
        return Row(name, at_most(one), at_most(other), _quotient(one, other))

    def share(name: str, one: Interval | float | None, other: Interval | float | None) -> Row:
        first, second = _interval(one), _interval(other)
        return Row(name, percent_between(first), percent_between(second), _points_apart(first, second))

    free = [
        Row(
            "margin over constant (median)",
            distance(mine.margin_over_constant, region_radius(mine)),
            distance(twin.margin_over_constant, region_radius(twin)),
            between(comparison.margin_ratio),
        ),
        Row(
            calibrated_name(task(mine, twin)),
            between(mine.calibrated),
            between(twin.calibrated),
            between(comparison.calibrated.movement.combined),
        ),
        share("certified accuracy, by the combined interval", mine.certified, twin.certified),
        share("certified accuracy, by best bound without a search", mine.certified_closed, twin.certified_closed),
        share("accuracy under attack (PGD)", mine.attacked, twin.attacked),
        share("accuracy at these points", mine.accuracy, twin.accuracy),
        Row("certified radius", at_least(mine.radius), at_least(twin.radius), _quotient(mine.radius, twin.radius)),
    ]
    raw = [
        upper(f"bound ({plain(comparison.bound_name, 40)})", mine.bound, twin.bound),
        upper("LP relaxation", mine.lp, twin.lp),
        Row(
            "combined [lower, upper]",
            ends(mine.combined),
            ends(twin.combined),
            between(ratio(mine.combined, twin.combined)),
        ),
    ]
    audit = [
        Row("certified exact", percent(mine.share_exact), percent(twin.share_exact), ""),
        Row("tightness (bound / combined)", between(mine.tightness), between(twin.tightness), ""),
        Row("rank correlation", nearest(mine.rank_correlation), nearest(twin.rank_correlation), ""),
    ]
    if metric is not None:
        one, other = measured(metric, mine.metric), measured(metric, twin.metric)
        row = Row(plain(metric.title, 60), one, other, _apart(metric, mine.metric, twin.metric))
        # a loss may change with the outputs' size, and is in no units of theirs
        free, audit = ([*free, row], audit) if metric.share else (free, [*audit, row])
    blocks = [Block(SCALE_FREE, free), Block(AS_THEY_ARE, raw), Block(OF_AUDIT, audit)]
    shown = [Block(name, [row for row in rows if {row.regularised, row.twin} != {MISSING}]) for name, rows in blocks]
    return [block for block in shown if block.rows]


def task(*sides: RunFigures) -> str:
    """The ``CalibrationRecord.task`` of runs, which says what their outputs mean; empty without a calibration."""
    return next((side.calibration.task for side in sides if side.calibration and side.calibration.task), "")


def region_radius(figures: RunFigures) -> float | None:
    """The radius of the region that was audited, in the question's units; None where it has none."""
    return radius_in_units(figures.points[0].record.question)


def calibrated_name(task_name: str) -> str:
    """The name of the calibrated constant of networks with such a ``task``."""
    return "combined, in standard deviations" if task_name == VALUES else "calibrated constant (T x combined)"


def closed_by(figures: RunFigures) -> list[str]:
    """The estimators behind ``certified_closed``, the most frequent first."""
    names = [p.closed_by for p in figures.points if p.closed_by]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def _interval(share: Interval | float | None) -> Interval | None:
    return share if share is None or isinstance(share, Interval) else Interval(share, share)


def _points_apart(one: Interval | None, other: Interval | None) -> str:
    """The difference of two shares, in points."""
    if one is None or other is None:
        return MISSING
    low, high = 1000 * (one.lower - other.upper), 1000 * (one.upper - other.lower)
    if one.lower == one.upper and other.lower == other.upper:
        return f"{low / 10:+.1f} points"
    return f"[{math.floor(low) / 10:+.1f}, {math.ceil(high) / 10:+.1f}] points"


def _apart(metric: Metric, mine: float | None, twin: float | None) -> str:
    """The difference of the two runs' metrics; which way is better is not known."""
    if mine is None or twin is None:
        return MISSING
    return f"{100 * (mine - twin):+.1f} points" if metric.share else f"{mine - twin:+.{DIGITS}g}"


def _quotient(top: float | None, bottom: float | None) -> str:
    if top is None or bottom is None or math.inf in (top, bottom) or bottom == 0:
        return MISSING
    return rounded(top / bottom)
