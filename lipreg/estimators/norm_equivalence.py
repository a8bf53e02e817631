"""A method in another norm than its own: its bound times the factor of norm equivalence, asked for by name, spelled out.

``"lipsdp@l2"`` is ``lipsdp`` in l2, whatever norms p and q the question has. On R^n

    |x|_a <= n^max(0, 1/a - 1/b) |x|_b,

with equality for the vector of ones or a unit vector, so no smaller factor holds for all functions. With p', q' the method's
norms

    L_{p->q} <= sup |x|_p' / |x|_p . sup |y|_q / |y|_q' . L_{p'->q'},

x over the differences of points of X, in the question's units (n counts the measured coordinates that can move), and y
over those of outputs. The factor may be as large as n, so that no method does this unless it is asked for by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lipreg.bounds import Analysis
from lipreg.estimators.base import ESTIMATORS, Estimator, EstimatorTask
from lipreg.estimators.own_norms import IN_NORM, name_in, nearest_norm, question_in
from lipreg.estimators.rounding import ROUNDING
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.linalg import norm_name, parse_norm
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status


def get_estimator(name: str) -> Estimator:
    """The estimator of that name, or with ``@l1``, ``@l2`` or ``@linf`` behind it, that estimator in the norm named.

    Raises:
        InvalidInput: there is none, or no such norm.
    """
    if not isinstance(name, str) or IN_NORM not in name or ESTIMATORS.has(name):
        return ESTIMATORS.find(name)
    method, _, norm = name.rpartition(IN_NORM)
    return in_norm(ESTIMATORS.find(method), parse_norm(norm, f"estimator {name!r}"))


def in_norm(method: Estimator, norm: float) -> Estimator:
    """The method evaluated with input norm ``norm``, its results converted to the norms of the question."""

    class InNorm(_InNorm):
        certificate = method.certificate
        scopes = method.scopes
        vector = method.vector
        weighted = method.weighted
        kinds = method.kinds
        branches = method.branches
        unbounded_regions = method.unbounded_regions
        searches = method.searches
        preactivations = method.preactivations
        source = f"{method.source}; equivalence of norms"

    return InNorm(method, norm)


def nearest(method: Estimator, p: float) -> Estimator:
    """The method in the one of its norms that loses least on inputs measured in p."""
    return in_norm(method, nearest_norm(method.norms, p))


@dataclass(frozen=True)
class _Equivalence:
    """|x|_{to} <= size^power |x|_{of} on R^size; ``symbol`` is that of x in words."""

    to: float
    of: float
    size: int
    symbol: str

    @property
    def power(self) -> float:
        return max(0.0, 1.0 / self.to - 1.0 / self.of)

    @property
    def factor(self) -> float:
        return math.sqrt(self.size) if self.power == 0.5 else float(self.size) ** self.power

    def __str__(self) -> str:
        of, to = (f"|{self.symbol}|_{norm_name(norm)}" for norm in (self.of, self.to))
        return f"{self.factor:.9g} ({to} <= {'' if self.power == 0 else f'{self.size}^{self.power:g} '}{of})"


class _InNorm(Estimator):
    """See ``in_norm``. Upper ends and estimates carry the factor; lower ends are witnesses, evaluated in the norms asked."""

    def __init__(self, method: Estimator, norm: float) -> None:
        self.method, self.norm = method, norm
        self.name = name_in(method.name, norm)

    def __reduce__(self) -> tuple[Callable[[Estimator, float], Estimator], tuple[Estimator, float]]:
        return in_norm, (self.method, self.norm)  # its class is made here anew: worker processes take it too

    def uncovered_question(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        return self._own_question(problem)[1]

    def engine(self, solver: str | None) -> str:
        return self.method.engine(solver)

    def tolerances(self) -> dict[str, float]:
        return self.method.tolerances()

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        analysis, question = work.analysis, work.analysis.placed.problem
        inner_question, _ = self._own_question(question)
        assert inner_question is not None
        inner = analysis.for_question(replace(analysis.placed, problem=inner_question))
        # prior intervals, and what a search would report on its way, are in other norms
        results = self.method.intervals(inner, work.budget, work.settings)
        if inner_question == question:
            return results
        return [self._converted(analysis, i, result) for i, result in enumerate(results)]

    def _own_question(self, problem: LocalLipschitz) -> tuple[LocalLipschitz | None, tuple[str, str] | None]:
        return question_in(problem, self.norm, self.method.output_norms, self.method.uncovered_question)

    def _converted(self, analysis: Analysis, index: int, result: CertifiedInterval) -> CertifiedInterval:
        placed, inner = analysis.placed, result.problem
        movable = int((placed.weights[index] > 0).sum())
        steps = [_Equivalence(inner.p, placed.problem.p, max(1, movable), "x")]
        if inner.q is not None and placed.problem.q is not None and inner.q != placed.problem.q:
            steps.append(_Equivalence(placed.problem.q, inner.q, placed.count, "y"))
        factor = math.prod(step.factor for step in steps)
        widened = factor * (1.0 + ROUNDING) if factor > 1.0 else 1.0
        number = result.estimate if result.certificate is Certificate.ESTIMATE else result.upper
        norms = f"l{norm_name(inner.p)}" + (f" to l{norm_name(inner.q)}" if inner.q is not None else "")
        proved = number is not None and number < math.inf
        words = "" if not proved else f"{number:.9g} in {norms}, times {' and '.join(map(str, steps))}. "
        witness = None
        if result.witness is not None:
            point = torch.tensor(result.witness.point, dtype=analysis.graph.dtype)
            witness = best_witness(analysis, index, point.reshape(1, *placed.region.shape))
        converted = CertifiedInterval(
            placed.problem,
            placed.functional_names[index],
            lower=0.0 if witness is None else witness.attained,
            upper=result.upper * widened,
            proof=result.proof and f"{result.proof} in {norms}, norm equivalence",
            witness=witness,
            estimate=None if result.estimate is None else result.estimate * factor,
            detail=f"{words}{result.detail}".strip(),
            subject=result.subject,
        )
        if converted.certificate is Certificate.EXACT:
            return converted
        # ends that met, or were as close as asked, in the method's own norms need not be so in these
        settled = (Status.PROVED, Status.GAP_LIMIT, Status.UNCONFIRMED)
        return replace(converted, status=Status.BOUNDED if result.status in settled else result.status)
