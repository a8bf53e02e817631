"""The reports of a search: where it stands, and what it proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lipreg.budget import OutOfBudget
from lipreg.records.endings import NOT_BEGUN
from lipreg.results import Status
from lipreg.search.closing import Closing

LEAST_REPORTED = 0.01
"""Least number of seconds of work that is worth a word."""


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands.

    Attributes:
        lower, upper: the interval proved so far.
        open: how many nodes are open.
        nodes: how many were bounded.
        seconds: wall-clock time since it began.
        lacking: how many seconds it lacks to begin, where it was judged that there are too few.
    """

    lower: float
    upper: float
    open: int
    nodes: int
    seconds: float
    lacking: float = 0.0

    @property
    def gap(self) -> float:
        """(upper - lower) / upper; 0 for [0, 0]."""
        return 0.0 if self.upper == 0 else 1.0 - self.lower / self.upper


@dataclass(frozen=True)
class SearchOutcome:
    """What a search proved.

    Attributes:
        status: PROVED when no node is open, else why it ended.
        upper: proved, whatever the status.
        nodes: how many were bounded.
        cells: how many activation cells were settled by a linear program.
        rounding: what ``upper`` holds for the rounding of float64.
        left_out: what there was no time for before the first node.
        closings: how many nodes were closed by what.
    """

    status: Status
    upper: float
    nodes: int
    cells: int
    rounding: float = 0.0
    left_out: str = ""
    closings: Mapping[Closing, int] = field(default_factory=dict)


def not_begun_message(over: OutOfBudget | None = None) -> str:
    """The message about a search that ended before its first program or node."""
    return f"{NOT_BEGUN}: {'no time was left' if over is None else no_search_message(over)}"


def no_search_message(over: OutOfBudget) -> str:
    """Why there was no first program or node: what its first step was judged to take, and how much of the point's time was
    left for it.

    A step that was judged to take less than ``LEAST_REPORTED`` has no figures: no budget is set by them.
    """
    steps = "to fold the network (to write it down over its unstable units)"
    if over.judged is None or over.judged < LEAST_REPORTED:
        return f"there was no time {steps}"
    remaining = f"{_seconds(over.remaining)} s" if over.remaining >= LEAST_REPORTED else "nothing"
    judged = f"{steps} and go on from there was judged to take at least {_seconds(over.judged)} s"
    return f"{judged}, and {remaining} of the point's time was left"


def _seconds(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
