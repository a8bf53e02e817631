"""The intervals of all points together before a search begins at any: closed forms, the cheapest first, the best of them
kept, and witnesses at the reference points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.base import lower_interval
from lipreg.estimators.cheap_bounds import cheap_intervals, closed_forms
from lipreg.estimators.jacobians.jacobian_crown import JacobianCrown
from lipreg.estimators.naming import CUT
from lipreg.estimators.witnesses.witness import witnesses
from lipreg.results import CertifiedInterval, Status
from lipreg.words import sentences

TOGETHER = 16
"""Points whose linear bounds on the Jacobian are computed at once."""
CENTER = "the reference point, before any hunt"
SHORT = "In so little time 'jacobian_crown' by itself says more than a search, and there was not enough for it"


def barely_proved(interval: CertifiedInterval) -> bool:
    """Whether an upper end cost a few passes, or none; if so, closed forms come before a search."""
    names = {method.name for kind in (False, True) for method in closed_forms(of_layers_alone=kind)}
    return interval.proof.removesuffix(CUT).partition("-")[0] in {"", *names}


def first_forms(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """The least of the bounds of a few passes and of ``jacobian_crown``, at each point.

    The details of points at which there was no time for all of the latter begin with ``SHORT``.

    Args:
        analysis: the analysis of all the points.
        budget: the budget of these bounds, started; each block of points has its share.
    """
    batch, intervals = analysis.placed.batch, list[CertifiedInterval]()
    for first in range(0, batch, TOGETHER):
        part = analysis[first : min(first + TOGETHER, batch)]
        intervals += _least(part, budget.share(part.placed.batch / (batch - first)))
    return intervals


def first_witnesses(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """The lower ends that the reference points themselves prove."""
    proofs = witnesses(analysis, analysis.placed.region.center.unsqueeze(1), budget=budget)
    return [lower_interval(analysis, i, one, CENTER) for i, one in enumerate(proofs)]


def _least(part: Analysis, budget: Budget) -> Iterator[CertifiedInterval]:
    cheap = cheap_intervals(part, budget)
    for form, other in zip(JacobianCrown().intervals(part, replace(budget, nodes=None)), cheap, strict=True):
        interval = form.intersect(other)
        if form.status is Status.TIME_LIMIT:
            interval = replace(interval, status=form.status, detail=sentences(SHORT, interval.detail))
        yield interval
