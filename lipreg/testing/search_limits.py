"""Whether a search is true where a limit ends it, and where it starts from intervals that are proved already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.results import Certificate, CertifiedInterval
from lipreg.testing.failures import expect
from lipreg.testing.judged import EstimatorUnderTest
from lipreg.testing.questions import POINTS, Question
from lipreg.testing.soundness import check_ends, check_exact

CALLS = 50_000
"""Python calls in which an estimator whose budget is over has to end: some times those of a bound in closed form."""


class Watched:
    """A clock, or a stop, that counts how often it is asked.

    Args:
        answer: what it says.
    """

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer, self.asked = answer, 0

    def __call__(self) -> Any:
        self.asked += 1
        return self._answer()

    def is_set(self) -> bool:
        """Whether the search is told to stop: what is read counts."""
        return self()


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """The number of Python calls inside the block in this thread: work, on a clock that no machine slows down."""
    calls, before = [0], sys.getprofile()

    def count(frame: Any, event: str, argument: Any) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def no_budget(judged: EstimatorUnderTest) -> None:
    """A search that may not spend anything is sound, sees that in its budget, and ends with what it has."""
    if judged.bound or "deep" not in judged.nets:
        return
    stopped = threading.Event()
    stopped.set()
    for scope, p in judged.declared_scopes_and_norms:
        question = judged.questions.one("deep", "linf_cut", scope, p, "margin")
        for what, seconds, stop in (("without a second", 0.0, threading.Event()), ("stopped before", 10.0, stopped)):
            clock, flag = Watched(lambda: 0.0), Watched(stop.is_set)
            budget = Budget(seconds, stop=flag, clock=clock).started()
            analysis = frozen_analysis(question.graph, question.problem, question.x, None)
            clock.asked = flag.asked = 0
            with counted_calls() as calls:
                results = judged.method.intervals(analysis, budget)
            check_ends(judged, question, results)
            here = f"{judged.name}: {question}, {what}"
            asked = flag.asked if stop is stopped else clock.asked
            unread = "it asks nothing of work.budget: seconds_left, stop_reason() and within() say what it may spend"
            expect(asked or not judged.method.searches, f"{here}: {unread}")
            expect(
                calls[0] <= CALLS,
                f"{here}: it goes on for {calls[0]} calls, of {CALLS} to end with what it has",
            )


def limits(judged: EstimatorUnderTest) -> None:
    """A search that a limit ends is true at both ends: of nodes after proved bounds, of a gap at six points."""
    if judged.bound or "deep" not in judged.nets:
        return
    for scope, p, few in judged.each((True, False), len(judged.declared_scopes_and_norms)):  # of nodes, or a gap
        question = judged.questions.one("deep", "linf_cut", scope, p, "all_logits")
        if not judged.covers(question):
            continue
        proved = tuple(judged.answer(question, "fastlip")) if few else ()
        budget = Budget(30.0, nodes=1) if few else Budget(30.0, gap=0.5)
        times = 1 if few or judged.method.certificate is Certificate.LOWER else 3  # a lower end alone has no gap
        arguments = question.graph, question.problem, question.x.repeat(times, 1)
        results = judged.certify(*arguments, budget=budget, known=proved)
        for start in range(0, times * POINTS, POINTS):
            check_ends(judged, question, results[start : start + POINTS])


def prior_bounds(judged: EstimatorUnderTest) -> None:
    """A search may start from intervals that are proved already: it does not lose them, nor take them for its own proof."""
    if judged.bound or "residual" not in judged.nets:
        return
    for scope, p, _ in judged.each((None,), len(judged.declared_scopes_and_norms)):
        question = judged.questions.one("residual", "l1_cut", scope, p, "all_logits")
        arguments = question.graph, question.problem, question.x
        sampled, exact = (
            question.once((name, question), lambda arguments=arguments, name=name: certify(*arguments, estimator=name))
            for name in ("sampling", "branch_and_bound")
        )
        proved = judged.answer(question, "fastlip")
        starts = tuple(low.intersect(high) for low, high in zip(sampled, proved, strict=True))
        results = judged.certify(*arguments, budget=10.0, known=starts)
        check_ends(judged, question, results)
        if judged.method.certificate is Certificate.BRACKET:
            _check_kept(judged, question, starts, results)
            check_exact(judged, question, results)
        _from_constants(judged, question, exact)


def _from_constants(judged: EstimatorUnderTest, question: Question, exact: Sequence[CertifiedInterval]) -> None:
    """From the constants of both points, in either order: each is that of its own point, and is not lost without time.

    An upper end that the method does not reach by itself is a proof of whoever found it, not of this method.
    """
    check_ends(judged, question, judged.certify(question.graph, question.problem, question.x, budget=10.0, known=exact))
    arguments, known = (question.graph, question.problem, question.x.flip(0)), tuple(exact[::-1])
    results = judged.certify(*arguments, budget=10.0, known=known)
    check_ends(judged, question, results[::-1])
    if judged.method.certificate is Certificate.BRACKET:
        stopped = threading.Event()
        stopped.set()
        _check_kept(judged, question, known, judged.certify(*arguments, budget=Budget(stop=stopped), known=known))
    if judged.method.certificate is Certificate.UPPER:
        for start, result, own in zip(known, results, judged.certify(*arguments, budget=10.0), strict=True):
            by_itself = result.upper != start.upper or own.upper <= start.upper * (1 + 1e-6)
            here = f"{judged.name}: {question}: the upper end {result.upper} is what was known before"
            expect(by_itself, f"{here}; by itself it proves {own.upper}, and callers take the better of the two")


def _check_kept(
    judged: EstimatorUnderTest,
    question: Question,
    starts: Sequence[CertifiedInterval],
    results: Sequence[CertifiedInterval],
) -> None:
    for start, result in zip(starts, results, strict=True):
        within = result.lower >= start.lower and result.upper <= start.upper * (1 + 1e-6)
        expect(within, f"{judged.name}: {question}: {result} is wider than {start}, which was proved before")
