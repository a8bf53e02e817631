"""Cheap upper ends: of reference points for which there is no time, and to compare with what dearer methods prove."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor

from lipreg.bounds import Analysis, InducedNorms
from lipreg.bounds.pass_cost import BLINK, SHARE, few_passes, points_at_once
from lipreg.bounds.rounding import FLOOR
from lipreg.budget import Budget
from lipreg.estimators.base import ESTIMATORS, EstimatorTask
from lipreg.estimators.naming import cut_name, is_cut
from lipreg.estimators.rounding import ROUNDING
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.outcome import unbegun
from lipreg.words import sentences

LOOK = 3
"""The cost of a look at a point, its witness included, as a multiple of that of bounds of a few passes."""
LONGEST = 100.0
"""Seconds of a budget beyond which more of them allow no more time for such looks."""
STANDING = 1 / 4
"""Share of the time for the norms of whole layers, whose product stands for points that are not reached."""
NO_TIME = "There was no time for more than the bound of"


class _ClosedForm(Protocol):
    """The part of a closed form that is used here; closed forms fall back on this module, so they are found by name."""

    name: str

    def bound(self, analysis: Analysis, /) -> Tensor: ...

    def of_part(self, part: Analysis, budget: Budget, /) -> list[CertifiedInterval]: ...


def _closed_form(name: str) -> _ClosedForm:
    return cast(_ClosedForm, ESTIMATORS[name])


def cheap_intervals(
    analysis: Analysis, budget: Budget, status: Status = Status.BOUNDED, detail: str = ""
) -> list[CertifiedInterval]:
    """The least upper ends that cost a few passes, at each point; for every question and network that is covered at all.

    Args:
        analysis: the analysis of the points.
        budget: time for more digits where float64 loses a good part of a bound; once it has ended there are none.
        status: the status of the results.
        detail: words before the name of the bound in the detail of each; empty for none.
    """
    return by_parts(analysis, budget, partial(_least, status=status, detail=detail))


def _least(part: Analysis, budget: Budget, status: Status, detail: str) -> list[CertifiedInterval]:
    forms = [method.of_part(part, budget) for method in map(_closed_form, ("affine_relu", "fastlip"))]
    least = [min(each, key=lambda interval: interval.upper) for each in zip(*forms, strict=True)]
    if status is not Status.BOUNDED:
        least = [replace(each, status=status) for each in least]
    return (
        [replace(each, detail=sentences(f"{detail} {each.proof!r}", each.detail)) for each in least]
        if detail
        else least
    )


def by_parts(
    analysis: Analysis, budget: Budget, answer: Callable[[Analysis, Budget], list[CertifiedInterval]]
) -> list[CertifiedInterval]:
    """The intervals of a closed form at all points, as many together as memory and time allow.

    The first of them are bounded in any case. Points for which the time is over have the product of the layers' norms, which
    is one computation for all points.

    Args:
        analysis: the analysis of the points.
        budget: the budget of all points; each part has its share of the rest.
        answer: the closed form: the analysis of some points and their budget, to their intervals.
    """
    budget, batch, results = budget.started(), analysis.placed.batch, list[CertifiedInterval]()
    at_once = points_at_once(analysis.graph, analysis.placed, budget)
    substitutes = list[CertifiedInterval]()
    if at_once < batch and analysis.placed.problem.p == 2.0:  # its norms take their time
        substitutes = products(analysis, budget.share(STANDING))
    while len(results) < batch:
        done = len(results)
        over = budget.stop_reason()
        if over is not None and done:
            rest = substitutes[done:] or products(analysis[done:batch], budget)
            results += [replace(one, status=over) for one in rest]
            break
        part = analysis[done : min(done + at_once, batch)]
        results += answer(part, budget.share(part.placed.batch / (batch - done)))
    if not substitutes:
        return results
    return [
        replace(one, upper=other.upper, proof=other.proof) if other.upper < one.upper and is_cut(one.proof) else one
        for one, other in zip(results, substitutes, strict=True)
    ]


def products(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """The product of the layers' norms at each point: one pass for all points, whatever their regions."""
    placed, method = analysis.placed, _closed_form("spectral")
    analysis = analysis.within(budget)
    with torch.no_grad():  # of all points, whatever part of them is bounded
        uppers = (method.bound(analysis) * (1.0 + ROUNDING) + FLOOR).tolist()
    cut = analysis.norms.left_out
    name = cut_name(method.name) if cut else method.name
    detail = sentences(f"{NO_TIME} {name!r}", InducedNorms.certificate_of([analysis.norms]), cut)
    return [
        CertifiedInterval(
            placed.problem,
            placed.functional_names[i],
            upper=upper,
            proof=name,
            detail=detail,
            subject=analysis.subject(i),
        )
        for i, upper in enumerate(uppers)
    ]


def one_by_one(work: EstimatorTask, answer: Callable[[Analysis, Budget], CertifiedInterval]) -> list[CertifiedInterval]:
    """The interval at each point, of a method that takes them one by one; points without time have the cheap interval."""
    batch, results = work.analysis.placed.batch, []
    for i in range(batch):
        share = replace(work.budget.share(1 / (batch - i)), nodes=None)
        if (over := share.stop_reason()) is not None:
            return [*results, *cheap_intervals(work.analysis[i:batch], share, over, NO_TIME)]
        results.append(answer(work.analysis[i : i + 1], share))
    return results


def worth_a_look(analysis: Analysis, points: int, budget: Budget) -> bool:
    """Whether so many points should still be looked at, in a few passes each, when the time is over.

    Args:
        analysis: the analysis of the points; the cost of a look is that of its graph.
        points: how many.
        budget: the budget that is over.
    """
    work = points * look_work(analysis)
    return work <= budget.pace * max(BLINK, SHARE * min(budget.seconds, LONGEST))


def look_work(analysis: Analysis) -> float:
    """The multiplications of a look at a single point."""
    return LOOK * few_passes(analysis.graph, analysis.placed)


def not_begun(
    analysis: Analysis, points: Iterable[int], budget: Budget, status: Status, known: Mapping[int, CertifiedInterval]
) -> dict[int, CertifiedInterval]:
    """The intervals of points without time for a look: prior intervals, and the product of norms.

    Args:
        analysis: the analysis of all points.
        points: the places in the batch of those without time.
        budget: the budget of the search, which has ended.
        status: what ended the search.
        known: prior intervals by place in the batch; of some points, or none.

    Returns:
        Their intervals by place in the batch.
    """
    intervals, bounds = dict[int, CertifiedInterval](), products(analysis, budget)
    for i in points:
        interval = bounds[i].intersect(known[i]) if i in known else bounds[i]
        settled = interval.certificate is Certificate.EXACT
        intervals[i] = (
            interval if settled else replace(interval, status=status, detail=sentences(unbegun(), interval.detail))
        )
    return intervals


def unsearched_interval(local: Analysis, budget: Budget, status: Status, prior: CertifiedInterval) -> CertifiedInterval:
    """The prior interval and the cheap upper end of a point at which a search had no time to begin.

    Args:
        local: the analysis of the single point.
        budget: the budget of the search, which has ended.
        status: what ended the search.
        prior: the prior interval of the point.
    """
    interval = cheap_intervals(local, budget, status, NO_TIME)[0].intersect(prior)
    if interval.certificate is Certificate.EXACT:
        return interval
    return replace(interval, status=status, detail=sentences(unbegun(), interval.detail))
