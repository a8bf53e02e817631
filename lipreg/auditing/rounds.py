"""The budget of an audit, shared out in rounds, so that no point goes short because another one is hard.

In the first round every point gets a small part of its fair share; most points of most audits need no more. Those that are
left get their fair share of the time that is left, the narrowest gap first, and what one leaves goes to those after it. A
search that is repeated starts anew from the witness and the bounds known by then, so a repetition gets at least twice the
time of the attempt before it, or is not made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

FIRST_SHARE = 1 / 8
"""Part of its fair share that a point gets at first: what is spent in vain if every point is hard."""
FIRST_SECONDS = 1.0
"""The first attempt is not shorter than this, if the fair share allows it: the programs have to be set up each time."""
GROWTH = 2.0
"""A repetition gets at least so many times the seconds of the attempt before it."""
WORTH_IT = 1.25
"""At the end of the budget a repetition may be cut to so many times the seconds before it, not to less."""

LEAST_SECONDS = 0.1
"""A repetition shorter than this is not made."""


@dataclass
class _Point:
    point: int
    gap: float = 1.0
    attempts: int = 0
    seconds: float = 0.0  # of the last attempt


class Rounds:
    """Which point comes next, and for how long.

    Args:
        points: the points to be searched.
        slots: how many are searched at the same time.
        seconds: the budget, counted from now.
    """

    def __init__(self, points: Iterable[int], slots: int, seconds: float) -> None:
        self._waiting = {point: _Point(point) for point in points}
        self._running: dict[int, tuple[_Point, float]] = {}
        self._slots, self.deadline = slots, time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def next(self, only_new: bool = False) -> tuple[int, float] | None:
        """A point and its seconds; None when nothing that waits is worth another attempt at present.

        Every point is given at least once: with no seconds, if the budget is gone. ``only_new`` leaves out repetitions.
        """
        for point in sorted(self._waiting.values(), key=lambda p: (p.attempts > 0, p.gap, p.point)):
            seconds = self._seconds(point)
            if point.attempts > 0 and only_new:
                continue
            if point.attempts == 0 or seconds >= max(WORTH_IT * point.seconds, LEAST_SECONDS):
                del self._waiting[point.point]
                point.attempts, point.seconds = point.attempts + 1, seconds
                self._running[point.point] = point, time.monotonic() + seconds
                return point.point, seconds
        return None

    def _seconds(self, point: _Point) -> float:
        left = self.seconds_left
        promised = sum(max(0.0, end - time.monotonic()) for _, end in self._running.values())
        fair = max(0.0, self._slots * left - promised) / len(self._waiting)
        if point.attempts > 0:
            return min(left, max(fair, GROWTH * point.seconds))
        # points that are running may come back, so the first share is taken over them as well
        fair = min(fair, self._slots * left / (len(self._waiting) + len(self._running)))
        return min(left, max(FIRST_SHARE * fair, min(fair, FIRST_SECONDS)))

    def back(self, point: int, gap: float | None) -> None:
        """An attempt is over; the gap that it leaves, or None for a point that is done."""
        returned, _ = self._running.pop(point)
        if gap is not None:
            returned.gap = gap if math.isfinite(gap) else 1.0
            self._waiting[point] = returned
