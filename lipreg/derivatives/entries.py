"""What is known of the entries of a Jacobian over the region of one reference point, as it grows."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.derivatives.witnessed import derivatives_at
from lipreg.ranges import RangeEnd
from lipreg.results import EXACT_TOLERANCE, EXACT_ZERO, Status, Witness

LEAST, LARGEST = -1, 1
"""Which end of a range: that of the least or of the largest derivative."""
Entry = tuple[int, int]
"""A row of the functional and a flat position of an input."""


@dataclass
class Work:
    """How the work on one end of one entry stands."""

    status: Status = Status.BOUNDED
    proof: str = ""
    detail: str = ""


@dataclass
class Entries:
    """Proved and attained bounds on every entry, ``(rows, inputs)`` each.

    Attributes:
        local: the point's analysis.
        low, high: proved: an entry is in [low, high] everywhere.
        least, largest: attained: an entry is at most ``least`` at one point and at least ``largest`` at another.
        proof: what proves low and high where no search has.
        left_out: what closed forms had no time for.
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
        self.work: dict[tuple[Entry, int], Work] = {}

    def offer(self, x: Tensor, budget: Budget) -> None:
        """Takes in what the points x ``(k, *shape)`` attain, of all entries, as many at once as the memory allows."""
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
        """What ``end`` times the entry attains, from below; -inf where nothing is known."""
        return float(self.largest[entry] if end == LARGEST else -self.least[entry])

    def prove(self, entry: Entry, end: int, above: float, proof: str) -> None:
        """Enters a bound on ``end`` times the entry, proved to be at most ``above``."""
        if above < self.proved(entry, end):
            side = self.high if end == LARGEST else self.low
            side[entry] = end * above
            self.of(entry, end).proof = proof

    def of(self, entry: Entry, end: int) -> Work:
        """How the work on an end stands."""
        return self.work.setdefault((entry, end), Work(proof=self.proof, detail=self.left_out))

    def size(self, entry: Entry) -> float:
        """The larger magnitude that is attained, 0 where nothing is."""
        seen = [abs(self.attained(entry, end)) for end in (LEAST, LARGEST)]
        return max((value for value in seen if value < torch.inf), default=0.0)

    def met(self, entry: Entry, end: int, gap: float = 0.0) -> bool:
        """Whether an end is known to ``EXACT_TOLERANCE`` of the entry's size, or to the gap that is asked for."""
        width = self.proved(entry, end) - self.attained(entry, end)
        return width <= max(EXACT_TOLERANCE, gap) * self.size(entry) or width <= EXACT_ZERO

    def decided(self, entry: Entry) -> bool:
        """Whether the sign of an entry is proved, or both signs are attained."""
        return bool(
            self.low[entry] >= 0 or self.high[entry] <= 0 or (self.least[entry] < 0 and self.largest[entry] > 0)
        )

    def end(self, entry: Entry, end: int) -> RangeEnd:
        """One end as a result."""
        work, at = self.of(entry, end), self.points.get((entry, end))
        side, seen = (self.high, self.largest) if end == LARGEST else (self.low, self.least)
        other = self.low if end == LARGEST else self.high
        proved, attained = float(side[entry]), float(seen[entry])
        if at is not None:  # what is proved of every point holds at the witness too
            attained = end * max(end * attained, end * float(other[entry]))
        witness = None if at is None else Witness(tuple(at.flatten().tolist()), attained)
        status = Status.PROVED if self.met(entry, end) else work.status
        low, high = (attained, proved) if end == LARGEST else (proved, attained)
        return RangeEnd(low, high, status, work.proof, witness, work.detail)
