"""Sampling: lower bounds from the steepest points that a hunt finds, or that are drawn at random."""

from __future__ import annotations

import math

import torch

from lipreg.bounds import Analysis
from lipreg.bounds.room import pass_work
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, Work, lower_interval, register
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.witness import most_points, ranked, witnesses
from lipreg.graph import Affine, Curved, MaxPool, Relu, node_size
from lipreg.results import Certificate, CertifiedInterval, Witness
from lipreg.search.hunt import Hunt
from lipreg.search.screen import Screen
from lipreg.words import counted

RANDOM_POINTS = 512
FEW = 8
"""Random points where there is no time: they cost next to nothing."""
TURNS = 6
RANKED = 0.85
"""Share of the time in which random points are looked at; the best of them has to be proved."""
STARTED = 0.8
"""Share of the time in which the reference points themselves are proved, before any hunt."""
PROVED = 16
"""Best points of a hunt that are ranked on the network itself."""

PROOFS = 2.0
"""How many times what the proof at the reference point takes is left for that of the best points."""
FASTER = 32.0
"""How many times as fast as work is judged a hunt may be; a clock that stands still does not keep it for ever."""
KEPT_WORD = 0.99
"""Share of what was promised that a witness attains, unless rounding misled the hunt."""


class _Points(Estimator):
    """The best of points that are looked at, one reference point after another; each a witness."""

    certificate = Certificate.LOWER
    weighed = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    everywhere = True


@register("random_points")
class RandomPoints(_Points):
    """The best of RANDOM_POINTS random points, half of them near the border, or of as many as there is time for.

    No budget makes them more: ``sampling`` and the searches hunt on. Cost: as many passes, batched as the memory allows.
    """

    source = "random search"

    def answer(self, work: Work) -> list[CertifiedInterval]:
        batch, found = work.analysis.placed.batch, []
        together = most_points(work.analysis, work.budget)
        for first in range(0, batch, together):
            part = work.analysis[first : first + together]
            found += self._together(part, work.budget.share(part.placed.batch / (batch - first)), work.settings)
        return found

    def _together(self, analysis: Analysis, budget: Budget, settings: Settings) -> list[CertifiedInterval]:
        """The answers at so many reference points that one random point of each fits into the memory."""
        region = analysis.placed.region
        count = RANDOM_POINTS if budget.ended() is None else FEW
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
        turns: of the hunt; a search that only wants a start is well served by few.

    Deterministic for a seed and a point, whatever else is in the batch; more turns find no less. Cost: a few thousand
    forward and backward passes a turn, batched. A hunt ends with its turns, its budget, or when it reaches what is known
    from above; searches hunt on for as long as they go.
    """

    source = "random and evolutionary search, projected gradient ascent, local search over activation patterns"

    def __init__(self, turns: int = TURNS) -> None:
        self.turns = turns

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis, budget = work.analysis, work.budget
        batch, center = analysis.placed.batch, analysis.placed.region.center
        if budget.ended() is not None:
            return RandomPoints().intervals(analysis, budget, work.settings)
        _ = analysis.reach  # which is no proof's time
        began, found = budget.clock(), list[CertifiedInterval]()
        starts = witnesses(analysis, center.unsqueeze(1), budget=budget.share(STARTED))
        took = (budget.clock() - began) / batch
        for i, start in enumerate(starts):
            upper = work.known[i].upper if work.known else float("inf")
            own = budget.share(1 / (batch - i))
            found.append(self._hunted(analysis[i : i + 1], own, work.settings, upper, start, took))
        return found

    def _hunted(
        self, local: Analysis, budget: Budget, settings: Settings, upper: float, start: Witness | None, took: float
    ) -> CertifiedInterval:
        """From the witness at the reference point on, of which the proof took so many seconds."""
        at_center = lower_interval(local, 0, start, "the reference point, for which alone there was time")
        if budget.ended() is not None:
            return at_center if start is not None else RandomPoints().intervals(local, budget, settings)[0]
        (generator,) = local.placed.region.generators(settings.seed)
        hunt = Hunt(Screen(local, budget.memory), generator, RANDOM_POINTS - 1)
        own = budget.within(min(RANKED * budget.seconds_left, budget.seconds_left - PROOFS * took))
        turns = hunt.go(lambda: own.ended() is not None, self.turns, upper)
        (best,) = witnesses(local, hunt.found(PROVED).unsqueeze(0), at_center.lower, budget)
        words = f"{counted(hunt.looked_at, 'point')} in {counted(turns, 'turn')}"
        if turns == self.turns and own.ended() is None:
            words = f"{words}, which are all that it takes"
        found = lower_interval(local, 0, best or start, words)
        if 0 < hunt.best * KEPT_WORD <= found.lower:
            return found
        # the best points promise what rounding alone has made of them, or lie on kinks
        return found.intersect(RandomPoints().intervals(local, budget, settings)[0])


def hunt_on(hunt: Hunt, budget: Budget, upper: float = math.inf) -> None:
    """Turns of a hunt until the time ends, nothing is left to find, or ``upper`` is promised."""
    nodes = hunt.screen.local.graph.nodes
    numbers = hunt.screen.work + FASTER * budget.times(pass_work(nodes) / sum(map(node_size, nodes)))
    hunt.go(lambda: budget.ended() is not None or hunt.screen.work >= numbers, upper=upper)
