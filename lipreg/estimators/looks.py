"""Looks at many points that no search has begun at when the time is over: the closed forms of many in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.cheap_bounds import not_begun, spans, unsearched_intervals
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.sampling import RandomPoints
from lipreg.results import CertifiedInterval, Status


def late_intervals(
    analysis: Analysis,
    points: Sequence[int],
    budget: Budget,
    settings: Settings,
    over: Status,
    known: Mapping[int, CertifiedInterval],
    least: int = 0,
) -> dict[int, CertifiedInterval]:
    """The intervals of points at which no search has begun: a look at many of them together, as long as that may take.

    Args:
        analysis: the analysis of all points.
        points: the places in the batch of those without a search, in their order.
        budget: the budget of the search, which has ended.
        settings: its seed is that of the random points.
        over: what ended the search.
        known: prior intervals by place in the batch; of some points, or none.
        least: how many of the points are looked at in any case.

    Returns:
        Their intervals by place in the batch; those of points that were not reached have the product of norms.
    """
    intervals = dict[int, CertifiedInterval]()
    for span in spans(analysis, len(points), budget, len(points), least):
        for run in _runs(points[span]):
            part = analysis[run.start : run.stop]
            priors = [known[i] for i in run if i in known]
            if len(priors) < len(run) or any(one.witness is None for one in priors):
                drawn = RandomPoints().intervals(part, budget, settings)
                priors = [one.intersect(known[i]) if i in known else one for i, one in zip(run, drawn, strict=True)]
            intervals |= zip(run, unsearched_intervals(part, budget, over, priors), strict=True)
    if rest := points[len(intervals) :]:
        intervals |= not_begun(analysis, rest, budget, over, known)
    return intervals


def _runs(points: Sequence[int]) -> Iterator[range]:
    """The points as ranges without a gap."""
    first = 0
    for at in range(1, len(points) + 1):
        if at == len(points) or points[at] != points[at - 1] + 1:
            yield range(points[first], points[at - 1] + 1)
            first = at
