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
    """What is said of a search that ended before its first program or node, and of how long folding was judged to take.

    Not below ``TOLD``: no budget is chosen by such figures.
    """
    words = "There was no time to fold the network"
    if over.judged is None or over.judged < TOLD:
        return words
    seconds = f"{over.judged:,.0f}" if over.judged >= 10 else f"{over.judged:.2g}"
    return f"{words}, which was judged to take at least {seconds} s"
