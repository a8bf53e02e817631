"""Questions over all of R^n, where no pre-activation has an end, against the steepest of all linear pieces."""

from __future__ import annotations

import numpy as np

from lipreg.outputs import AllLogits, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import WholeSpace
from lipreg.testing.domains import domain_of
from lipreg.testing.failures import expect
from lipreg.testing.judged import ABSOLUTE, TOLERANCE, EstimatorUnderTest
from lipreg.testing.oracle import Enumeration

ASKED: tuple[tuple[str, Output], ...] = (("shallow", AllLogits()), ("leaky", Vector()), ("residual", Margin(0, 1)))
"""Networks, none of which is steepest at its reference point, with the outputs that are asked of them."""


def all_of_space(judged: EstimatorUnderTest) -> None:
    """With ``unbounded_regions`` both ends hold over all of R^n, where every kink of the network is inside."""
    if not judged.method.unbounded_regions:
        return
    asked = [(place, net, output) for place, (net, output) in enumerate(ASKED) if net in judged.nets]
    for scope, p, (place, net, output) in judged.each(asked):
        question = judged.questions.one(net, "linf", scope, p, "all_logits")
        size = question.x.shape[1]
        kind = AllLogits() if output.joint and not judged.method.vector else output
        q = judged.method.output_norms[-1] if kind.joint else None
        scale = np.linspace(2.0, 3.0, size).tolist() if judged.method.weighted and place else None
        problem = LocalLipschitz(WholeSpace(), kind, scope, p, q, scale=scale)  # type: ignore[arg-type]
        if judged.method.uncovered(problem, question.graph) is not None:
            continue
        listed = question.once(
            ("pieces everywhere", net, question.seed),
            lambda asked=question: Enumeration(asked.enumerable, domain_of(WholeSpace(), asked.x[0].numpy())),
        )
        low, high = listed.constant(problem)
        (result,) = judged.certify(question.graph, problem, question.x[:1])
        here = f"{judged.name}: {problem.sentence()} of {net}, unbounded_regions = True: "
        here += f"[{result.lower}, {result.upper}] where the constant is in [{low}, {high}]"
        expect(result.upper >= low * (1 - TOLERANCE) - ABSOLUTE, f"{here}: the upper end is below the constant")
        expect(result.lower <= high * (1 + TOLERANCE) + ABSOLUTE, f"{here}: the lower end is above the constant")
