"""How figures read in words: numbers rounded to the safe side, and what a transfer interval does and does not show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from lipreg.records import TRAINING
from lipreg.results import EXACT_TOLERANCE
from lipreg.transfer import Comparison, Interval, Metric, Movement, PointFigures, ratio
from lipreg.transfer.incomplete import listed_epochs
from lipreg.transfer.radius import radius_meaning

MISSING = "n/a"
DIGITS = 4

_EQUAL = 0.05  # transfer within this of 0 or 1 is called "nothing" or "all of it"


class Cell(NamedTuple):
    """A figure in a table: what is shown, and the number by which it is sorted."""

    words: str
    value: float | None


class Row(NamedTuple):
    """A row of the final table, in words."""

    name: str
    regularised: str
    twin: str
    ratio: str


def finite(value: Any) -> Any:
    """A value for what cannot draw infinity: None in its place, and in that of NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rounded(value: float, rounding: str = ROUND_HALF_EVEN, digits: int = DIGITS) -> str:
    """``value`` to significant digits; rounded up it stays an upper bound, rounded down a lower one."""
    if not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, MISSING)
    if value == 0:
        return "0"
    exact = Decimal(f"{value:.12e}")  # a float's own rounding is no reason to move the last printed digit
    short = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=rounding)
    return f"{float(short):.{digits}g}"


def nearest(value: float | None) -> str:
    """A number that is no bound, such as a mean of ratios."""
    return MISSING if value is None else rounded(value)


def at_most(value: float | None) -> str:
    """An upper end, rounded up."""
    return MISSING if value is None else "not proved" if value == math.inf else rounded(value, ROUND_CEILING)


def at_least(value: float | None) -> str:
    """A lower end, rounded down."""
    return MISSING if value is None else rounded(value, ROUND_FLOOR)


def between(interval: Interval | None) -> str:
    """An interval, rounded outwards; one number where the ends agree within the tolerance of an exact certificate."""
    if interval is None:
        return MISSING
    if interval.upper - interval.lower <= EXACT_TOLERANCE * abs(interval.upper) < math.inf:
        return rounded(interval.midpoint)
    return f"[{rounded(interval.lower, ROUND_FLOOR)}, {rounded(interval.upper, ROUND_CEILING)}]"


def ends(interval: Interval) -> str:
    """Both ends of an interval, rounded outwards, however close they are: an exact value is an interval too."""
    upper = "not proved" if interval.upper == math.inf else rounded(interval.upper, ROUND_CEILING, digits=5)
    return f"[{rounded(interval.lower, ROUND_FLOOR, digits=5)}, {upper}]"


def share_between(interval: Interval | None) -> str:
    """A transfer interval with three decimals, rounded outwards: near 0, significant digits would mislead."""
    if interval is None:
        return "undefined"
    if interval.upper - interval.lower <= 1e-4 and math.isfinite(interval.midpoint):
        return f"{interval.midpoint:.3f}"
    ends = ((interval.lower, ROUND_FLOOR), (interval.upper, ROUND_CEILING))
    texts = [
        str(Decimal(end).quantize(Decimal("0.001"), rounding=side)) if math.isfinite(end) else str(end)
        for end, side in ends
    ]
    return f"[{', '.join(texts)}]".replace("-0.000", "0.000")


def percent(share: float | None) -> str:
    """A share as per cent."""
    return MISSING if share is None else f"{share:.1%}"


def measured(metric: Metric | None, value: float | None) -> str:
    """A value of the task's own metric: an accuracy as per cent, anything else as the number that was logged."""
    return percent(value) if metric is not None and metric.share else nearest(value)


def plain(text: str, limit: int = 400) -> str:
    """Text from outside on one line: control and direction characters replaced, cut to ``limit`` characters."""
    clean = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def comparison_rows(comparison: Comparison) -> list[Row]:
    """The rows of the final table; the ratio is that of the two columns.

    There is no row for a metric or a radius that neither run has. Of the metric it is the difference.
    """
    mine, twin, metric = comparison.regularised, comparison.twin, comparison.metric

    def upper(name: str, one: float | None, other: float | None) -> Row:
        return Row(name, at_most(one), at_most(other), _quotient(one, other))

    rows = [
        upper(f"bound ({plain(comparison.bound_name, 40)})", mine.bound, twin.bound),
        upper("LP relaxation", mine.lp, twin.lp),
        Row("exact [lower, upper]", ends(mine.exact), ends(twin.exact), between(ratio(mine.exact, twin.exact))),
        Row("certified exact", percent(mine.share_exact), percent(twin.share_exact), ""),
        Row("tightness (bound / exact)", between(mine.tightness), between(twin.tightness), ""),
    ]
    if metric is not None:
        one, other = measured(metric, mine.metric), measured(metric, twin.metric)
        rows.insert(0, Row(plain(metric.title, 60), one, other, _apart(metric, mine.metric, twin.metric)))
    if (mine.radius, twin.radius) != (None, None):
        radii = at_least(mine.radius), at_least(twin.radius)
        rows.append(Row("certified radius", *radii, _quotient(mine.radius, twin.radius)))
    return [*rows, Row("rank correlation", nearest(mine.rank_correlation), nearest(twin.rank_correlation), "")]


def notes(comparison: Comparison) -> list[str]:
    """What has to be known to read the table right, one sentence each."""
    points = comparison.regularised.points
    means = f"Means over {counted(len(points), 'reference point')}"
    means += "" if comparison.epoch is None else f" after {epochs(comparison.epoch)}"
    texts = [f"{means}; tightness, movement and transfer are geometric means of the ratios at each point."]
    texts += which_weights(points, comparison.regularised.metric is not None)
    if comparison.left_out:
        which = f"point{'s' * (len(comparison.left_out) != 1)} {', '.join(map(str, comparison.left_out))}"
        texts.append(f"Left out, not audited in both runs: {which}.")
    if comparison.radius_points:
        one = comparison.radius_points == 1
        of = "is that of the one point that is" if one else f"averages the {comparison.radius_points} points that are"
        texts.append(
            f"The radius holds {radius_meaning(points[0].record)}; it {of} classified rightly in both runs, and is cut "
            "to the radius of the region."
        )
    if (comparison.regularised.rank_correlation, comparison.twin.rank_correlation) != (None, None):
        audited = {epoch for of_run in comparison.audited for epoch in of_run}
        over = " and epochs, not those of this epoch alone" if len(audited) > 1 else ""
        over += (
            "; the untrained network is among them" if over and 0 in audited and comparison.epoch is not None else ""
        )
        texts.append(f"The rank correlation is Spearman's, of bound and exact constant over all audited points{over}.")
    return texts


def doubts(comparison: Comparison) -> list[str]:
    """Why the movement may not be the penalty's alone, one sentence each; none for a twin in the full sense."""
    course = comparison.likeness.course
    changed = [f"The penalty was changed on the way, and the movement is of all of it: {course}"] if course else []
    return [f"{plain(doubt)}." for doubt in (*comparison.likeness.doubts, *changed)]


def which_weights(points: Sequence[PointFigures], metric: bool) -> list[str]:
    """A sentence where the constants are not of the weights that the optimizer left; none where they are.

    Args:
        points: of one epoch.
        metric: whether a metric of that epoch stands beside them.
    """
    kinds = sorted({p.record.weights for p in points} - {TRAINING})
    if not kinds:
        return []
    before = "with StochasticWeightAveraging of the weights before the average took their place"
    before = f" ({before})" if kinds == ["averaged"] else ", before they were put there"
    beside = f"; the metric beside them is what validation reported that epoch{before}"
    return [f"The constants are of the {' and '.join(kinds)} weights that the training left{beside if metric else ''}."]


def epochs(count: int) -> str:
    """So many epochs in words."""
    return counted(count, "epoch")


def counted(count: int, what: str) -> str:
    """So many of them: "1 point", "2 points"."""
    return f"{count} {what}{'s' * (count != 1)}"


def movement_lines(movement: Movement) -> list[str]:
    """Movement, bound movement and transfer, one line each."""
    return [
        f"movement of the truth (E_reg / E_twin): {between(movement.exact)}",
        f"movement of the bound (B_reg / B_twin): {nearest(movement.bound)}",
        f"transfer: {share_between(movement.transfer)}",
    ]


def judgement(comparison: Comparison) -> str:
    """The verdict on a regulariser, and at which epoch, where that is not the last that was audited of both runs.

    There is none where the untrained networks alone are compared.
    """
    epoch, moved = comparison.epoch, comparison.movement
    if epoch is None or (comparison.at_the_end and not comparison.untrained):
        return verdict(moved)
    mine, twin = map(listed_epochs, comparison.audited)
    names = [plain(figures.run, 40) for figures in (comparison.regularised, comparison.twin)]
    audited = f"{names[0]!r} was audited after {mine}; its twin {names[1]!r} after {twin}."
    if comparison.untrained:
        return f"No verdict: the untrained networks are compared, which no penalty has moved. {audited}"
    return f"After {epochs(epoch)}, which is not the end: {verdict(moved)} {audited}"


def verdict(movement: Movement) -> str:
    """What the transfer interval shows, in a sentence. It never says more than the whole interval supports."""
    share, bound = movement.transfer, movement.bound
    if share is None or bound is None:
        return f"Transfer is undefined: {movement.note}."
    bound_went, truth_against = ("fell", "rose") if bound < 1 else ("rose", "fell")
    if share.lower >= -_EQUAL and share.upper <= _EQUAL:
        return f"Only the bound moved: it {bound_went}, and the exact constant stayed."
    if share.upper < 0:
        return f"The truth went the other way: the bound {bound_went}, and the exact constant {truth_against}."
    if share.lower <= 0:
        most = (
            f" At most {_share_at_most(share.upper)} of the bound's movement reached it." if 0 < share.upper < 1 else ""
        )
        return (
            f"Not decided: the bound {bound_went}, but the certified intervals do not show on which side of the twin's "
            f"the exact constant lies.{most} A larger audit budget narrows the interval."
        )
    if share.lower >= 1 - _EQUAL and share.upper <= 1 + _EQUAL:
        return f"The truth moved with the bound: both {bound_went}, by about the same factor."
    if share.lower >= 1:
        return f"The truth moved further than the bound: both {bound_went}, the exact constant by the larger factor."
    if share.upper <= 1:
        part = f"{_share_at_least(share.lower)} to {_share_at_most(share.upper)}"
        return (
            f"Part of the movement is real: the bound {bound_went}, and {part} of that, measured in logarithms, "
            "is found in the exact constant."
        )
    return (
        f"The truth moved in the same direction: both {bound_went}, the exact constant by at least "
        f"{_share_at_least(share.lower)} of the bound's movement in logarithms."
    )


def _share_at_least(value: float) -> str:
    return f"{math.floor(100 * value)}%"


def _share_at_most(value: float) -> str:
    return f"{math.ceil(100 * value)}%"


def _apart(metric: Metric, mine: float | None, twin: float | None) -> str:
    """How far the metric of the two runs is apart; which way is better is not said."""
    if mine is None or twin is None:
        return MISSING
    return f"{100 * (mine - twin):+.1f} points" if metric.share else f"{mine - twin:+.{DIGITS}g}"


def _quotient(top: float | None, bottom: float | None) -> str:
    if top is None or bottom is None or math.inf in (top, bottom) or bottom == 0:
        return MISSING
    return rounded(top / bottom)
