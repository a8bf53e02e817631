"""The part of an audit's budget that closed forms and sampling have, shared out over blocks of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lipreg.auditing.tasks import Task
from lipreg.budget import Budget
from lipreg.estimators import BoundEstimator, Estimator
from lipreg.results import Certificate

BLOCK = 16
"""The number of points of a closed-form task: sampling has a few hundred points of the region for each in memory."""
SHARE = 1 / 4
"""The part of the time that closed forms and sampling have where searches follow."""
FIRST_SHARE = 3 / 4
"""The same for bounds of a whole batch, where there are several: they come first, at all points, before anything that takes
one point after the other. What they do not need is for what follows."""


class Blocks:
    """Which block comes next, and for how long: each has its share of the time that remains, and where none remains the
    cheapest bound and witnesses alone.

    Args:
        only: the points that are audited; a block is done whole if one of its points is.
        count: the number of all points.
        methods: what is evaluated, the cheapest first.
        slots: how many blocks are done at the same time.
        budget: that of all that follows too; it is running.
        share: the part of the budget that the blocks have.
    """

    def __init__(
        self, only: range, count: int, methods: Mapping[str, Estimator], slots: int, budget: Budget, share: float
    ) -> None:
        starts = range(only[0] // BLOCK * BLOCK, only[-1] + 1, BLOCK)
        together = tuple(name for name, method in methods.items() if isinstance(method, BoundEstimator))
        rest = tuple(name for name in methods if name not in together)
        turns = [(together, max(share, FIRST_SHARE)), (rest, share)] if len(together) > 1 and rest else []
        self._turns = [
            ([Task(i, min(i + BLOCK, count), names, 0.0) for i in starts], turn_share)
            for names, turn_share in turns or [(tuple(methods), share)]
        ]
        bounds = [name for name, method in methods.items() if method.certificate is Certificate.UPPER]
        self._cheapest = list(together) if turns else (bounds or list(methods))[:1]
        self._witnesses = [name for name, method in methods.items() if method.certificate is Certificate.LOWER][:1]
        self._slots, self._budget = slots, budget
        self._begin()

    def _begin(self) -> None:
        """Begins the next turn, in its part of the remaining time."""
        self._waiting, share = self._turns.pop(0)
        self._part = self._budget.share(share)

    def next(self, stopped: bool) -> Task | None:
        """The next block; None when none is waiting.

        Args:
            stopped: whether the audit has been stopped, so that only the cheapest bound is evaluated.
        """
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
        """Puts a block back, for the methods that did not answer.

        Args:
            task: the block.
            estimators: the methods without an answer.
            point_by_point: whether each point becomes a task of its own, which shows where a method crashes.
        """
        size = 1 if point_by_point else task.end - task.first
        self._waiting += [
            replace(task, first=i, end=i + size, estimators=estimators) for i in range(task.first, task.end, size)
        ]
