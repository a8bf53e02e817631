"""Branch and bound of networks with curves: closed forms, a hunt, and boxes of inputs with phases of ReLUs; see
``lipreg.search.curved``. Where ReLUs end in curves, the exact search of steeper networks of linear pieces comes before."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget
from lipreg.estimators.base import Work, get_estimator, lower_interval, repeated
from lipreg.estimators.first_forms import SHORT, barely_proved, first_forms, first_witnesses
from lipreg.estimators.settings import Settings
from lipreg.estimators.unreached import NO_SEARCH
from lipreg.estimators.witnesses.sampling import RandomPoints, Sampling
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.curved import split_inputs
from lipreg.search.curved.composed import composed
from lipreg.search.curved.engine import splittable
from lipreg.search.curved.kinks import without_jumps
from lipreg.search.curved.steeper import LastCurves
from lipreg.search.hunt import Hunt
from lipreg.search.screen import Screen
from lipreg.words import counted, sentences

TURNS = 4
"""Of the hunt that gives a search its first witness."""
HUNTED, FORMS, CLOSED = 0.1, 0.9, 0.1
"""Shares of the time for that hunt, for closed forms of all points together, and for dearer ones of each."""
STEEPER, CLOSE = 0.5, 1e-3
"""Share of the time for exact searches of networks of linear pieces, and what each leaves open at least."""
OFFERED = 4
"""Best points that are proved after a turn of the hunt from a box's middle."""


Exact = Callable[[Analysis, Budget, Settings], tuple[CertifiedInterval, int]]
"""What is proved at a single point of a network of linear pieces, and how many nodes that took."""


def by_splitting(work: Work, exact: Exact) -> list[CertifiedInterval]:
    """One certified interval for each reference point; what one leaves of the time goes to those after it.

    Args:
        work: on networks with curves.
        exact: the search of networks of linear pieces.
    """
    analysis, same = work.analysis, work.analysis.placed.same()
    known = list(work.known) or [lower_interval(analysis, i, None) for i in range(len(same))]
    if any(map(barely_proved, known)):
        forms = first_forms(analysis, work.budget.share(FORMS))
        known = [new.intersect(old) for new, old in zip(forms, known, strict=True)]
    if any(one.witness is None for one in known):
        known = [new.intersect(old) for new, old in zip(first_witnesses(analysis, work.budget), known, strict=True)]
    found: dict[int, CertifiedInterval] = {}
    for i, first in enumerate(same):
        if first < i:
            found[i] = repeated(analysis, found[first], i, first)
            continue
        own = work.budget.share(1 / len({k for k in same if k >= i}))
        found[i] = _point(analysis[i : i + 1], own, work.settings, known[i], exact)
    return [found[i] for i in range(len(same))]


def _point(
    local: Analysis, budget: Budget, settings: Settings, start: CertifiedInterval, exact: Exact
) -> CertifiedInterval:
    over = budget.ended()
    if over is not None:
        if start.witness is None:
            start = start.intersect(RandomPoints().intervals(local, budget, settings)[0])
        return replace(start, status=over, detail=sentences(NO_SEARCH, start.detail))
    short = SHORT if SHORT in start.detail else ""
    if start.witness is None or start.witness.point == tuple(local.placed.region.center.flatten().tolist()):
        start = start.intersect(Sampling(TURNS).intervals(local, budget.share(HUNTED), settings)[0])
    start = start.intersect(_closed(local, budget.share(CLOSED)))
    with torch.no_grad():
        searched = without_pools(local, budget.share(0.5))
        offering = _Offering(local, start, budget, settings)
        start, nodes = _by_pieces(searched, start, offering, budget, settings, exact)
        searched = without_jumps(searched)
        if not splittable(searched, budget):
            inputs = counted(math.prod(local.placed.region.shape), "input")
            detail = f"No box was split: derivatives of all units along {inputs} are more than the memory"
            start = start.intersect(lower_interval(local, 0, offering.witness))
            status = Status.GAP_LIMIT if 0.0 < start.gap <= budget.gap else Status.BOUNDED
            return _entered(local, start, start.upper, status, detail)
        budget = budget.after(nodes)
        found = split_inputs(searched, start.upper, offering, offering.lower, budget)
    result = start.intersect(lower_interval(local, 0, offering.witness)) if offering.witness is not None else start
    of = "parts of the region" if searched.graph.relus() else "boxes of inputs"
    before = f"{counted(nodes, 'node')} before the curves, " if nodes else ""
    words = sentences(short, f"{before}{found.boxes:,} {of}")
    ended = _entered(local, result, found.upper, found.status or Status.PROVED, words)
    if found.status is None:
        status = Status.PROVED if ended.certificate is Certificate.EXACT else Status.GAP_LIMIT
        ended = _entered(local, result, found.upper, status, ended.detail)
    return ended


def _by_pieces(
    searched: Analysis,
    start: CertifiedInterval,
    offering: _Offering,
    budget: Budget,
    settings: Settings,
    exact: Exact,
) -> tuple[CertifiedInterval, int]:
    """What exact searches of steeper networks of linear pieces prove where a network ends in curves, and their nodes.

    Pieces are divided where the steepest point lies, until there they are as steep as the network itself.
    """
    curves, nodes, own = LastCurves.of(searched), 0, budget.share(STEEPER)
    if curves is None:
        return _composed(searched, start, offering, own, settings, exact)
    meets = curves.start()
    while start.upper * (1.0 - budget.gap) > offering.lower and own.after(nodes).ended() is None:
        left = replace(own.after(nodes), gap=max(0.5 * budget.gap, CLOSE))
        found, more = exact(curves.steeper(meets, left), left, settings)
        nodes += more
        if found.upper < start.upper:
            start = _entered(searched, start, found.upper, Status.BOUNDED, start.detail)
        if found.witness is None:
            break
        point = torch.tensor(found.witness.point, dtype=torch.float64).reshape(1, *searched.placed.region.shape)
        offering(point)
        if found.lower <= offering.lower * (1.0 + max(0.25 * budget.gap, CLOSE)):
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
    """What the exact search of the part before the last curves proves at any slopes of these, and its nodes."""
    left = replace(budget, gap=max(0.5 * budget.gap, CLOSE))
    question = composed(searched, left) if start.upper * (1.0 - budget.gap) > offering.lower else None
    if question is None:
        return start, 0
    found, nodes = exact(question, left, settings)
    if found.upper < start.upper:
        start = _entered(searched, start, found.upper, Status.BOUNDED, start.detail)
    return start, nodes


class _Offering:
    """Proves what good middles of boxes lead to: one turn of a hunt that begins there."""

    def __init__(self, local: Analysis, start: CertifiedInterval, budget: Budget, settings: Settings) -> None:
        self.local, self.budget, self.witness = local, budget, start.witness
        (generator,) = local.placed.region.generators(settings.seed)
        self.hunt = Hunt(Screen(local, budget.memory), generator)

    @property
    def lower(self) -> float:
        return 0.0 if self.witness is None else self.witness.attained

    def __call__(self, x: Tensor) -> float:
        before = self.lower
        self.hunt.take(x)
        if self.budget.ended() is None:
            self.hunt.turn(lambda: self.budget.ended() is not None)
        points = torch.cat([x, self.hunt.found(OFFERED)])
        self.witness = best_witness(self.local, 0, points, before, self.budget) or self.witness
        return 0.0 if self.witness is None else self.witness.attained


def _closed(local: Analysis, budget: Budget) -> CertifiedInterval:
    """The least of closed forms that take one point after the other."""
    methods = [get_estimator(name) for name in ("mixing", "lipsdp")]
    methods = [m for m in methods if m.uncovered(local.placed.problem, local.graph) is None]
    found = [m.intervals(local, budget.share(1 / (len(methods) - k)))[0] for k, m in enumerate(methods)]
    return min(found, key=lambda interval: interval.upper, default=lower_interval(local, 0, None))


def _entered(local: Analysis, known: CertifiedInterval, upper: float, status: Status, detail: str) -> CertifiedInterval:
    placed = local.placed
    proof = "branch and bound" if upper < known.upper else known.proof
    return CertifiedInterval(
        placed.problem,
        placed.functionals[0],
        lower=known.lower,
        upper=upper,
        status=status,
        proof=proof,
        witness=known.witness,
        detail=detail,
        subject=local.subject(0),
    )
