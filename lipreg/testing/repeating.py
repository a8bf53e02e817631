"""Whether an estimator gives the same numbers again, and leaves alone what it is given."""

from __future__ import annotations

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import Bound, Settings, frozen_analysis
from lipreg.testing.failures import expect, random_numbers_unmoved
from lipreg.testing.judged import EstimatorUnderTest

Ends = list[tuple[float, float, float | None]]
MUST = "A method keeps nothing between calls, draws by settings.seed alone, and changes nothing that it is given"


def repeats(judged: EstimatorUnderTest) -> None:
    """The same seed gives the same numbers; the network, the analysis and the process's random numbers stay as they are."""
    scope, p = judged.declared_scopes_and_norms[-1]
    net = "deep" if "deep" in judged.nets else judged.nets[0]
    question = judged.questions.one(net, "linf", scope, p, "margin")
    graph, here = question.captured.frozen(), f"{judged.name}: {question}"
    before = graph.fingerprint()

    def analysed() -> Analysis:
        return frozen_analysis(graph, question.problem, question.x, None, Bound(judged.name).methods)

    def ends(analysis: Analysis) -> Ends:
        results = judged.method.intervals(analysis, Budget(30.0), Settings(seed=3))
        return [(result.lower, result.upper, result.estimate) for result in results]

    analysis = analysed()
    with random_numbers_unmoved(here, "torch.Generator().manual_seed(work.settings.seed) is its own"):
        first = ends(analysis)
    expect(graph.fingerprint() == before, f"{here}: it has changed the weights of the network. {MUST}")
    second = ends(analysis)
    expect(first == second, f"{here}: {first}, and asked again about the same analysis {second}. {MUST}")
    third = ends(analysed()) if judged.bound else second  # of a search once more is enough
    expect(first == third, f"{here}: {first}, and asked again {third}. {MUST}")
