"""The usual estimators: what answers a question where nobody names a method, and what they prove together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators.base import Known, Watch, check_known, lower_interval, repeated
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.first_forms import first_forms, first_witnesses
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
"""Of the time, for the engine; the rest is for a relaxation at the points that it leaves open."""

FORMS = 0.9
"""Of the time, for closed forms before a search that is slow."""
FIRST = ("affine_relu", "jacobian_crown")
"""What these are the least of, with bounds that cost as little as the first."""

LIMITED = (Status.TIME_LIMIT, Status.NODE_LIMIT, Status.GAP_LIMIT, Status.INTERRUPTED, Status.UNCONFIRMED)
"""What a search says that did not end as it was meant to."""


def usual_estimators(problem: LocalLipschitz, graph: Graph | None = None) -> tuple[str, ...]:
    """Those of ``USUAL`` that cover the question and are not implied by another one; they prove both ends.

    With a graph, those that cover the network too.

    ``deviation`` is implied by ``mixing``. ``jacobian_crown`` and ``lipsdp`` are left out where an engine covers the
    question, but for q = 1, which an engine may find to have too many outputs. Of a network with curves, for which a search
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
    known: Known = (),
    progress: Watch | None = None,
) -> list[CertifiedInterval]:
    """What the usual estimators prove together, at each reference point; a point that is settled gets no further work.

    The exact engine is the first where one covers the question: most points take it less than sampling would. At points
    that it leaves open, and where there is none, the others follow, the cheapest first. Where no engine is that quick, for
    the curves of a network or for its size, closed forms of all points together come before.
    """
    check_known(analysis, known)
    budget, placed = budget.started(), analysis.placed
    names = usual_estimators(placed.problem, analysis.graph)
    found = list(known) or [lower_interval(analysis, i, None) for i in range(placed.batch)]
    first = _before_searches(analysis, budget)
    found = [new.intersect(old) for new, old in zip(first, found, strict=True)] if first else found
    names = tuple(name for name in names if not first or name not in FIRST)
    limited: dict[int, CertifiedInterval] = {}  # by point, what the last search said that ended early
    same = placed.same()
    for name in sorted(names, key=lambda name: name not in ENGINES):
        method, share = get_estimator(name), ENGINES_SHARE if name in ENGINES else 1.0
        own = budget.share(share)
        open_ = [i for i, interval in enumerate(found) if not _settled(interval, budget.gap)]
        if method.searches:
            open_ = [i for i in open_ if same[i] == i]
        size = 1 if method.searches else BLOCK
        for done, first in enumerate(starts := list(_starts(open_, size))):
            part = analysis[first : first + size]
            part_of_it = own.share(1 / (len(starts) - done))
            before = found[first : first + size]
            over = budget.ended() or (Status.TIME_LIMIT if method.searches and own.seconds_left == 0.0 else None)
            if over is not None and all(end.certificate is Certificate.BRACKET for end in before):
                limited = {**{first + at: replace(end, status=over) for at, end in enumerate(before)}, **limited}
                continue  # what a method has to say in no time is known
            start = before if method.searches and before[0].witness is not None else ()
            try:
                answers = method.intervals(part, part_of_it, settings, start, progress)
            except UnsupportedRequest:  # too many outputs: the others still answer
                continue
            found[first : first + size] = [new.intersect(old) for new, old in zip(answers, before, strict=True)]
            limited.update({first: answers[0]} if answers[0].status in LIMITED else {})
        for i, first in enumerate(same):
            if first < i and method.searches and found[first].witness is not None:
                found[i] = repeated(analysis, found[first], i, first).intersect(found[i])
                limited.update({i: limited[first]} if first in limited else {})
    return [_ended(interval, budget.gap, limited.get(i)) for i, interval in enumerate(found)]


def _before_searches(analysis: Analysis, budget: Budget) -> list[CertifiedInterval]:
    """What is found of all points together before any search; nothing where a search is as quick.

    Networks with curves have their first witnesses too, without which a search that is not reached has no lower end.
    """
    if analysis.graph.curves():
        forms = first_forms(analysis, budget.share(FORMS))
        return [new.intersect(old) for new, old in zip(first_witnesses(analysis, budget), forms, strict=True)]
    return []


def _starts(points: list[int], size: int) -> Iterator[int]:
    """The first points of the blocks that contain some of these points."""
    yield from dict.fromkeys(point // size * size for point in points)


def _settled(interval: CertifiedInterval, gap: float) -> bool:
    return interval.certificate is Certificate.EXACT or interval.gap <= gap


def _ended(interval: CertifiedInterval, gap: float, limited: CertifiedInterval | None) -> CertifiedInterval:
    """With what ended the last search in place of the status of the method that gave the upper end, and its words too."""
    if interval.certificate is Certificate.EXACT:
        return interval
    if limited is not None:
        interval = replace(interval, status=limited.status, detail=sentences(limited.detail, interval.detail))
    # cheap methods that met the gap asked for before any search began do not know that it was asked for
    return replace(interval, status=Status.GAP_LIMIT) if interval.gap <= gap else interval
