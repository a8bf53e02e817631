"""The usual estimators: the methods for a question that names none, and the intervals that they prove together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators.base import PriorIntervals, Watch, check_known, lower_interval, repeated
from lipreg.estimators.cheap_bounds import cheap_intervals, look_work, not_begun, worth_a_look
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.first_forms import first_forms, first_witnesses
from lipreg.estimators.looks import late_intervals
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.graph import Graph
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import sentences

ENGINES = ("branch_and_bound", "mip_pointed")
"""Exact where they cover the question; each starts from the bounds of ``jacobian_crown`` and finds its own witnesses."""
USUAL = ("affine_relu", "jacobian_crown", "deviation", "mixing", "sampling", "lp", "lipsdp", *ENGINES)
"""The cheapest first: the papers' bound, bounds on the Jacobian, witnesses, relaxations, exact engines."""
BLOCK = 16
"""Points that methods without a search are given at once: sampling holds some hundred points of the region for each."""
ENGINES_SHARE = 7 / 8
"""Share of the time for the engine; the rest is for a relaxation at the points that it does not settle."""

FORMS = 0.9
"""Share of the time for closed forms before a search that is slow."""
MANY = 0.75
"""Share of the time for bounds of a few passes, where these alone take a good part of it at so many points."""
FIRST = ("affine_relu", "jacobian_crown")
"""Methods that ``first_forms`` has evaluated before any search."""

LIMITED = (
    Status.TIME_LIMIT,
    Status.NODE_LIMIT,
    Status.MEMORY_LIMIT,
    Status.GAP_LIMIT,
    Status.INTERRUPTED,
    Status.UNCONFIRMED,
)
"""The statuses of work that ended before it was done."""


def usual_estimators(problem: LocalLipschitz, graph: Graph | None = None) -> tuple[str, ...]:
    """The names in ``USUAL`` that cover the question, and with a graph the network; together they prove both ends.

    Those that another one implies are left out.

    ``deviation`` is implied by ``mixing``. ``jacobian_crown`` and ``lipsdp`` are left out where an engine covers the
    question, but for q = 1, where an engine may refuse the number of outputs. Of a network with curves, for which a search
    is slow, ``jacobian_crown`` stays: at all points together it comes before any search.
    """
    names = [name for name in USUAL if get_estimator(name).uncovered(problem, graph) is None]
    implied = {"deviation"} if "mixing" in names else set()
    engines = [name for name in ENGINES if name in names]
    implied |= set(engines[1:])  # the first is the faster one
    if engines and _exact(engines[0], problem):
        implied |= {"deviation", "lipsdp"}
        curves = graph is not None and bool(graph.curves())
        implied |= set() if problem.q == 1.0 or curves else {"jacobian_crown"}
    return tuple(name for name in names if name not in implied)


def _exact(engine: str, problem: LocalLipschitz) -> bool:
    method = get_estimator(engine)
    return isinstance(method, ExactEstimator) and method.exact(problem)


def usual_intervals(
    analysis: Analysis,
    budget: Budget,
    settings: Settings = DEFAULTS,
    known: PriorIntervals = (),
    progress: Watch | None = None,
) -> list[CertifiedInterval]:
    """The intervals that the usual estimators prove together at each reference point; settled points get no further work.

    The exact engine is the first where one covers the question: most points take it less than sampling would. At points
    that it does not settle, and where there is none, the others follow, the cheapest first. Where no engine is that quick,
    for the curves of a network or for its size, closed forms of all points together come before.

    Args:
        analysis, budget, settings, known, progress: as for ``Estimator.intervals``.
    """
    check_known(analysis, known)
    budget, placed = budget.started(), analysis.placed
    names = usual_estimators(placed.problem, analysis.graph)
    intervals = list(known) or [lower_interval(analysis, i, None) for i in range(placed.batch)]
    first = _before_searches(analysis, budget)
    intervals = [new.intersect(old) for new, old in zip(first, intervals, strict=True)] if first else intervals
    names = tuple(name for name in names if not (first and analysis.graph.curves()) or name not in FIRST)
    limited: dict[int, CertifiedInterval] = {}  # by point, the result of the engine or of others that ended early
    same, begun, looked_at = placed.representatives(), bool(first), set[int]()
    for name in sorted(names, key=lambda name: name not in ENGINES):
        method, share = get_estimator(name), ENGINES_SHARE if name in ENGINES else 1.0
        turn = budget.share(share)
        unsettled = [i for i, interval in enumerate(intervals) if not _settled(interval, budget.gap)]
        if method.searches:
            unsettled = [i for i in unsettled if same[i] == i]
        size = 1 if method.searches else BLOCK
        for done, first in enumerate(starts := list(_starts(unsettled, size))):
            part = analysis[first : first + size]
            part_of_it = turn.share(1 / (len(starts) - done))
            before = intervals[first : first + size]
            over = budget.stop_reason() or (Status.TIME_LIMIT if method.searches and turn.seconds_left == 0.0 else None)
            bracketed = all(i in looked_at or _has_both_ends(end) for i, end in enumerate(before, first))
            # the first point is bounded in any case; points for which one look each takes too long, all together below
            late = begun and not worth_a_look(analysis, len(starts) * size, budget)
            if over is not None and begun and not (bracketed or late):
                # what a look gives, at all that are left together
                waiting = _unbracketed(intervals, starts[done:], size)
                known_there = {i: intervals[i] for i in waiting}
                found = late_intervals(analysis, waiting, budget, settings, over, known_there)
                intervals = [found.get(i, interval) for i, interval in enumerate(intervals)]
                before, bracketed = intervals[first : first + size], True
                looked_at.update(waiting)
            if over is None and late and not budget.affords(look_work(analysis)):
                over = Status.TIME_LIMIT
            if over is not None and (bracketed or late):
                for point, end in enumerate(before, first):
                    ended = replace(end, status=over)
                    limited[point] = (
                        _last_limited(limited[point], replace(ended, detail="")) if point in limited else ended
                    )
                continue  # nothing that a method proves in no time is new
            begun = True
            start = before if method.searches and before[0].witness is not None else ()
            try:
                answers = method.intervals(part, part_of_it, settings, start, progress)
            except UnsupportedRequest:  # too many outputs: the others still answer
                continue
            intervals[first : first + size] = [new.intersect(old) for new, old in zip(answers, before, strict=True)]
            for point, answer in enumerate(answers, first):
                if answer.status in LIMITED:
                    limited[point] = _last_limited(limited.get(point), answer, name in ENGINES)
        for i, first in enumerate(same):
            if first < i and method.searches and intervals[first].witness is not None:
                intervals[i] = repeated(analysis, intervals[first], i, first).intersect(intervals[i])
                limited.update({i: limited[first]} if first in limited else {})
    empty = [i for i, interval in enumerate(intervals) if interval.upper == math.inf]
    if empty:
        over = budget.stop_reason() or Status.TIME_LIMIT
        rest = not_begun(analysis, empty, budget, over, dict(enumerate(intervals)))
        intervals = [rest.get(i, interval) for i, interval in enumerate(intervals)]
    return [_with_last_status(interval, budget.gap, limited.get(i)) for i, interval in enumerate(intervals)]


def _before_searches(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """The intervals of all points together before any search; none where a search is as quick.

    Networks with curves have their first witnesses too: points whose search is not begun have no other lower end.
    """
    if analysis.graph.curves():
        forms = first_forms(analysis, budget.share(FORMS))
        return [new.intersect(old) for new, old in zip(first_witnesses(analysis, budget), forms, strict=True)]
    batch = analysis.placed.batch
    if batch > 1 and not worth_a_look(
        analysis, batch, budget
    ):  # at points that no search reaches nothing better follows
        return cheap_intervals(analysis, budget.share(MANY))
    return []


def _starts(points: list[int], size: int) -> Iterator[int]:
    """The first points of the blocks that contain some of these points."""
    yield from dict.fromkeys(point // size * size for point in points)


def _unbracketed(intervals: list[CertifiedInterval], starts: Sequence[int], size: int) -> list[int]:
    """The points of the blocks that begin there and lack an end."""
    points = (i for start in starts for i in range(start, min(start + size, len(intervals))))
    return [i for i in points if not _has_both_ends(intervals[i])]


def _has_both_ends(interval: CertifiedInterval) -> bool:
    return interval.certificate in (Certificate.BRACKET, Certificate.EXACT)


def _last_limited(
    before: CertifiedInterval | None, answer: CertifiedInterval, by_engine: bool = False
) -> CertifiedInterval:
    """What ended early at a point, with the status of the engine where it was one, time in place of memory where either was
    short, and the words of all."""
    if before is None:
        return answer
    status = answer.status if by_engine else before.status
    if {before.status, answer.status} == {Status.TIME_LIMIT, Status.MEMORY_LIMIT}:
        status = Status.TIME_LIMIT
    return replace(before, status=status, detail=sentences(before.detail, answer.detail))


def _settled(interval: CertifiedInterval, gap: float) -> bool:
    return interval.certificate is Certificate.EXACT or interval.gap <= gap


def _with_last_status(interval: CertifiedInterval, gap: float, limited: CertifiedInterval | None) -> CertifiedInterval:
    """The interval with the status and the words of the last search, in place of those of the method of its upper end."""
    if interval.certificate is Certificate.EXACT:
        return interval
    if limited is not None:
        interval = replace(interval, status=limited.status, detail=sentences(limited.detail, interval.detail))
    # cheap methods that met the gap asked for before any search began do not know that it was asked for
    return replace(interval, status=Status.GAP_LIMIT) if interval.gap <= gap else interval
