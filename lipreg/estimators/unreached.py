"""What is said of reference points that there was no time for: what is known of them, and what costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.base import Work, rounded_up, upper_interval
from lipreg.estimators.jacobians.fastlip import FastLip
from lipreg.estimators.products.affine_relu import AffineRelu
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import sentences

NO_SEARCH = "There was no time to begin a search"
NO_TIME = "There was no time for more than the bound of"


def cheap_intervals(
    analysis: Analysis, budget: Budget, status: Status = Status.BOUNDED, detail: str = ""
) -> list[CertifiedInterval]:
    """The least upper ends that cost a few passes, at each point; of every question and network that anything covers.

    Args:
        budget: in which digits are found where float64 loses a good part of a bound; once it has ended there are none.
    """
    found = []
    with torch.no_grad(), analysis.norms.within(budget.started()):
        for method in (AffineRelu(), FastLip()):
            uppers = rounded_up(analysis, method.bound(analysis))
            name = method.named(analysis)
            found.append([upper_interval(analysis, i, upper, name, status) for i, upper in enumerate(uppers)])
    least = [min(each, key=lambda interval: interval.upper) for each in zip(*found, strict=True)]
    if not detail:
        return least
    return [replace(each, detail=f"{detail} {each.proof!r}. {each.detail}".removesuffix(". ")) for each in least]


def cheap_interval(local: Analysis, budget: Budget, status: Status) -> CertifiedInterval:
    """The interval with that upper end at a single point, where a method had no time for its own."""
    return cheap_intervals(local, budget, status, NO_TIME)[0]


def one_by_one(work: Work, answer: Callable[[Analysis, Budget], CertifiedInterval]) -> list[CertifiedInterval]:
    """The answer at each point, of a method without a search; points that there is no time for have the cheap interval."""
    batch, results = work.analysis.placed.batch, []
    for i in range(batch):
        own = work.budget.share(1 / (batch - i))
        if (over := own.ended()) is not None:
            return [*results, *cheap_intervals(work.analysis[i:batch], own, over, NO_TIME)]
        results.append(answer(work.analysis[i : i + 1], own))
    return results


def unreached(local: Analysis, budget: Budget, status: Status, known: CertifiedInterval) -> CertifiedInterval:
    """What is known, and that upper end, where a search had no time to begin at a single point.

    Args:
        local: of a single point.
        budget: of the search, which has ended.
        status: what ended the search.
        known: what is known of the point.
    """
    found = cheap_interval(local, budget, status).intersect(known)
    if found.certificate is Certificate.EXACT:
        return found
    return replace(found, status=status, detail=sentences(NO_SEARCH, found.detail))
