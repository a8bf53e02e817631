"""What a budget left out at the points of an audit, in words: the lines below its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lipreg.auditing.points import PointAudit
from lipreg.results import Status
from lipreg.words import counted


def budget_notes(points: Sequence[PointAudit]) -> list[str]:
    """What the budget left no time or memory for, or only a part of its time, and what failed; nothing where there is none.

    A method is in one of the lines at a point, by how its work ended in this audit.
    """
    parts = {
        "left out for want of time": [point.left_out for point in points],
        "no search was begun, for which the time was too short": map(_not_begun, points),
        "cut short for want of time": map(_cut_short, points),
        "not begun for want of memory": [_ended(point, Status.MEMORY_LIMIT) for point in points],
        "failed": [_ended(point, Status.FAILED) for point in points],
    }
    return [f"{words}: {where}" for words, each in parts.items() if (where := _where(each))]


def _where(names: Iterable[Iterable[str]]) -> str:
    counts = Counter(name for each in names for name in each)
    return ", ".join(f"{name} at {counted(count, 'point')}" for name, count in counts.items())


def _ended(point: PointAudit, status: Status) -> list[str]:
    """The methods whose work ended with a status in this audit."""
    names = [name for name in point.plan.recipes if point.has_answer(name)]
    return [name for name in names if point.intervals[name].status is status]


def _not_begun(point: PointAudit) -> list[str]:
    """The searches that had some time, which was too little to begin."""
    names = [name for name in _ended(point, Status.TIME_LIMIT) if name not in point.left_out]
    return [name for name in names if name in point.engines and not point.searched(name)]


def _cut_short(point: PointAudit) -> list[str]:
    """The methods beside searches of both ends, whose status the table has, that were begun and not done to their end."""
    names = _ended(point, Status.TIME_LIMIT)
    return [name for name in names if name not in point.engines and name not in point.left_out]
