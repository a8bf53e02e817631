"""What a search is told, and what it tells: when to end early, where it stands, and what it proved."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from lipreg.results import Status

MEMORY = 2**28
"""Bytes of open nodes from which a search turns depth-first."""


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
class Limits:
    """When a search ends before it is done.

    Attributes:
        seconds: wall-clock time.
        nodes: bounded nodes.
        gap: (upper - lower) / upper at which the ends are close enough.
        stop: set from outside.
        memory: bytes of open nodes from which it goes depth-first; never a reason to end.
    """

    seconds: float = math.inf
    nodes: float = math.inf
    gap: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)
    memory: int = MEMORY


@dataclass(frozen=True)
class Outcome:
    """What a search proved.

    Attributes:
        status: PROVED when no node is open, else why it ended.
        upper: proved, whatever the status.
        nodes: how many were bounded.
        cells: how many activation cells were settled by a linear program.
        rounding: what ``upper`` holds for the rounding of float64.
    """

    status: Status
    upper: float
    nodes: int
    cells: int
    rounding: float = 0.0
