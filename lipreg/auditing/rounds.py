"""The budget of an audit, shared out in rounds, so that no point goes short because another one is hard.

Every point gets its fair share of the remaining time, and what it does not need goes to those after it. If the share is
long, a first round gives a small part of it: most points of most audits need no more, and the others then share the rest.
So a point that needs less than 7/8 of the fair share has it in one stretch, however hard the others are.

Time that remains at the end goes into fewer and longer attempts, the narrowest gap first: a search that is repeated goes on
from the witness and the bounds proved by then, but it grows its tree anew. One that was too short to begin is repeated for
as long as it was judged to need, and after the others where less than that remains. Relaxations at points that are settled
come last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lipreg.budget import Budget

FIRST_SHARE = 1 / 8
"""The part of its fair share that a point gets in the first round: what is spent in vain if every point is hard."""
FIRST_SECONDS = 0.5
"""If the first round would be shorter than this, there is none: the programs have to be set up each time."""
GROWTH = 2.0
"""A repetition gets at least so many times the seconds of the attempt before it."""
LEAST_GROWTH = 1.25
"""At the end of the budget it may be cut to so many times those seconds; it is not made for less."""
FORMS = 2.0
"""A search that lacked some seconds to begin gets so many times as many more: closed forms before it have half of them."""
LEAST_SECONDS = 0.1
"""A repetition is not made for less than this."""


@dataclass
class _Point:
    point: int
    gap: float = 1.0
    attempts: int = 0
    seconds: float = 0.0  # of the last attempt
    seconds_before: float = 0.0  # of the one before it
    required_seconds: float = 0.0  # without which no search begins, where that was judged
    settled: bool = False  # but for relaxations


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
        """The remaining seconds of the budget."""
        return self.budget.seconds_left

    def next(self, only_new: bool = False) -> tuple[int, float] | None:
        """The next point and its seconds; None when nothing that waits is worth another attempt at present.

        Every point comes at least once: with no seconds, if the budget is gone. ``only_new`` leaves out repetitions.
        """
        for point in sorted(self._waiting.values(), key=self._turn):
            seconds = self._seconds(point)
            if point.attempts > 0 and (only_new or seconds < max(LEAST_SECONDS, self._enough(point))):
                continue
            del self._waiting[point.point]
            point.seconds_before = point.seconds
            point.attempts, point.seconds = point.attempts + 1, seconds
            self._running[point.point] = point, self.budget.clock() + seconds
            return point.point, seconds
        return None

    def _lacks_too_much(self, point: _Point) -> bool:
        return point.required_seconds > max(point.seconds, self.seconds_left)

    def _turn(self, point: _Point) -> tuple[bool, bool, bool, int, float, int]:
        """The sort key of a point: the later, the less an attempt can add, by relaxations alone or by a search that lacks
        the time."""
        late = point.settled, self._lacks_too_much(point)
        return point.attempts > 0, *late, point.attempts, point.gap, point.point

    def _enough(self, point: _Point) -> float:
        """The least seconds for which an attempt is repeated."""
        grown = LEAST_GROWTH * point.seconds
        return min(grown, point.required_seconds) if point.required_seconds > point.seconds else grown

    def _seconds(self, point: _Point) -> float:
        remaining = self.seconds_left
        promised = sum(max(0.0, end - self.budget.clock()) for _, end in self._running.values())
        free = max(0.0, self._slots * remaining - promised)
        if point.attempts > 0:
            needs = (
                point.required_seconds
                if point.seconds < point.required_seconds <= remaining
                else GROWTH * point.seconds
            )
            return min(remaining, max(free / len(self._waiting), needs))
        if self._short_round:  # points that are running may come back, so the share is taken over them as well
            return min(remaining, FIRST_SHARE * self._slots * remaining / (len(self._waiting) + len(self._running)))
        return min(remaining, free / sum(p.attempts == 0 for p in self._waiting.values()))

    def again(self, point: int) -> None:
        """Puts a point back whose attempt came to nothing through no fault of the search: it does not count."""
        returned, _ = self._running.pop(point)
        returned.attempts, returned.seconds = returned.attempts - 1, returned.seconds_before
        self._waiting[point] = returned

    def lacks(self, point: int, seconds: float) -> None:
        """Notes that the attempt that runs at a point was so many seconds too short for its search to begin."""
        running, _ = self._running[point]
        running.required_seconds = running.seconds + FORMS * seconds

    def back(self, point: int, gap: float | None, settled: bool = False) -> None:
        """Takes a point back whose attempt is over.

        Args:
            point: its index.
            gap: the relative gap of its interval now; None for a point that is done.
            settled: whether relaxations alone remain to be run there.
        """
        returned, _ = self._running.pop(point)
        returned.settled = settled
        if gap is not None:
            returned.gap = gap if math.isfinite(gap) else 1.0
            self._waiting[point] = returned
