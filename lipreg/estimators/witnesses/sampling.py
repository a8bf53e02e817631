"""Sampling: lower bounds from the steepest points of a hunt, or of a random draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipreg.bounds import Analysis
from lipreg.bounds.pass_cost import pass_work
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, lower_interval, register
from lipreg.estimators.cheap_bounds import worth_a_look
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.witness import most_points, ranked, witnesses
from lipreg.graph import Affine, Curved, MaxPool, Relu, node_size
from lipreg.results import Certificate, CertifiedInterval, Status, Witness
from lipreg.search.hunt import WitnessSearch
from lipreg.search.screen import PointEvaluator
from lipreg.words import counted

RANDOM_POINTS = 512
"""Random points that are ranked by a norm of their gradients before the best of them are proved."""
FEW = 8
"""Random points where the time is over: they cost next to nothing."""
TURNS = 6
"""Turns of the hunt for a witness."""
RANKED = 0.85
"""Share of the time for ranking random points; the rest is for the proof of the best."""
STARTED = 0.8
"""Share of the time for proofs at the reference points themselves, before any hunt."""
PROVED = 16
"""Best points of a hunt that are ranked on the network itself."""

PROOFS = 2.0
"""The time for the proof of the best points, as a multiple of that of the proof at the reference point."""
FASTER = 32.0
"""The largest speed of a hunt, as a multiple of the judged one: a hunt ends even where the clock stands still."""
KEPT_WORD = 0.99
"""Share of the promised value that a witness attains, unless rounding misled the hunt."""


NO_POINT = "There was no time for a single point of the region"
"""The detail of a point that the time did not reach."""


class _Points(Estimator):
    """The base of samplers: the best of some points, one reference point after another; each is a witness.

    Once the time is over, reference points for which even a few points would take a while have none, and no lower end; their
    status says what ended the work.
    """

    certificate = Certificate.LOWER
    weighed = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    everywhere = True


@register("random_points")
class RandomPoints(_Points):
    """The best of RANDOM_POINTS random points, half of them near the border, or of as many as there is time for.

    A larger budget does not add points: ``sampling`` and the searches do that. Cost: as many passes, batched as the memory
    allows.
    """

    source = "random search"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        batch, intervals = work.analysis.placed.batch, list[CertifiedInterval]()
        together = most_points(work.analysis, work.budget)
        for first in range(0, batch, together):
            over = work.budget.stop_reason()
            if first and over is not None and not worth_a_look(work.analysis, batch - first, work.budget):
                return [*intervals, *(without_points(work.analysis, i, over) for i in range(first, batch))]
            part = work.analysis[first : first + together]
            intervals += self._together(part, work.budget.share(part.placed.batch / (batch - first)), work.settings)
        return intervals

    def _together(self, analysis: Analysis, budget: Budget, settings: Settings) -> list[CertifiedInterval]:
        """The intervals of so many reference points that one random point of each fits into the memory."""
        region = analysis.placed.region
        count = RANDOM_POINTS if budget.stop_reason() is None else FEW
        drawn = region.sample(count - 1, region.generators(settings.seed))
        # the reference point last: where the memory and the time are for one alone, a tie there would show nothing
        points = torch.cat([drawn, region.center.unsqueeze(1)], dim=1)
        with torch.no_grad():
            seen = ranked(analysis, points, budget.share(RANKED))
        best = points[torch.arange(len(points)).unsqueeze(1), seen.argmax(1, keepdim=True)]
        there_was = "" if seen.shape[1] == RANDOM_POINTS else f", for which there was time of {RANDOM_POINTS}"
        detail = f"{counted(seen.shape[1], 'random point')}{there_was}"
        return [
            lower_interval(analysis, i, one, detail) for i, one in enumerate(witnesses(analysis, best, budget=budget))
        ]


@register("sampling")
class Sampling(_Points):
    """The best point of a hunt that begins with those of ``random_points``; see ``lipreg.search.hunt``.

    Its turns draw points at random, breed good ones from each other, ascend a smoothed Jacobian (in pointed scope the
    quotient itself), and switch units, each from the best points so far, in float32 where that tells points apart. The best
    are then evaluated on the network itself.

    Args:
        turns: the number of turns of the hunt; few are enough for the start of a search.

    Deterministic for a seed and a point, whatever else is in the batch; more turns give no less. Cost: a few thousand
    forward and backward passes a turn, batched. A hunt ends with its turns, its budget, or when it reaches the prior
    upper end; searches hunt on for as long as they go.
    """

    source = "random and evolutionary search, projected gradient ascent, local search over activation patterns"

    def __init__(self, turns: int = TURNS) -> None:
        self.turns = turns

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        analysis, budget = work.analysis, work.budget
        batch, center = analysis.placed.batch, analysis.placed.region.center
        if budget.stop_reason() is not None:
            return RandomPoints().intervals(analysis, budget, work.settings)
        together, intervals, starts = most_points(analysis, budget), list[CertifiedInterval](), list[Witness | None]()
        took, first_part = 0.0, budget.share(STARTED)
        for first in range(0, batch, together):
            part = analysis[first : first + together]
            _ = part.value_bounds  # computed before the proof, whose time is measured
            if first and first_part.stop_reason() is not None and not worth_a_look(analysis, batch - first, budget):
                starts += [None] * (batch - first)
                break
            began, share = budget.clock(), first_part.share(part.placed.batch / (batch - first))
            starts += witnesses(part, center[first : first + together].unsqueeze(1), budget=share)
            took = max(took, (budget.clock() - began) / part.placed.batch)
        for i, start in enumerate(starts):
            over = budget.stop_reason()
            if i and start is None and over is not None and not worth_a_look(analysis, batch - i, budget):
                intervals.append(without_points(analysis, i, over))
                continue
            upper = work.known[i].upper if work.known else float("inf")
            share = budget.share(1 / (batch - i))
            intervals.append(self._hunted(analysis[i : i + 1], share, work.settings, upper, start, took))
        return intervals

    def _hunted(
        self, local: Analysis, budget: Budget, settings: Settings, upper: float, start: Witness | None, took: float
    ) -> CertifiedInterval:
        """The interval by a hunt, from the witness at the reference point on, whose proof took so many seconds."""
        at_center = lower_interval(local, 0, start, "the reference point, for which alone there was time")
        if budget.stop_reason() is not None:
            return at_center if start is not None else RandomPoints().intervals(local, budget, settings)[0]
        (generator,) = local.placed.region.generators(settings.seed)
        hunt = WitnessSearch(PointEvaluator(local, budget.memory), generator, RANDOM_POINTS - 1)
        hunting = budget.within(min(RANKED * budget.seconds_left, budget.seconds_left - PROOFS * took))
        turns = hunt.go(lambda: hunting.stop_reason() is not None, self.turns, upper)
        (best,) = witnesses(local, hunt.best_points(PROVED).unsqueeze(0), at_center.lower, budget)
        words = f"{counted(hunt.looked_at, 'point')} in {counted(turns, 'turn')}"
        if turns == self.turns and hunting.stop_reason() is None:
            words = f"{words}, which are all that it takes"
        interval = lower_interval(local, 0, best or start, words)
        if 0 < hunt.best * KEPT_WORD <= interval.lower:
            return interval
        # the values of the best points are rounding alone, or they lie on kinks
        return interval.intersect(RandomPoints().intervals(local, budget, settings)[0])


def without_points(analysis: Analysis, index: int, over: Status) -> CertifiedInterval:
    """The interval of a reference point for which there was no time.

    Args:
        analysis: the analysis of the reference points.
        index: its place in the batch.
        over: what ended the work.
    """
    return replace(lower_interval(analysis, index, None, NO_POINT), status=over)


def hunt_on(hunt: WitnessSearch, budget: Budget, upper: float = math.inf) -> None:
    """Runs a hunt until the time ends, it cannot improve any more, or it promises ``upper``.

    Args:
        hunt: the hunt, which keeps its best points.
        budget: started.
        upper: the value at which it may end.
    """
    nodes = hunt.screen.local.graph.nodes
    numbers = hunt.screen.work + FASTER * budget.times(pass_work(nodes) / sum(map(node_size, nodes)))
    hunt.go(lambda: budget.stop_reason() is not None or hunt.screen.work >= numbers, upper=upper)
