"""How far bound and truth moved from the twin to the regularised run, and how much of the bound's is the truth's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lipreg.errors import RenamedAttribute
from lipreg.transfer.pairs import Pair
from lipreg.transfer.points import PointFigures, check_same_functional, check_same_weights
from lipreg.transfer.ratios import Interval, geometric_mean, ratio, transfer

_NO_RATIO = "a bound is not finite, or the twin's bound or constant is 0"


@dataclass(frozen=True)
class Movement:
    """How far the figures moved from the twin to the regularised run: at one point, or the geometric mean over ``points``.

    Attributes:
        points: the number of points where both ratios are defined: finite bounds, a twin whose bound and constant are not 0.
        combined: E_reg / E_twin, of what all methods together prove; None without such points.
        bound: B_reg / B_twin; None without such points.
        transfer: None where undefined.
        note: why it is undefined, or which points do not count; empty otherwise.
    """

    points: int
    combined: Interval | None
    bound: float | None
    transfer: Interval | None
    note: str = ""
    exact = RenamedAttribute("combined")


def movement(pairs: Sequence[tuple[PointFigures, PointFigures]]) -> Movement:
    """Movement, bound movement and transfer over pairs of (regularised, twin), as ratios of geometric means."""
    steps: list[tuple[Interval, Interval]] = []
    for mine, other in pairs:
        combined = ratio(mine.combined, other.combined)
        if combined is not None and math.inf not in (mine.bound, other.bound) and other.bound > 0:
            quotient = ratio(Interval(mine.bound, mine.bound), Interval(other.bound, other.bound))
            assert quotient is not None  # it is only where the twin's bound is 0
            steps.append((combined, quotient))
    if not steps:
        return Movement(0, None, None, None, _NO_RATIO)
    combined = geometric_mean([e for e, _ in steps])
    bound = geometric_mean([b for _, b in steps])
    share, reason = transfer(combined, bound)
    skipped = len(pairs) - len(steps)
    if skipped:
        not_counted = f"do{'es' * (skipped == 1)} not count"
        reason += f"{'; ' if reason else ''}{skipped} of {len(pairs)} points {not_counted}: {_NO_RATIO}"
    return Movement(len(steps), combined, bound.midpoint, share, reason)


def truth_movement(pair: Pair, epoch: int) -> Movement:
    """Movement of the exact constant alone at one epoch, which needs no bound, over the points of both.

    Raises:
        IncomparableResults: a point has another functional in the twin, or the weights are of another kind.
    """
    mine, twin = (side.combined(epoch) for side in pair.sides)
    ratios: list[Interval] = []
    for one, two in ((mine[point], twin[point]) for point in sorted(mine.keys() & twin.keys())):
        check_same_functional(one, two)
        check_same_weights(one, two)
        quotient = ratio(Interval.of(one), Interval.of(two))
        ratios += [] if quotient is None else [quotient]
    return Movement(len(ratios), geometric_mean(ratios) if ratios else None, None, None)
