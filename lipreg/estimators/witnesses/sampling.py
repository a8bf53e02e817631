"""Sampling: lower bounds from the steepest points of a hunt, or of a random draw."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipreg.bounds import Analysis
from lipreg.bounds.pass_cost import BLINK, pass_work, signs_work
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, lower_interval, register
from lipreg.estimators.cheap_bounds import spans
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
DRAWN = 4.0
"""How many times as many of them are drawn as are judged to be evaluated in time: looks at the clock end that."""
FEWEST = 2
"""Random points where the time is over and eight take a while: the reference point, and one where that is no witness."""
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


NO_TURN = ", and no time for a turn of the hunt"
"""What the detail of a sample says besides, where random points and the reference point itself are all of it."""
NO_POINT = "There was no time for a single point of the region"
"""The detail of a point that the time did not reach."""


class _Points(Estimator):
    """The base of samplers: the best of some points, one reference point after another; each is a witness.

    Once the time is over, reference points for which even a few points would take a while have none, and no lower end; their
    status says what ended the work.
    """

    certificate = Certificate.LOWER
    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True


@register("random_points")
class RandomPoints(_Points):
    """The best of RANDOM_POINTS random points, half of them near the border, or of as many as there is time for.

    A larger budget does not add points: ``sampling`` and the searches do that. Cost: as many passes, batched as the memory
    allows.
    """

    source = "random search"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        analysis, budget, intervals = work.analysis, work.budget, list[CertifiedInterval]()
        batch, count = analysis.placed.batch, _worth_drawing(analysis, budget)
        # all that is drawn is held at once
        together = min(most_points(analysis, budget), budget.rows(count * node_size(analysis.graph.nodes[0])))
        each = 0.0  # seconds that a random point of a reference point took, all in all
        for span in spans(analysis, batch, budget, together):
            part, over, began = analysis[span], budget.stop_reason(), budget.clock()
            share = budget.share(part.placed.batch / (batch - span.start))
            if each > 0.0:
                affordable = int(share.seconds_left / (each * part.placed.batch))
                count = max(FEWEST, min(_worth_drawing(part, share), affordable))
            else:
                count = count if over is None else min(count, FEW)
            intervals += self._together(part, share, work.settings, count)
            each = (budget.clock() - began) / (count * part.placed.batch)
        over = budget.stop_reason() or Status.TIME_LIMIT
        return [*intervals, *(without_points(analysis, i, over) for i in range(len(intervals), batch))]

    def _together(self, analysis: Analysis, budget: Budget, settings: Settings, count: int) -> list[CertifiedInterval]:
        """The intervals of so many reference points that ``count`` random points of each fit into the memory."""
        region = analysis.placed.region
        drawn = region.sample(count - 1, region.generators(settings.seed))
        # the reference point last: where the memory and the time are for one alone, a tie there would show nothing
        points = torch.cat([drawn, region.center.unsqueeze(1)], dim=1)
        with torch.no_grad():
            seen = ranked(analysis, points, budget.share(RANKED))
        best = points[torch.arange(len(points)).unsqueeze(1), seen.argmax(1, keepdim=True)]
        all_of_them = seen.shape[1] == RANDOM_POINTS
        there_was = "" if all_of_them else f", for which there was time of {RANDOM_POINTS}"
        detail = f"{counted(seen.shape[1], 'random point')}{there_was}"
        status = Status.BOUNDED if all_of_them else budget.stop_reason() or Status.TIME_LIMIT
        found = witnesses(analysis, best, budget=budget)
        return [replace(lower_interval(analysis, i, one, detail), status=status) for i, one in enumerate(found)]


def _worth_drawing(analysis: Analysis, budget: Budget) -> int:
    """How many random points of each reference point are drawn: all where there may be time for them."""
    rows = 1 if analysis.placed.without_rows else analysis.placed.count
    every = max(1, analysis.placed.batch * ((1 + rows) * pass_work(analysis.graph.nodes) + signs_work(analysis.placed)))
    if budget.stop_reason() is None:
        return int(min(RANDOM_POINTS, max(FEW, DRAWN * budget.times(every))))
    return int(min(FEW, max(FEWEST, budget.pace * BLINK / every)))


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
        for span in spans(analysis, batch, first_part, together):
            part = analysis[span]
            _ = part.value_bounds  # computed before the proof, whose time is measured
            began, share = budget.clock(), first_part.share(part.placed.batch / (batch - span.start))
            starts += witnesses(part, center[span].unsqueeze(1), budget=share)
            took = max(took, (budget.clock() - began) / part.placed.batch)
        starts += [None] * (batch - len(starts))
        for i, start in enumerate(starts):
            upper = work.known[i].upper if work.known else float("inf")
            at_center = lower_interval(analysis, i, start, "the reference point, for which alone there was time")
            share = budget.share(1 / (batch - i))
            hunted = self._hunted(analysis[i : i + 1], share, work.settings, upper, at_center, took)
            if hunted is None:  # nor will there be time for a turn at the points after it
                drawn = RandomPoints().intervals(analysis[i:batch], budget, work.settings)
                rest = (lower_interval(analysis, j, one, at_center.detail) for j, one in enumerate(starts[i:], i))
                return [*intervals, *map(_without_hunt, rest, drawn)]
            intervals.append(hunted)
        return intervals

    def _hunted(
        self, local: Analysis, budget: Budget, settings: Settings, upper: float, start: CertifiedInterval, took: float
    ) -> CertifiedInterval | None:
        """The interval by a hunt, from the witness at the reference point on, whose proof took so many seconds; None where
        the time is over before the first turn."""
        if budget.stop_reason() is not None:
            return None
        (generator,) = local.placed.region.generators(settings.seed)
        hunt = WitnessSearch(PointEvaluator(local, budget.memory), generator, RANDOM_POINTS - 1)
        hunting = budget.within(min(RANKED * budget.seconds_left, budget.seconds_left - PROOFS * took))
        turns = hunt.go(lambda: hunting.stop_reason() is not None, self.turns, upper)
        over = None if turns == self.turns or hunt.settled or hunt.best >= upper else hunting.stop_reason()
        if over is not None and not turns:
            return None
        (best,) = witnesses(local, hunt.best_points(PROVED).unsqueeze(0), start.lower, budget)
        words = f"{counted(hunt.looked_at, 'point')} in {counted(turns, 'turn')}"
        if turns == self.turns and hunting.stop_reason() is None:
            words = f"{words}, which are all that it takes"
        interval = lower_interval(local, 0, best or start.witness, words)
        interval = interval if over is None else replace(interval, status=over)
        if 0 < hunt.best * KEPT_WORD <= interval.lower:
            return interval
        # the values of the best points are rounding alone, or they lie on kinks
        return interval.intersect(RandomPoints().intervals(local, budget, settings)[0])


def _without_hunt(center: CertifiedInterval, drawn: CertifiedInterval) -> CertifiedInterval:
    """The interval of a point whose share of the time was less than a turn: the best of its center and of random points."""
    better = center if center.witness is not None and center.lower >= drawn.lower else drawn
    detail = drawn.detail if better.witness is None else center.detail
    detail = detail if drawn.witness is None else f"{drawn.detail}{NO_TURN}"
    return replace(better, status=drawn.status if drawn.status.cut else Status.TIME_LIMIT, detail=detail)


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
