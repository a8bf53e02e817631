"""Whether a search is true where a limit ends it, and where it starts from intervals that are proved already."""

from __future__ import annotations

import threading

from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.results import Certificate
from lipreg.testing.failures import expect
from lipreg.testing.judged import Judged
from lipreg.testing.questions import POINTS
from lipreg.testing.soundness import check_ends


def no_budget(judged: Judged) -> None:
    """A search that may not spend anything is sound."""
    if judged.bound or "deep" not in judged.nets:
        return
    stopped = threading.Event()
    stopped.set()
    for scope, p in judged.kinds:
        question = judged.questions.one("deep", "linf_cut", scope, p, "margin")
        for budget in (Budget(0.0), Budget(10.0, stop=stopped)):
            check_ends(judged, question, judged.certify(question.graph, question.problem, question.x, budget=budget))


def limits(judged: Judged) -> None:
    """A search that a limit ends is true at both ends: of nodes after proved bounds, of a gap at six points."""
    if judged.bound or "deep" not in judged.nets:
        return
    for scope, p, few in judged.each((True, False), len(judged.kinds)):  # of nodes, or a gap
        question = judged.questions.one("deep", "linf_cut", scope, p, "all_logits")
        if not judged.takes(question):
            continue
        proved = tuple(judged.answer(question, "fastlip")) if few else ()
        budget = Budget(30.0, nodes=1) if few else Budget(30.0, gap=0.5)
        times = 1 if few or judged.method.certificate is Certificate.LOWER else 3  # a lower end alone has no gap
        arguments = question.graph, question.problem, question.x.repeat(times, 1)
        results = judged.certify(*arguments, budget=budget, known=proved)
        for start in range(0, times * POINTS, POINTS):
            check_ends(judged, question, results[start : start + POINTS])


def prior_bounds(judged: Judged) -> None:
    """A search may start from intervals that are proved already, and does not lose them."""
    if judged.bound or "residual" not in judged.nets:
        return
    for scope, p, _ in judged.each((None,), len(judged.kinds)):
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
