"""Branch and bound of networks with curves: closed forms, a hunt, and boxes of inputs; see ``lipreg.search.curved``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget
from lipreg.estimators.base import Work, get_estimator, lower_interval, repeated
from lipreg.estimators.settings import Settings
from lipreg.estimators.unreached import cheap_interval
from lipreg.estimators.witnesses.sampling import RandomPoints, Sampling
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.curved import split_inputs
from lipreg.search.curved.engine import splittable
from lipreg.search.hunt import Hunt
from lipreg.search.screen import Screen
from lipreg.words import counted

TURNS = 4
"""Of the hunt that gives a search its first witness."""
HUNTED, CLOSED = 0.1, 0.1
"""Shares of the time for that hunt, and for closed forms."""
OFFERED = 4
"""Best points that are proved after a turn of the hunt from a box's middle."""


def by_splitting(work: Work) -> list[CertifiedInterval]:
    """One certified interval for each reference point; what one leaves of the time goes to those after it."""
    analysis, same = work.analysis, work.analysis.placed.same()
    found: dict[int, CertifiedInterval] = {}
    for i, first in enumerate(same):
        if first < i:
            found[i] = repeated(analysis, found[first], i, first)
            continue
        own = work.budget.share(1 / len({k for k in same if k >= i}))
        found[i] = _point(analysis[i : i + 1], own, work.settings, work.known[i] if work.known else None)
    return [found[i] for i in range(len(same))]


def _point(local: Analysis, budget: Budget, settings: Settings, known: CertifiedInterval | None) -> CertifiedInterval:
    over = budget.ended()
    if over is not None:
        start = known or RandomPoints().intervals(local, budget, settings)[0]
        return cheap_interval(local, over).intersect(start)
    start = known or lower_interval(local, 0, None)
    if start.witness is None:
        start = start.intersect(Sampling(TURNS).intervals(local, budget.share(HUNTED), settings)[0])
    start = start.intersect(_closed(local, budget.share(CLOSED)))
    with torch.no_grad():
        searched = without_pools(local, budget.share(0.5))
        if not splittable(searched, budget):
            inputs = counted(math.prod(local.placed.region.shape), "input")
            detail = f"No box was split: derivatives of all units along {inputs} are more than the memory"
            return _entered(local, start, start.upper, Status.BOUNDED, detail)
        offering = _Offering(local, start, budget, settings)
        found = split_inputs(searched, start.upper, offering, start.lower, budget)
    result = lower_interval(local, 0, offering.witness) if offering.witness is not None else start
    ended = _entered(local, result, found.upper, found.status or Status.PROVED, f"{found.boxes:,} boxes of inputs")
    if found.status is None:
        exact = ended.certificate is Certificate.EXACT
        ended = _entered(local, result, found.upper, Status.PROVED if exact else Status.GAP_LIMIT, ended.detail)
    return ended


class _Offering:
    """Proves what good middles of boxes lead to: one turn of a hunt that begins there."""

    def __init__(self, local: Analysis, start: CertifiedInterval, budget: Budget, settings: Settings) -> None:
        self.local, self.budget, self.witness = local, budget, start.witness
        (generator,) = local.placed.region.generators(settings.seed)
        self.hunt = Hunt(Screen(local, budget.memory), generator)

    def __call__(self, x: Tensor) -> float:
        before = 0.0 if self.witness is None else self.witness.attained
        self.hunt.take(x)
        if self.budget.ended() is None:
            self.hunt.turn(lambda: self.budget.ended() is not None)
        points = torch.cat([x, self.hunt.found(OFFERED)])
        self.witness = best_witness(self.local, 0, points, before, self.budget) or self.witness
        return 0.0 if self.witness is None else self.witness.attained


def _closed(local: Analysis, budget: Budget) -> CertifiedInterval:
    """The least of closed forms."""
    names = ("affine_relu", "jacobian_crown", "mixing", "lipsdp")
    methods = [get_estimator(name) for name in names]
    methods = [m for m in methods if m.uncovered(local.placed.problem, local.graph) is None]
    found = [m.intervals(local, budget.share(1 / (len(methods) - k)))[0] for k, m in enumerate(methods)]
    return min(found, key=lambda interval: interval.upper)


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
