"""Whether a search is true where a limit ends it, and where it starts from intervals that are proved already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.results import Certificate
from lipreg.testing.failures import expect
from lipreg.testing.judged import EstimatorUnderTest
from lipreg.testing.questions import POINTS
from lipreg.testing.soundness import check_ends

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
    """A search may start from intervals that are proved already, and does not lose them."""
    if judged.bound or "residual" not in judged.nets:
        return
    for scope, p, _ in judged.each((None,), len(judged.declared_scopes_and_norms)):
        question = judged.questions.one("residual", "l1_cut", scope, p, "all_logits")
        arguments = question.graph, question.problem, question.x
        sampled = question.once(
            ("sampled", question),
            lambda arguments=arguments: certify(*arguments, estimator="sampling"),
        )
        proved = judged.answer(question, "fastlip")
        starts = tuple(low.intersect(high) for low, high in zip(sampled, proved, strict=True))
        results = judged.certify(*arguments, budget=10.0, known=starts)
        check_ends(judged, question, results)
        if judged.method.certificate is Certificate.BRACKET:
            for start, result in zip(starts, results, strict=True):
                within = result.lower >= start.lower and result.upper <= start.upper * (1 + 1e-6)
                expect(within, f"{judged.name}: {question}: {result} is wider than {start}, which was proved before")
