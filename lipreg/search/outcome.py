"""What a search tells: where it stands, and what it proved."""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.results import Status


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
    """

    status: Status
    upper: float
    nodes: int
    cells: int
    rounding: float = 0.0
    left_out: str = ""
