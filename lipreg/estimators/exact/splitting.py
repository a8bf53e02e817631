"""Branch and bound of networks with curves: closed forms, a hunt, and boxes of inputs with phases of ReLUs; see
``lipreg.search.curved``. Where ReLUs end in curves, the exact search of steeper piecewise linear networks comes before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget
from lipreg.estimators.base import ESTIMATORS, EstimatorTask, lower_interval, repeated
from lipreg.estimators.first_forms import SHORT, barely_proved, first_forms, first_witnesses
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.sampling import RandomPoints, Sampling
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.records.endings import NOT_BEGUN
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.curved import split_inputs
from lipreg.search.curved.composed import composed
from lipreg.search.curved.engine import splittable
from lipreg.search.curved.kinks import without_jumps
from lipreg.search.curved.steeper import LastCurves
from lipreg.search.hunt import WitnessSearch
from lipreg.search.outcome import not_begun_message
from lipreg.search.screen import PointEvaluator
from lipreg.words import counted, sentences, size

TURNS = 4
"""Turns of the hunt that gives a search its first witness."""
HUNTED, FORMS, CLOSED = 0.1, 0.9, 0.1
"""Shares of the time for that hunt, for closed forms of all points together, and for dearer ones of each."""
STEEPER, CLOSE = 0.5, 1e-3
"""Share of the time for exact searches of piecewise linear networks, and the least gap that each is asked for."""
OFFERED = 4
"""Best points that are proved after a turn of the hunt from a box's middle."""


Exact = Callable[[Analysis, Budget, Settings], tuple[CertifiedInterval, int]]
"""The exact search of a piecewise linear network at a single point: its interval, and how many nodes it took."""


def by_splitting(work: EstimatorTask, exact: Exact) -> list[CertifiedInterval]:
    """One certified interval for each reference point; time that one does not need goes to those after it.

    Args:
        work: the question, about a network with curves.
        exact: the search of piecewise linear networks.
    """
    analysis, same = work.analysis, work.analysis.placed.representatives()
    known = list(work.known) or [lower_interval(analysis, i, None) for i in range(len(same))]
    if any(map(barely_proved, known)):
        forms = first_forms(analysis, work.budget.share(FORMS))
        known = [new.intersect(old) for new, old in zip(forms, known, strict=True)]
    if any(one.witness is None for one in known):
        known = [new.intersect(old) for new, old in zip(first_witnesses(analysis, work.budget), known, strict=True)]
    intervals: dict[int, CertifiedInterval] = {}
    for i, first in enumerate(same):
        if first < i:
            intervals[i] = repeated(analysis, intervals[first], i, first)
            continue
        share = work.budget.share(1 / len({k for k in same if k >= i}))
        intervals[i] = _point(analysis[i : i + 1], share, work.settings, known[i], exact)
    return [intervals[i] for i in range(len(same))]


def _point(
    local: Analysis, budget: Budget, settings: Settings, start: CertifiedInterval, exact: Exact
) -> CertifiedInterval:
    over = budget.stop_reason()
    if over is not None:
        if start.witness is None:
            start = start.intersect(RandomPoints().intervals(local, budget, settings)[0])
        return replace(start, status=over, detail=sentences(not_begun_message(), start.detail))
    short = SHORT if SHORT in start.detail else ""
    if start.witness is None or start.witness.point == tuple(local.placed.region.center.flatten().tolist()):
        start = start.intersect(Sampling(TURNS).intervals(local, budget.share(HUNTED), settings)[0])
    start = start.intersect(_closed(local, budget.share(CLOSED)))
    with torch.no_grad():
        searched = without_pools(local, budget)
        offering = _Offering(local, start, budget, settings)
        start, nodes = _by_pieces(searched, start, offering, budget, settings, exact)
        searched = without_jumps(searched)
        if not splittable(searched, budget):
            inputs = counted(math.prod(local.placed.region.shape), "input")
            detail = f"No box was split: derivatives of all units along {inputs} are more than {size(budget.memory)}"
            start = start.intersect(lower_interval(local, 0, offering.witness))
            status = Status.GAP_LIMIT if 0.0 < start.gap <= budget.gap else Status.MEMORY_LIMIT
            if status is Status.MEMORY_LIMIT and nodes == 0:  # the upper end is a closed form's
                detail = sentences(f"{NOT_BEGUN}: memory was short", detail)
            return _entered(local, start, start.upper, status, detail)
        budget = budget.after(nodes)
        outcome = split_inputs(searched, start.upper, offering, offering.lower, budget)
    result = start.intersect(lower_interval(local, 0, offering.witness)) if offering.witness is not None else start
    of = "parts of the region" if searched.graph.relus() else "boxes of inputs"
    before = f"{counted(nodes, 'node')} before the curves, " if nodes else ""
    words = sentences(short, f"{before}{outcome.boxes:,} {of}")
    concluded = _entered(local, result, outcome.upper, outcome.status or Status.PROVED, words)
    if outcome.status is None:
        status = Status.PROVED if concluded.certificate is Certificate.EXACT else Status.GAP_LIMIT
        concluded = _entered(local, result, outcome.upper, status, concluded.detail)
    return concluded


def _by_pieces(
    searched: Analysis,
    start: CertifiedInterval,
    offering: _Offering,
    budget: Budget,
    settings: Settings,
    exact: Exact,
) -> tuple[CertifiedInterval, int]:
    """The interval by exact searches of steeper piecewise linear networks where a network ends in curves, and their nodes.

    Linear pieces of the curves are divided where the steepest point lies, until they are as steep there as the curve itself.
    """
    curves, nodes, share = LastCurves.of(searched), 0, budget.share(STEEPER)
    if curves is None:
        return _composed(searched, start, offering, share, settings, exact)
    meets = curves.start()
    while start.upper * (1.0 - budget.gap) > offering.lower and share.after(nodes).stop_reason() is None:
        rest = replace(share.after(nodes), gap=max(0.5 * budget.gap, CLOSE))
        interval, more = exact(curves.steeper(meets, rest), rest, settings)
        nodes += more
        if interval.upper < start.upper:
            start = _entered(searched, start, interval.upper, Status.BOUNDED, start.detail)
        if interval.witness is None:
            break
        point = torch.tensor(interval.witness.point, dtype=torch.float64).reshape(1, *searched.placed.region.shape)
        offering(point)
        if interval.lower <= offering.lower * (1.0 + max(0.25 * budget.gap, CLOSE)):
            break
        meets = curves.refined(meets, point)
    return start, nodes


def _composed(
    searched: Analysis,
    start: CertifiedInterval,
    offering: _Offering,
    budget: Budget,
    settings: Settings,
    exact: Exact,
) -> tuple[CertifiedInterval, int]:
    """The interval by the exact search of the part before the last curves, at any slopes of these, and its nodes."""
    rest = replace(budget, gap=max(0.5 * budget.gap, CLOSE))
    question = composed(searched, rest) if start.upper * (1.0 - budget.gap) > offering.lower else None
    if question is None:
        return start, 0
    interval, nodes = exact(question, rest, settings)
    if interval.upper < start.upper:
        start = _entered(searched, start, interval.upper, Status.BOUNDED, start.detail)
    return start, nodes


class _Offering:
    """Witnesses from the middles of boxes: each call is one turn of a hunt that begins there, and proves its best points."""

    def __init__(self, local: Analysis, start: CertifiedInterval, budget: Budget, settings: Settings) -> None:
        self.local, self.budget, self.witness = local, budget, start.witness
        (generator,) = local.placed.region.generators(settings.seed)
        self.hunt = WitnessSearch(PointEvaluator(local, budget.memory), generator)

    @property
    def lower(self) -> float:
        return 0.0 if self.witness is None else self.witness.attained

    def __call__(self, x: Tensor) -> float:
        before = self.lower
        self.hunt.take(x)
        if self.budget.stop_reason() is None:
            self.hunt.round(lambda: self.budget.stop_reason() is not None)
        points = torch.cat([x, self.hunt.best_points(OFFERED)])
        self.witness = best_witness(self.local, 0, points, before, self.budget) or self.witness
        return 0.0 if self.witness is None else self.witness.attained


def _closed(local: Analysis, budget: Budget) -> CertifiedInterval:
    """The least of closed forms that take one point after the other."""
    methods = [ESTIMATORS[name] for name in ("mixing", "lipsdp")]
    methods = [m for m in methods if m.uncovered(local.placed.problem, local.graph) is None]
    intervals = [m.intervals(local, budget.share(1 / (len(methods) - k)))[0] for k, m in enumerate(methods)]
    return min(intervals, key=lambda interval: interval.upper, default=lower_interval(local, 0, None))


def _entered(local: Analysis, prior: CertifiedInterval, upper: float, status: Status, detail: str) -> CertifiedInterval:
    placed = local.placed
    proof = "branch and bound" if upper < prior.upper else prior.proof
    return CertifiedInterval(
        placed.problem,
        placed.functional_names[0],
        lower=prior.lower,
        upper=upper,
        status=status,
        proof=proof,
        witness=prior.witness,
        detail=detail,
        subject=local.subject(0),
    )
