"""An estimator that is being judged: what it declares of itself, and its answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import BoundEstimator, Estimator, certify, frozen_analysis, get_estimator
from lipreg.graph import Graph
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball
from lipreg.results import CertifiedInterval
from lipreg.testing import networks
from lipreg.testing.failures import expect
from lipreg.testing.questions import NORMS, SCOPES, Question, Questions

TOLERANCE = 1e-8
"""Relative slack for the rounding of both sides; solvers widen their own answers by their own tolerances."""
ABSOLUTE = 1e-12
"""Slack where the constant is 0 and the truth consists of rounding alone."""


@dataclass(frozen=True)
class EstimatorUnderTest:
    """An estimator and the questions that it is judged on.

    Attributes:
        name, method: the estimator.
        questions: those that may be drawn.
        budget: of each question that is searched.
    """

    name: str
    method: Estimator
    questions: Questions
    budget: Budget

    @property
    def bound(self) -> BoundEstimator | None:
        """The estimator where it is a bound of a whole batch."""
        return self.method if isinstance(self.method, BoundEstimator) else None

    @cached_property
    def declared_scopes_and_norms(self) -> list[tuple[str, float]]:
        """The scopes and norms that it declares."""
        return [(scope, p) for scope in SCOPES for p in NORMS.values() if self.declares(scope, p)]

    def declares(self, scope: str, p: float) -> bool:
        """Whether its attributes declare scope and norm."""
        return scope in self.method.scopes and p in self.method.norms

    @cached_property
    def nets(self) -> list[str]:
        """The networks of ``networks.EVERY`` that it declares."""
        return [net for net in networks.EVERY if self.takes_network(self.questions.one(net, "linf", "", 2.0, "").graph)]

    def takes_network(self, graph: Graph) -> bool:
        """Whether its attributes cover a network, by its kinds of node and whether it branches."""
        return self.method.uncovered_network(graph) is None

    def covers(self, question: Question) -> bool:
        """Whether it takes a question; beyond its attributes only a region that is no polytope may be refused."""
        problem, method = question.problem, self.method
        if not self.declares(question.scope, question.p) or (problem.output.joint and not method.vector):
            return False
        if problem.q is not None and problem.q not in method.output_norms:
            return False
        if not problem.plain and not method.weighted:
            return False
        if question.net in networks.SMOOTH and method.uncovered(problem, question.graph) is not None:
            return False  # of curves a method may take less
        try:
            method.check(problem)
        except UnsupportedRequest as error:
            message = f"{self.name} refuses the {question}, which its attributes cover: {error}"
            expect(isinstance(problem.region, L2Ball), message)
            return False
        return True

    def covered_questions(self, net: str, scope: str, p: float) -> list[Question]:
        """The questions that are drawn about a network and that it takes; where it takes none of them, of all.

        Args:
            net: a name of ``networks.EVERY``.
            scope, p: as in ``LocalLipschitz``.
        """
        draws = self.questions, replace(self.questions, one_in=1)
        return next(filter(None, ([*filter(self.covers, each.about(net, scope, p))] for each in draws)), [])

    def certify(self, net: Any, problem: LocalLipschitz, x: Tensor, y: Tensor | None = None, **options: Any) -> Any:
        """Its answer to a question, by ``lipreg.certify``.

        Args:
            net: a module or a graph.
            problem: the question.
            x, y: reference points ``(batch, *shape)`` and labels ``(batch,)``.
            options: other arguments of ``certify``; without them the budget is that of all questions.
        """
        return certify(net, problem, x, y, **({"estimator": self.name, "budget": self.budget} | options))

    def answer(self, question: Question, name: str = "") -> list[CertifiedInterval]:
        """A bound's answer to a question, its own unless another is named, from the tightest pre-activation bounds."""
        method = get_estimator(name) if name else self.method

        def make() -> list[CertifiedInterval]:
            analysis = self._analysis(question)
            with torch.no_grad():
                placed = question.problem.place(question.x, question.module(question.x), of=analysis.graph.of)
            return method.intervals(analysis.for_question(placed), self.budget)

        return question.once(("answer", method, question), make)  # not by name, which another class may take

    def _analysis(self, question: Question) -> Analysis:
        plain = self.questions.one(question.net, question.region, question.scope, math.inf, "logit")
        key = ("analysis", question.net, question.seed, question.region, question.scope)
        return question.once(key, lambda: frozen_analysis(question.graph, plain.problem, question.x, None))

    def each(self, values: Iterable[Any], times: int = 2) -> Iterator[tuple[str, float, Any]]:
        """Each value of a factor with so many of the scopes and norms that it covers, in turn; with all in a full draw.

        With half as many in a sparse draw, and at least one.
        """
        step = max(1, min(self.questions.one_in, len(self.declared_scopes_and_norms) // times))
        step = min(2 * step, len(self.declared_scopes_and_norms)) if self.questions.sparse else step
        for j, value in enumerate(values):
            for k, (scope, p) in enumerate(self.declared_scopes_and_norms):
                if (k + j) % step == 0:
                    yield scope, p, value
