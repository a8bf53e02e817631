"""What a search tells: where it stands, and what it proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lipreg.budget import OutOfBudget
from lipreg.results import Status
from lipreg.search.closing import Closing

TOLD = 0.01
"""Least number of seconds of work that is worth a word."""


@dataclass(frozen=True)
class Progress:
    """Where a search stands: the interval proved so far, open nodes, nodes bounded, and wall-clock seconds."""

    lower: float
    upper: float
    open: int
    nodes: int
    seconds: float

    @property
    def gap(self) -> float:
        """(upper - lower) / upper; 0 for [0, 0]."""
        return 0.0 if self.upper == 0 else 1.0 - self.lower / self.upper


@dataclass(frozen=True)
class Outcome:
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


def unfolded(over: OutOfBudget) -> str:
    """What is said of a search that ended before its first program or node: what its first step was judged to take, and how
    much of the budget was left for it.

    A step that was judged to take less than ``TOLD`` has no figures: no budget is chosen by them.
    """
    steps = "to fold the network (to write it down over its undecided units)"
    if over.judged is None or over.judged < TOLD:
        return f"There was no time {steps}"
    left = f"{_seconds(over.left)} s" if over.left >= TOLD else "nothing"
    judged = f"{steps} and go on from there was judged to take at least {_seconds(over.judged)} s"
    return f"No search was begun: {judged}, and {left} of the budget was left"


def _seconds(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
