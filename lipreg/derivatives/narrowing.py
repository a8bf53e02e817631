"""Ends of ranges by search: the largest of an entry, or of its negative, with as much added as makes it a magnitude.

The engines maximise |c . J| in a norm. Beside its outputs the network passes on its inputs; the functional c . f + k x_j,
measured in x_j alone, has the derivative c . d f / d x_j + k. With k the proved bound on how far an entry falls below 0 that
is at least 0 all over the region, so its largest magnitude is the largest derivative plus k. Whatever k is, what is proved
of it, less k, bounds the derivative from above; no more is added than closed forms leave, and gaps are of the derivative.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import AnyOf, Budget, OutOfBudget
from lipreg.derivatives.entries import LARGEST, LEAST, Entries, Entry
from lipreg.estimators import get_estimator
from lipreg.estimators.base import Watch
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.exact.rays import off_ray, onto_ray, over_rays
from lipreg.estimators.settings import Settings
from lipreg.folding import fold
from lipreg.linalg.rationals import above, below
from lipreg.outputs import AllLogits
from lipreg.results import Status
from lipreg.search import search
from lipreg.search.course import TOLERANCE
from lipreg.search.hunt import Hunt
from lipreg.search.screen import Screen
from lipreg.words import counted, sentences

SEARCH, PROGRAM = "branch_and_bound", "mip"
RELAXED = 64
"""Undecided units from which on nodes are bounded by their relaxation too. Measured: with 20 to 50 of them searches take 0.7
of the time without it; with 100 and more they take as long, and leave more open."""

TURNS, OFFERED = 2, 8
"""Turns of a hunt before each search for a sign, and points of it that are evaluated. Measured on tables: searches take
0.75 to 1 times as long with it, and at as many nodes leave a fifth fewer open. For ranges it makes no difference."""


@dataclass(frozen=True)
class Asking:
    """What is asked of every entry, and how.

    Attributes:
        sign: whether the sign is enough.
        engine: SEARCH or PROGRAM.
        settings: which engines serve, and the seed.
        progress: told where a search stands.
    """

    sign: bool
    engine: str
    settings: Settings
    progress: Watch | None = None


@dataclass(frozen=True)
class Tilt:
    """sign * (entry) + slope * unit as a question about a magnitude.

    Attributes:
        question: the analysis that engines are given.
        shift: slope * unit, exactly.
    """

    question: Analysis
    shift: Fraction

    def raised(self, value: float) -> float:
        """value + shift, rounded down."""
        return below(Fraction(value) + self.shift) if math.isfinite(value) else value

    def lowered(self, bound: float) -> float:
        """bound - shift, rounded up."""
        return -below(self.shift - Fraction(bound)) if math.isfinite(bound) else bound


class Narrowing:
    """The search for the ends of one point's entries, one after the other.

    Args:
        entries: of the point, what closed forms and sampling know.
        asking: what is asked.
        budget: started; its nodes are those of all of the point's searches.
    """

    def __init__(self, entries: Entries, asking: Asking, budget: Budget) -> None:
        self.entries, self.asking, self.budget = entries, asking, budget
        network = entries.local
        self.rays = not network.placed.region.bounded
        self.searched = without_pools(
            over_rays(network, budget.share(0.5)) if self.rays else network, budget.share(0.5)
        )

    def narrow(self, entry: Entry, budget: Budget) -> int:
        """Narrows the two ends, or goes on until the sign is decided; returns how many nodes that took.

        Args:
            budget: of this entry.
        """
        spent = 0
        # where nothing above 0 is attained it is the other sign that may be proved
        first = LEAST if self.entries.attained(entry, LARGEST) > 0 or not self.asking.sign else LARGEST
        for left, end in ((2, first), (1, -first)):
            if self._done(entry, end):
                continue
            own = _part(budget.after(spent), left)
            over = own.ended()
            if over is not None:
                self.entries.of(entry, end).status = over
                continue
            spent += self._program(entry, end, own) if self.asking.engine == PROGRAM else self._search(entry, end, own)
        return spent

    def _done(self, entry: Entry, end: int) -> bool:
        if not self.asking.sign:
            return self.entries.met(entry, end, self.budget.gap)
        # the sign that this end would prove is refuted
        return self.entries.decided(entry) or self.entries.attained(entry, end) > 0

    def tilt(self, entry: Entry, end: int, of: Analysis) -> Tilt:
        """``end`` times an entry as a question about a magnitude, to an analysis of the point's own or of rays."""
        row, column = entry
        placed = of.placed
        unit = float(placed.counts.flatten()[column])
        slope = max(0.0, self.entries.proved(entry, -end)) / unit
        rows = end * placed.rows[:, row : row + 1]
        rows[..., len(rows.flatten()) - self._inputs + column] = slope
        # of a single entry all norms are the same; the search's bounds are not
        p = 1.0 if int(of.unstable_units()) < RELAXED else math.inf
        asked = replace(placed.problem, output=AllLogits(), measured=(column,), p=p)
        return Tilt(of.asking(replace(placed, problem=asked, given=rows)), Fraction(slope) * Fraction(unit))

    @property
    def _inputs(self) -> int:
        return self.entries.local.placed.counts[0].numel()

    def _search(self, entry: Entry, end: int, budget: Budget) -> int:
        entries, work = self.entries, self.entries.of(entry, end)
        tilt, found = self.tilt(entry, end, self.searched), threading.Event()
        budget = replace(budget.started(), stop=AnyOf((budget.stop, found)), gap=0.0)

        def attained() -> float:
            return tilt.raised(entries.attained(entry, end))

        lowest = 0.0
        try:
            if self.asking.sign:  # nodes that prove the sign are closed, whatever is attained
                lowest = max(0.0, tilt.raised(0.0) - 4.0 * float(fold(tilt.question, budget).rounding.max()))
        except OutOfBudget as over:
            work.status = over.status
            return 0

        def attain(points: Tensor) -> float:
            points = off_ray(entries.local, points) if self.rays else points
            if len(points):
                entries.offer(points, budget)
            if self.asking.sign and entries.attained(entry, end) > 0:
                found.set()
            return max(attained(), lowest)

        known = max(attained(), lowest)
        if self.asking.sign:
            with torch.no_grad():
                known = attain(self._hunted(tilt, budget))
        if found.is_set():
            work.status, work.detail = Status.BOUNDED, f"a hunt of {TURNS} turns"
            return 0
        upper = torch.tensor([above(Fraction(entries.proved(entry, end)) + tilt.shift)], dtype=torch.float64)
        start, tolerance = entries.points.get((entry, end)), self._tolerance(entry, end, tilt)
        if start is not None:
            start = onto_ray(entries.local, start) if self.rays else start.unsqueeze(0)
        with torch.no_grad():
            outcome = search(
                tilt.question, upper, known, attain, budget, self.asking.progress, start=start, tolerance=tolerance
            )
        entries.prove(entry, end, tilt.lowered(outcome.upper), "branch and bound")
        work.status = self._status(entry, end, outcome.status, found.is_set())
        spent = f"{counted(outcome.nodes, 'node')}, {counted(outcome.cells, 'cell')} settled by LP"
        work.detail = sentences(outcome.left_out or spent, entries.left_out)
        return outcome.nodes

    def _hunted(self, tilt: Tilt, budget: Budget) -> Tensor:
        """Points that promise much."""
        (generator,) = tilt.question.placed.region.generators(self.asking.settings.seed)
        hunt = Hunt(Screen(tilt.question, budget.memory), generator)
        hunt.go(lambda: budget.ended() is not None, TURNS)
        return hunt.found(OFFERED)

    def _tolerance(self, entry: Entry, end: int, tilt: Tilt) -> float:
        """Relative gap of the tilted magnitude that is a small one of the derivative itself."""
        largest = tilt.raised(self.entries.proved(entry, end))
        if self.asking.sign:
            return 0.0
        wanted = max(TOLERANCE, self.budget.gap) * self.entries.size(entry)
        return wanted / largest if largest > wanted else TOLERANCE

    def _status(self, entry: Entry, end: int, status: Status, found: bool) -> Status:
        if found:
            return Status.BOUNDED  # the sign was all that was asked for
        if status is not Status.PROVED:
            return status
        if self.asking.sign:
            return Status.BOUNDED if self.entries.decided(entry) else Status.UNCONFIRMED
        return Status.GAP_LIMIT if self.entries.met(entry, end, self.budget.gap) else Status.UNCONFIRMED

    def _program(self, entry: Entry, end: int, budget: Budget) -> int:
        entries, work = self.entries, self.entries.of(entry, end)
        tilt = self.tilt(entry, end, entries.local)
        method, asking = get_estimator(PROGRAM), self.asking
        assert isinstance(method, ExactEstimator)
        found, nodes = method.at_point(tilt.question, replace(budget, gap=0.0), asking.settings, asking.progress)
        if found.witness is not None:
            point = torch.tensor(found.witness.point, dtype=torch.float64)
            entries.offer(point.reshape(1, *entries.local.placed.region.shape), budget)
        entries.prove(entry, end, tilt.lowered(found.upper), found.proof)
        work.status, work.detail = self._status(entry, end, found.status, False), found.detail
        return nodes


def narrow_all(entries: Entries, asked: list[Entry], asking: Asking, budget: Budget) -> None:
    """Narrows the entries of one point that are open, in order, each within its share of the time and of the nodes."""
    gap, before, over = budget.gap, len(asked) + 1, budget.ended()
    open_ = [entry for entry in asked if _open(entries, entry, asking, gap)]
    if open_ and over is None:
        narrowing = Narrowing(entries, asking, budget)
        while len(open_) < before and over is None:
            before = len(open_)
            budget = _round(narrowing, open_, budget)
            # what those that ended early left of the time is for those that had too little of it
            open_ = [entry for entry in open_ if _open(entries, entry, asking, gap) and _short(entries, entry)]
            over = budget.ended()
    elif over is not None:
        _mark(entries, open_, over, gap)
    for entry, end in product(asked, () if asking.sign else (LEAST, LARGEST)):
        if entries.met(entry, end, gap) and not entries.met(entry, end):
            entries.of(entry, end).status = Status.GAP_LIMIT


def _round(narrowing: Narrowing, asked: list[Entry], budget: Budget) -> Budget:
    """Narrows entries one after the other, each within an equal part of what is left; returns what then is."""
    entries, asking, gap = narrowing.entries, narrowing.asking, budget.gap
    for at, entry in enumerate(asked):
        if not _open(entries, entry, asking, gap):
            continue  # by a witness found meanwhile
        if (over := budget.ended()) is not None:
            _mark(entries, [each for each in asked[at:] if _open(entries, each, asking, gap)], over, gap)
            break
        budget = budget.after(narrowing.narrow(entry, _part(budget, len(asked) - at)))
    return budget


def _mark(entries: Entries, open_: list[Entry], over: Status, gap: float) -> None:
    """Enters what ended the search for ends that were not reached."""
    for entry, end in product(open_, (LEAST, LARGEST)):
        if not entries.met(entry, end, gap):
            entries.of(entry, end).status = over


def _short(entries: Entries, entry: Entry) -> bool:
    """Whether the time given to an entry ended its search."""
    return any(entries.of(entry, end).status is Status.TIME_LIMIT for end in (LEAST, LARGEST))


def _part(budget: Budget, count: int) -> Budget:
    """One of so many equal parts of what is left."""
    own = budget.share(1 / count)
    return own if own.nodes is None else replace(own, nodes=math.ceil(own.nodes / count))


def _open(entries: Entries, entry: Entry, asking: Asking, gap: float) -> bool:
    if asking.sign:
        return not entries.decided(entry)
    return not (entries.met(entry, LEAST, gap) and entries.met(entry, LARGEST, gap))
