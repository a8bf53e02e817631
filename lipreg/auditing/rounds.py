"""The budget of an audit, shared out in rounds, so that no point goes short because another one is hard.

Every point gets its fair share of the time that is left, and what it leaves goes to those after it. If the share is long, a
first round gives a small part of it: most points of most audits need no more, and the others then share what is left. So a
point that needs less than 7/8 of the fair share has it in one piece, however hard the others are.

What is over at the end goes into fewer and longer attempts, the narrowest gap first: a search that is repeated goes on from
the witness and the bounds known by then, but it grows its tree anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lipreg.budget import Budget

FIRST_SHARE = 1 / 8
"""Part of its fair share that a point gets in the first round: what is spent in vain if every point is hard."""
FIRST_SECONDS = 0.5
"""If the first round would be shorter than this, there is none: the programs have to be set up each time."""
GROWTH = 2.0
"""A repetition gets at least so many times the seconds of the attempt before it."""
LEAST_GROWTH = 1.25
"""At the end of the budget it may be cut to so many times those seconds; it is not made for less."""
LEAST_SECONDS = 0.1
"""A repetition is not made for less than this."""


@dataclass
class _Point:
    point: int
    gap: float = 1.0
    attempts: int = 0
    seconds: float = 0.0  # of the last attempt
    seconds_before: float = 0.0  # of the one before it


class Rounds:
    """Which point comes next, and for how long.

    Args:
        points: the points to be searched.
        slots: how many are searched at the same time.
        budget: its time runs from now.
    """

    def __init__(self, points: Iterable[int], slots: int, budget: Budget) -> None:
        self._waiting = {point: _Point(point) for point in points}
        self._running: dict[int, tuple[_Point, float]] = {}
        self._slots, self.budget = slots, budget.started()
        self._short_round = FIRST_SHARE * slots * budget.seconds_left >= FIRST_SECONDS * len(self._waiting)

    @property
    def seconds_left(self) -> float:
        return self.budget.seconds_left

    def next(self, only_new: bool = False) -> tuple[int, float] | None:
        """A point and its seconds; None when nothing that waits is worth another attempt at present.

        Every point is given at least once: with no seconds, if the budget is gone. ``only_new`` leaves out repetitions.
        """
        for point in sorted(self._waiting.values(), key=lambda p: (p.attempts, p.gap, p.point)):
            seconds = self._seconds(point)
            if point.attempts > 0 and only_new:
                continue
            if point.attempts == 0 or seconds >= max(LEAST_SECONDS, LEAST_GROWTH * point.seconds):
                del self._waiting[point.point]
                point.seconds_before = point.seconds
                point.attempts, point.seconds = point.attempts + 1, seconds
                self._running[point.point] = point, self.budget.clock() + seconds
                return point.point, seconds
        return None

    def _seconds(self, point: _Point) -> float:
        left = self.seconds_left
        promised = sum(max(0.0, end - self.budget.clock()) for _, end in self._running.values())
        free = max(0.0, self._slots * left - promised)
        if point.attempts > 0:
            return min(left, max(free / len(self._waiting), GROWTH * point.seconds))
        if self._short_round:  # points that are running may come back, so the share is taken over them as well
            return min(left, FIRST_SHARE * self._slots * left / (len(self._waiting) + len(self._running)))
        return min(left, free / sum(p.attempts == 0 for p in self._waiting.values()))

    def again(self, point: int) -> None:
        """An attempt came to nothing through no fault of the search: it does not count."""
        returned, _ = self._running.pop(point)
        returned.attempts, returned.seconds = returned.attempts - 1, returned.seconds_before
        self._waiting[point] = returned

    def back(self, point: int, gap: float | None) -> None:
        """An attempt is over; the gap that it leaves, or None for a point that is done."""
        returned, _ = self._running.pop(point)
        if gap is not None:
            returned.gap = gap if math.isfinite(gap) else 1.0
            self._waiting[point] = returned
