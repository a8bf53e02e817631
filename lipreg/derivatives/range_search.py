"""Ends of ranges by search: the least and the largest value of each entry, as questions about magnitudes (``tilt``)."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from lipreg.bounds import without_pools
from lipreg.budget import AnyOf, Budget, OutOfBudget
from lipreg.derivatives.entries import LARGEST, LEAST, Entry, EntryBounds
from lipreg.derivatives.tilt import Tilt, tilted
from lipreg.estimators import get_estimator
from lipreg.estimators.base import Watch
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.exact.rays import off_ray, onto_ray, over_rays
from lipreg.estimators.settings import Settings
from lipreg.folding import fold
from lipreg.linalg.rationals import above
from lipreg.results import Status
from lipreg.search import branch_and_bound
from lipreg.search.base import TOLERANCE
from lipreg.search.hunt import WitnessSearch
from lipreg.search.screen import PointEvaluator
from lipreg.words import counted, sentences

SEARCH, PROGRAM = "branch_and_bound", "mip"
TURNS, OFFERED = 2, 8
"""Turns of a hunt before each search for a sign, and points of it that are evaluated. Measured on tables: searches take
0.75 to 1 times as long with it, and at as many nodes leave a fifth fewer undecided. For ranges it makes no difference."""


@dataclass(frozen=True)
class RangeOptions:
    """What a search for ends of entries is for, and how it is made.

    Attributes:
        sign: whether the sign is enough.
        engine: ``SEARCH``, ``PROGRAM`` or the name of one that makes no search.
        settings: the solvers, and the seed.
        progress: called with the bounds of a search.
    """

    sign: bool
    engine: str
    settings: Settings
    progress: Watch | None = None


class RangeSearch:
    """The search for the ends of one point's entries, one after the other.

    Args:
        entries: of the point, with the bounds of closed forms and sampling.
        options: of the search.
        budget: started; its nodes are those of all of the point's searches.
    """

    def __init__(self, entries: EntryBounds, options: RangeOptions, budget: Budget) -> None:
        self.entries, self.options, self.budget = entries, options, budget
        network = entries.local
        self.rays = not network.placed.region.bounded
        self.searched = without_pools(over_rays(network, budget) if self.rays else network, budget)

    def narrow(self, entry: Entry, budget: Budget) -> int:
        """Narrows both ends of an entry, or goes on until its sign is decided; returns how many nodes that took.

        Args:
            entry: of the point.
            budget: of this entry.
        """
        spent = 0
        # where nothing above 0 is attained it is the other sign that may be proved
        first = LEAST if self.entries.attained(entry, LARGEST) > 0 or not self.options.sign else LARGEST
        for remaining, end in ((2, first), (1, -first)):
            if self._done(entry, end):
                continue
            share = _part(budget.after(spent), remaining)
            status = share.stop_reason()
            if status is not None:
                self.entries.end_state(entry, end).status = status
                continue
            spent += (
                self._program(entry, end, share) if self.options.engine == PROGRAM else self._search(entry, end, share)
            )
        return spent

    def _done(self, entry: Entry, end: int) -> bool:
        if not self.options.sign:
            return self.entries.converged(entry, end, self.budget.gap)
        # the sign that this end would prove is refuted
        return self.entries.sign_known(entry) or self.entries.attained(entry, end) > 0

    def _search(self, entry: Entry, end: int, budget: Budget) -> int:
        entries, work = self.entries, self.entries.end_state(entry, end)
        tilt, sign_refuted = tilted(self.searched, entries, entry, end), threading.Event()
        budget = replace(budget.started(), stop=AnyOf((budget.stop, sign_refuted)), gap=0.0)

        def attained() -> float:
            return tilt.raised(entries.attained(entry, end))

        lowest = 0.0
        try:
            if self.options.sign:  # nodes that prove the sign are closed, whatever is attained
                lowest = max(0.0, tilt.raised(0.0) - 4.0 * float(fold(tilt.question, budget).rounding.max()))
        except OutOfBudget as over:
            work.status = over.status
            return 0

        def attain(points: Tensor) -> float:
            points = off_ray(entries.local, points) if self.rays else points
            if len(points):
                entries.evaluate_at(points, budget)
            if self.options.sign and entries.attained(entry, end) > 0:
                sign_refuted.set()
            return max(attained(), lowest)

        largest_attained = max(attained(), lowest)
        if self.options.sign:
            with torch.no_grad():
                largest_attained = attain(self._hunted(tilt, budget))
        if sign_refuted.is_set():
            work.status, work.detail = Status.BOUNDED, f"a hunt of {TURNS} turns"
            return 0
        upper = torch.tensor([above(Fraction(entries.proved(entry, end)) + tilt.shift)], dtype=torch.float64)
        start, tolerance = entries.points.get((entry, end)), self._tolerance(entry, end, tilt)
        if start is not None:
            start = onto_ray(entries.local, start) if self.rays else start.unsqueeze(0)
        with torch.no_grad():
            outcome = branch_and_bound(
                tilt.question,
                upper,
                largest_attained,
                attain,
                budget,
                self.options.progress,
                start=start,
                tolerance=tolerance,
            )
        entries.tighten(entry, end, tilt.lowered(outcome.upper), "branch and bound")
        work.status = self._status(entry, end, outcome.status, sign_refuted.is_set())
        spent = f"{counted(outcome.nodes, 'node')}, {counted(outcome.cells, 'cell')} settled by LP"
        work.detail = sentences(outcome.left_out or spent, entries.left_out)
        return outcome.nodes

    def _hunted(self, tilt: Tilt, budget: Budget) -> Tensor:
        """The best points of a hunt."""
        (generator,) = tilt.question.placed.region.generators(self.options.settings.seed)
        hunt = WitnessSearch(PointEvaluator(tilt.question, budget.memory), generator)
        hunt.go(lambda: budget.stop_reason() is not None, TURNS)
        return hunt.best_points(OFFERED)

    def _tolerance(self, entry: Entry, end: int, tilt: Tilt) -> float:
        """Relative gap of the tilted magnitude that is a small one of the derivative itself."""
        largest = tilt.raised(self.entries.proved(entry, end))
        if self.options.sign:
            return 0.0
        wanted = max(TOLERANCE, self.budget.gap) * self.entries.size(entry)
        return wanted / largest if largest > wanted else TOLERANCE

    def _status(self, entry: Entry, end: int, status: Status, sign_refuted: bool) -> Status:
        if sign_refuted:
            return Status.BOUNDED  # the question was the sign alone
        if status is not Status.PROVED:
            return status
        if self.options.sign:
            return Status.BOUNDED if self.entries.sign_known(entry) else Status.UNCONFIRMED
        return Status.GAP_LIMIT if self.entries.converged(entry, end, self.budget.gap) else Status.UNCONFIRMED

    def _program(self, entry: Entry, end: int, budget: Budget) -> int:
        entries, work = self.entries, self.entries.end_state(entry, end)
        tilt = tilted(entries.local, entries, entry, end)
        method, options = get_estimator(PROGRAM), self.options
        assert isinstance(method, ExactEstimator)
        result, nodes = method.at_point(tilt.question, replace(budget, gap=0.0), options.settings, options.progress)
        if result.witness is not None:
            point = torch.tensor(result.witness.point, dtype=torch.float64)
            entries.evaluate_at(point.reshape(1, *entries.local.placed.region.shape), budget)
        entries.tighten(entry, end, tilt.lowered(result.upper), result.proof)
        work.status, work.detail = self._status(entry, end, result.status, False), result.detail
        return nodes


def narrow_all(entries: EntryBounds, selection: list[Entry], options: RangeOptions, budget: Budget) -> None:
    """Narrows the unfinished entries of one point, in order, each within its share of the time and of the nodes.

    Args:
        entries: of the point, which are narrowed in place.
        selection: which of them, each once.
        options: of the search.
        budget: started; its nodes are those of all of the entries.
    """
    gap, before, over = budget.gap, len(selection) + 1, budget.stop_reason()
    unfinished = [entry for entry in selection if _unfinished(entries, entry, options, gap)]
    if unfinished and over is None:
        search = RangeSearch(entries, options, budget)
        while len(unfinished) < before and over is None:
            before = len(unfinished)
            budget = _round(search, unfinished, budget)
            # time that some entries did not use is for those that had too little of it
            unfinished = [
                entry
                for entry in unfinished
                if _unfinished(entries, entry, options, gap) and _cut_short(entries, entry)
            ]
            over = budget.stop_reason()
    elif over is not None:
        _mark(entries, unfinished, over, gap)
    for entry, end in product(selection, () if options.sign else (LEAST, LARGEST)):
        if entries.converged(entry, end, gap) and not entries.converged(entry, end):
            entries.end_state(entry, end).status = Status.GAP_LIMIT


def _round(search: RangeSearch, selection: list[Entry], budget: Budget) -> Budget:
    """Narrows entries one after the other, each in an equal part of the remaining budget; returns what then remains."""
    entries, options, gap = search.entries, search.options, budget.gap
    for at, entry in enumerate(selection):
        if not _unfinished(entries, entry, options, gap):
            continue  # by a witness found meanwhile
        if (over := budget.stop_reason()) is not None:
            _mark(entries, [each for each in selection[at:] if _unfinished(entries, each, options, gap)], over, gap)
            break
        budget = budget.after(search.narrow(entry, _part(budget, len(selection) - at)))
    return budget


def _mark(entries: EntryBounds, unfinished: list[Entry], over: Status, gap: float) -> None:
    """Enters the status that ended the search for ends that it did not get to."""
    for entry, end in product(unfinished, (LEAST, LARGEST)):
        if not entries.converged(entry, end, gap):
            entries.end_state(entry, end).status = over


def _cut_short(entries: EntryBounds, entry: Entry) -> bool:
    """Whether the time limit of an entry ended its search."""
    return any(entries.end_state(entry, end).status is Status.TIME_LIMIT for end in (LEAST, LARGEST))


def _part(budget: Budget, count: int) -> Budget:
    """One of ``count`` equal parts of the remaining budget."""
    share = budget.share(1 / count)
    return share if share.nodes is None else replace(share, nodes=math.ceil(share.nodes / count))


def _unfinished(entries: EntryBounds, entry: Entry, options: RangeOptions, gap: float) -> bool:
    if options.sign:
        return not entries.sign_known(entry)
    return not (entries.converged(entry, LEAST, gap) and entries.converged(entry, LARGEST, gap))
