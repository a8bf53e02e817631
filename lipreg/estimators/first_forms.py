"""What is found of all points together before a search goes to any of them: closed forms, the cheapest first, the best of
them kept, and witnesses at the reference points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.base import lower_interval
from lipreg.estimators.jacobians.jacobian_crown import JacobianCrown
from lipreg.estimators.unreached import cheap_intervals
from lipreg.estimators.witnesses.witness import witnesses
from lipreg.results import CertifiedInterval, Status
from lipreg.words import sentences

TOGETHER = 16
"""Points at which linear bounds on the Jacobian are made at once."""
FEW_PASSES = ("", "affine_relu", "fastlip")
CENTER = "the reference point, before any hunt"
SHORT = "In so little time 'jacobian_crown' by itself says more than a search, and there was not enough for it"


def barely_proved(known: CertifiedInterval) -> bool:
    """Whether an upper end cost a few passes, or none: where there is no better one, closed forms come first."""
    return known.proof.partition("-")[0] in FEW_PASSES


def first_forms(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """The least of the bounds of a few passes and of ``jacobian_crown``, at each point.

    The details of points at which there was no time for all of the latter begin with ``SHORT``.

    Args:
        analysis: of all the points.
        budget: started; of these alone. Each block of points has its share.
    """
    batch, found = analysis.placed.batch, list[CertifiedInterval]()
    for first in range(0, batch, TOGETHER):
        part = analysis[first : min(first + TOGETHER, batch)]
        found += _least(part, budget.share(part.placed.batch / (batch - first)))
    return found


def first_witnesses(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """What the reference points themselves prove from below."""
    found = witnesses(analysis, analysis.placed.region.center.unsqueeze(1), budget=budget)
    return [lower_interval(analysis, i, one, CENTER) for i, one in enumerate(found)]


def _least(part: Analysis, budget: Budget) -> Iterator[CertifiedInterval]:
    cheap = cheap_intervals(part, budget)
    for form, other in zip(JacobianCrown().intervals(part, replace(budget, nodes=None)), cheap, strict=True):
        found = form.intersect(other)
        if form.status is Status.TIME_LIMIT:
            found = replace(found, status=form.status, detail=sentences(SHORT, found.detail))
        yield found
