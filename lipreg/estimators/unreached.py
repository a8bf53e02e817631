"""What is said of reference points that there was no time for: what is known of them, and what costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lipreg.bounds import Analysis
from lipreg.estimators.base import Work, rounded_up, upper_interval
from lipreg.estimators.products.affine_relu import AffineRelu
from lipreg.results import Certificate, CertifiedInterval, Status

CHEAP = "affine_relu"
NO_TIME = f"There was no time for more than the bound of {CHEAP!r}"


def cheap_uppers(analysis: Analysis) -> list[float]:
    """Upper ends that cost a few passes, at each point; of every question and network that anything covers."""
    with torch.no_grad():
        return rounded_up(analysis, AffineRelu().bound(analysis))


def cheap_interval(local: Analysis, status: Status) -> CertifiedInterval:
    """The interval with that upper end at a single point, where a method had no time for its own."""
    return upper_interval(local, 0, cheap_uppers(local)[0], CHEAP, status, NO_TIME)


def one_by_one(work: Work, answer: Callable[[Analysis], CertifiedInterval]) -> list[CertifiedInterval]:
    """The answer at each point, of a method without a search; points that there is no time for have the cheap interval."""
    results = []
    for i in range(work.analysis.placed.batch):
        local, over = work.analysis[i : i + 1], work.budget.ended()
        results.append(answer(local) if over is None else cheap_interval(local, over))
    return results


def unreached(local: Analysis, status: Status, known: CertifiedInterval) -> CertifiedInterval:
    """What is known, and that upper end, where a search had no time to begin at a single point.

    Args:
        local: of a single point.
        status: what ended the search.
        known: what is known of the point.
    """
    found = cheap_interval(local, status).intersect(known)
    if found.certificate is Certificate.EXACT:
        return found
    return replace(found, status=status, detail=f"There was no time to begin a search. {found.detail}".strip())
