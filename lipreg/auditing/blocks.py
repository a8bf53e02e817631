"""The part of an audit's budget that closed forms and sampling have, shared out over blocks of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lipreg.auditing.tasks import Task
from lipreg.budget import Budget
from lipreg.estimators import BoundEstimator, Estimator
from lipreg.results import Certificate

BLOCK = 16
"""Points of a closed-form task: sampling holds a few hundred points of the region for each of them in memory."""
SHARE = 1 / 4
"""Of the time, where searches follow."""
FIRST_SHARE = 3 / 4
"""The same for bounds of a whole batch, where there are several: they come first, at all points, before anything that takes
one point after the other. What is left of it is for what follows."""


class Blocks:
    """Which block comes next, and for how long: each has its share of what is left of the part, and where nothing is left
    the cheapest bound and witnesses alone.

    Args:
        only: the points that are audited; a block is done whole if one of its points is.
        count: of all points.
        methods: what is evaluated, the cheapest first.
        slots: how many blocks are done at the same time.
        budget: of all that follows too; it is running.
        share: of it, for these.
    """

    def __init__(
        self, only: range, count: int, methods: Mapping[str, Estimator], slots: int, budget: Budget, share: float
    ) -> None:
        starts = range(only[0] // BLOCK * BLOCK, only[-1] + 1, BLOCK)
        together = tuple(name for name, method in methods.items() if isinstance(method, BoundEstimator))
        rest = tuple(name for name in methods if name not in together)
        turns = [(together, max(share, FIRST_SHARE)), (rest, share)] if len(together) > 1 and rest else []
        self._turns = [
            ([Task(i, min(i + BLOCK, count), names, 0.0) for i in starts], own)
            for names, own in turns or [(tuple(methods), share)]
        ]
        bounds = [name for name, method in methods.items() if method.certificate is Certificate.UPPER]
        self._cheapest = list(together) if turns else (bounds or list(methods))[:1]
        self._witnesses = [name for name, method in methods.items() if method.certificate is Certificate.LOWER][:1]
        self._slots, self._budget = slots, budget
        self._begin()

    def _begin(self) -> None:
        """The next turn, in its part of the time that is left."""
        self._waiting, share = self._turns.pop(0)
        self._part = self._budget.share(share)

    def next(self, stopped: bool) -> Task | None:
        """A block; None when none is waiting."""
        while self._waiting or self._turns:
            if not self._waiting:
                self._begin()
                continue
            seconds = 0.0 if stopped else self._part.seconds_left * min(1.0, self._slots / len(self._waiting))
            task = self._waiting.pop(0)
            cheap = self._cheapest + ([] if stopped else self._witnesses)
            names = tuple(name for name in task.estimators if seconds > 0 or name in cheap)
            if names:
                patience = self._budget.seconds_left
                return replace(task, estimators=names, seconds=seconds, patience=patience, stopped=stopped)
        return None

    def again(self, task: Task, estimators: tuple[str, ...], point_by_point: bool) -> None:
        """Some methods of a block that did not answer are asked again, in one piece or at one point after the other."""
        size = 1 if point_by_point else task.end - task.first
        self._waiting += [
            replace(task, first=i, end=i + size, estimators=estimators) for i in range(task.first, task.end, size)
        ]
