"""Cheap upper ends: of reference points for which there is no time, and to compare with what dearer methods prove."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor

from lipreg.bounds import Analysis, InducedNorms
from lipreg.bounds.pass_cost import BLINK, SHARE, blink, few_passes, points_at_once
from lipreg.bounds.rounding import FLOOR
from lipreg.budget import Budget
from lipreg.estimators.base import ESTIMATORS, EstimatorTask
from lipreg.estimators.naming import cut_name, is_cut
from lipreg.estimators.rounding import ROUNDING
from lipreg.graph import Graph
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.outcome import not_begun_message
from lipreg.words import sentences

LOOK = 3
"""The cost of a look at a point, its witness included, as a multiple of that of bounds of a few passes."""
LONGEST = 100.0
"""Seconds of a budget beyond which more of them allow no more time for such looks."""
AT_FIRST = 32
"""Points that are looked at together before it is known how long one takes."""
STANDING = 1 / 4
"""Share of the time for the norms of whole layers, whose product stands for points that are not reached."""
NO_TIME = "There was no time for more than the bound of"


class _ClosedForm(Protocol):
    """The part of a ``BoundEstimator`` that is used here; these fall back on this module, so they are found by registry."""

    name: str
    few_passes: bool
    of_layers_alone: bool

    def uncovered(self, problem: LocalLipschitz, graph: Graph, /) -> tuple[str, str] | None: ...

    def bound(self, analysis: Analysis, /) -> Tensor: ...

    def of_part(self, part: Analysis, budget: Budget, /) -> list[CertifiedInterval]: ...


def closed_forms(analysis: Analysis | None = None, of_layers_alone: bool = False) -> list[_ClosedForm]:
    """The registered bounds of few passes, or those of layers alone, by name; of an analysis those that cover it."""
    kind = "of_layers_alone" if of_layers_alone else "few_passes"
    found = [
        cast(_ClosedForm, ESTIMATORS[name]) for name in sorted(ESTIMATORS) if getattr(ESTIMATORS[name], kind, False)
    ]
    if analysis is None:
        return found
    question = analysis.placed.problem, analysis.graph
    return [method for method in found if method.uncovered(*question) is None]


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
    forms = [method.of_part(part, budget) for method in closed_forms(part)]
    least = [min(each, key=lambda interval: interval.upper) for each in zip(*forms, strict=True)]
    if status is not Status.BOUNDED:
        least = [replace(each, status=status) for each in least]
    return (
        [replace(each, detail=sentences(f"{detail} {each.proof!r}", each.detail)) for each in least]
        if detail
        else least
    )


def least_form(own: CertifiedInterval, others: CertifiedInterval) -> CertifiedInterval:
    """The interval of a method, or where that of other closed forms is smaller, by more than rounding, this one.

    A method whose result has other bounds behind it when its time ends has them beside its own when it does not: or more
    time would make it larger.

    Args:
        own: of the method.
        others: of the same point, by closed forms; the words of both stand beside its number.
    """
    if own.upper * (1.0 - ROUNDING) <= others.upper:
        return own
    status = others.status if own.status is Status.BOUNDED else own.status
    words = sentences(own.detail, f"The bound of {others.proof!r} is smaller", others.detail)
    return replace(others, status=status, detail=words)


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
    placed, (method, *_) = analysis.placed, closed_forms(analysis, of_layers_alone=True)
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
    return points * look_work(analysis) <= budget.pace * _looks_time(budget)


def _looks_time(budget: Budget) -> float:
    """The seconds that looks at points may take when the time is over."""
    return max(BLINK, SHARE * min(budget.seconds, LONGEST))


def spans(analysis: Analysis, points: int, budget: Budget, most: int, least: int = 1) -> Iterator[slice]:
    """Consecutive points that are looked at together, one part after the other, each as long as the clock may wait.

    The first part is small, and the next ones are by the time that those before them took. When the time is over, parts go
    on for as long as such looks may take, and not at all where the points that are left are judged to take longer.

    Args:
        analysis: the analysis of the points; the cost of a look is that of its graph.
        points: how many there are.
        budget: started.
        most: the largest number in a part, at least 1.
        least: how many points are looked at in any case.
    """
    done, each, late = 0, 0.0, None
    size = max(1, min(AT_FIRST, int(budget.pace * BLINK / look_work(analysis))))
    while done < points:
        over, wait = budget.stop_reason() is not None, blink(budget)
        if over and late is None:  # what is done of each point from here on is less
            late, each, size = budget.clock(), 0.0, min(size, AT_FIRST)
        if late is not None and done >= least:
            wait = late + _looks_time(budget) - budget.clock()
            if wait <= each or not worth_a_look(analysis, points - done, budget):
                return
        size = max(1, min(size, most, int(wait / each) if each else size))
        began, end = budget.clock(), min(points, done + size)
        yield slice(done, end)
        each = max((budget.clock() - began) / (end - done), 0.0)
        done, size = end, 2 * size


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
            interval
            if settled
            else replace(interval, status=status, detail=sentences(not_begun_message(), interval.detail))
        )
    return intervals


def unsearched_intervals(
    part: Analysis, budget: Budget, status: Status, priors: Sequence[CertifiedInterval]
) -> list[CertifiedInterval]:
    """The prior intervals and the cheap upper ends of points at which a search had no time to begin, all in one pass.

    Args:
        part: the analysis of these points.
        budget: the budget of the search, which has ended.
        status: what ended the search.
        priors: the prior interval of each point.
    """
    intervals = list[CertifiedInterval]()
    for cheap, prior in zip(cheap_intervals(part, budget, status, NO_TIME), priors, strict=True):
        interval = cheap.intersect(prior)
        settled = interval.certificate is Certificate.EXACT
        words = interval.detail if settled else sentences(not_begun_message(), interval.detail)
        intervals.append(interval if settled else replace(interval, status=status, detail=words))
    return intervals
