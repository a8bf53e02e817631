"""What a budget left out at the points of an audit, in words: the lines below its table."""

from __future__ import annotations

from collections.abc import Sequence

from lipreg.auditing.points import PointAudit
from lipreg.records.endings import Ending, ending_lines


def budget_notes(points: Sequence[PointAudit]) -> list[str]:
    """What the budget left no time or memory for, or only a part of its time, and what failed; nothing where there is none.

    A method is in one of the lines at a point, by how its work ended in this audit. Of searches of both ends the table has
    the status.
    """
    answered = [[name for name in point.plan.recipes if name in point.intervals] for point in points]
    endings = [
        [Ending.of(name, point.intervals[name]) for name in names]
        for point, names in zip(points, answered, strict=True)
    ]
    return ending_lines(endings, beside={name for point in points for name in point.engines})
