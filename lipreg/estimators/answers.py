"""The kind of result that the usual estimators reach on a question, before any network is at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.estimators.usual import usual_estimators
from lipreg.linalg.operators import SIGNS
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate

Kind = Literal["exact", "interval", "refused"]


@dataclass(frozen=True)
class Answer:
    """The kind of result that a question can have.

    Attributes:
        kind: "exact", the constant itself where the search ends in time; "interval", a proved upper end and a witness
            below it; "refused".
        by: the method that is exact, or those that prove the ends.
        why: the condition under which it is exact, or why there is no more; empty where there is nothing to add.
    """

    kind: Kind
    by: tuple[str, ...]
    why: str = ""


def answered(problem: LocalLipschitz) -> Answer:
    """The kind of result that the usual estimators reach on a question about networks of affine layers and ReLUs.

    It sees no network and no point: what these may still be refused for (a region in which no measured input can move, more
    outputs than are accepted) is in ``why`` or in the error of ``certify``.
    """
    names = usual_estimators(problem)
    methods = {name: get_estimator(name) for name in names}
    refused = get_estimator("branch_and_bound").uncovered(problem)
    why = "" if refused is None else f"{refused[0]} is not searched in {problem.scope} scope"
    for name, method in methods.items():
        if isinstance(method, ExactEstimator):
            why = method.condition(problem)
            if method.exact(problem):
                return Answer("exact", (name,), _joined(why, _outputs(problem)))
    proofs = Certificate.UPPER, Certificate.BRACKET
    upper = tuple(name for name, method in methods.items() if method.certificate in proofs)
    if not upper:
        return Answer("refused", (), why)
    lower = tuple(name for name, method in methods.items() if method.certificate is Certificate.LOWER)
    return Answer("interval", (*upper, *lower), _joined(why, _outputs(problem)))


def _outputs(problem: LocalLipschitz) -> str:
    """The limit on outputs, in words; empty where there is none."""
    return f"refused beyond {SIGNS} outputs" if problem.q == 1.0 and problem.p != 1.0 else ""


def _joined(*words: str) -> str:
    return "; ".join(filter(None, words))
