"""Proved and attained bounds on the entries of a Jacobian over the region of one point, as searches narrow them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.derivatives.at_points import derivatives_at
from lipreg.ranges import RangeEnd
from lipreg.results import EXACT_TOLERANCE, EXACT_ZERO, Status, Witness

LEAST, LARGEST = -1, 1
"""Which end of a range: that of the least or of the largest derivative."""
Entry = tuple[int, int]
"""A row of the functional and a flat position of an input."""


@dataclass
class EndState:
    """How far one end of one entry is.

    Attributes:
        status: how its search ended, and ``BOUNDED`` before one.
        proof: what proves its bound.
        detail: of its search, for the result.
    """

    status: Status = Status.BOUNDED
    proof: str = ""
    detail: str = ""


@dataclass
class EntryBounds:
    """Proved and attained bounds on every entry, ``(rows, inputs)`` each.

    Attributes:
        local: the point's analysis.
        low, high: proved: an entry is in [low, high] everywhere.
        least, largest: attained: an entry is at most ``least`` at one point and at least ``largest`` at another.
        proof: what proves low and high where no search has.
        left_out: what closed forms had no time for.
        points: by entry and end, the point that attains it, ``shape``.
        work: by entry and end, how far it is.
    """

    local: Analysis
    low: Tensor
    high: Tensor
    proof: str
    left_out: str = ""
    least: Tensor = field(init=False)
    largest: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.least, self.largest = torch.full_like(self.low, torch.inf), torch.full_like(self.low, -torch.inf)
        self.points: dict[tuple[Entry, int], Tensor] = {}
        self.end_states: dict[tuple[Entry, int], EndState] = {}

    def evaluate_at(self, x: Tensor, budget: Budget) -> None:
        """Evaluates all entries at points x ``(k, *shape)``, as many at once as the memory allows, and keeps the best."""
        low, high = derivatives_at(self.local, x, budget)
        least, at_least = high.min(0)
        largest, at_largest = low.max(0)
        for better, place, end in (
            (least < self.least, at_least, LEAST),
            (largest > self.largest, at_largest, LARGEST),
        ):
            for row, column in better.nonzero().tolist():
                self.points[(row, column), end] = x[place[row, column]]
        self.least, self.largest = torch.minimum(self.least, least), torch.maximum(self.largest, largest)

    def proved(self, entry: Entry, end: int) -> float:
        """The bound on ``end`` times the entry, from above."""
        return float(self.high[entry] if end == LARGEST else -self.low[entry])

    def attained(self, entry: Entry, end: int) -> float:
        """A lower bound on what ``end`` times the entry attains at a point; -inf where no point is evaluated."""
        return float(self.largest[entry] if end == LARGEST else -self.least[entry])

    def tighten(self, entry: Entry, end: int, above: float, proof: str) -> None:
        """Enters a bound on ``end`` times the entry where it is smaller than the present one.

        Args:
            entry, end: which end of which entry.
            above: the bound, in units of the inputs.
            proof: what proves it.
        """
        if above < self.proved(entry, end):
            side = self.high if end == LARGEST else self.low
            side[entry] = end * above
            self.end_state(entry, end).proof = proof

    def end_state(self, entry: Entry, end: int) -> EndState:
        """How far an end is."""
        return self.end_states.setdefault((entry, end), EndState(proof=self.proof, detail=self.left_out))

    def size(self, entry: Entry) -> float:
        """The larger magnitude that the entry attains, 0 where no point is evaluated."""
        magnitudes = [abs(self.attained(entry, end)) for end in (LEAST, LARGEST)]
        return max((value for value in magnitudes if value < torch.inf), default=0.0)

    def converged(self, entry: Entry, end: int, gap: float = 0.0) -> bool:
        """Whether the proved and the attained bound of an end meet.

        Args:
            entry, end: which end of which entry.
            gap: the distance at which they do, relative to the entry's size; ``EXACT_TOLERANCE`` where that is more.
        """
        width = self.proved(entry, end) - self.attained(entry, end)
        return width <= max(EXACT_TOLERANCE, gap) * self.size(entry) or width <= EXACT_ZERO

    def sign_known(self, entry: Entry) -> bool:
        """Whether the sign of an entry is proved, or both signs are attained."""
        return bool(
            self.low[entry] >= 0 or self.high[entry] <= 0 or (self.least[entry] < 0 and self.largest[entry] > 0)
        )

    def end(self, entry: Entry, end: int) -> RangeEnd:
        """One end as a result."""
        work, point = self.end_state(entry, end), self.points.get((entry, end))
        side, attained_ends = (self.high, self.largest) if end == LARGEST else (self.low, self.least)
        other = self.low if end == LARGEST else self.high
        proved, attained = float(side[entry]), float(attained_ends[entry])
        if point is not None:  # what is proved of every point holds at the witness too
            attained = end * max(end * attained, end * float(other[entry]))
        witness = None if point is None else Witness(tuple(point.flatten().tolist()), attained)
        status = Status.PROVED if self.converged(entry, end) else work.status
        low, high = (attained, proved) if end == LARGEST else (proved, attained)
        return RangeEnd(low, high, status, work.proof, witness, work.detail)
